"""Command functions answer over HTTP, carry out a repeated request once, and refuse invalid
ones."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from io import BytesIO
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
from uuid_utils.compat import uuid7

from shared.config.manifest import manifest
from shared.event_store.protocol import Append, IdempotencyRecord
from shared.runtime.execute import fingerprint
from tests.shop_in_memory import Json, ShopInMemory, together

Body = Callable[[ShopInMemory], Json]

HTTP = [one for one in manifest().functions.values() if one.http and one.name not in ("graphql", "sandbox_provider")]
COMMANDS = [function.name for function in manifest().functions.values() if function.group == "commands"]


def new_id() -> str:
    return str(uuid7())


def line(product_id: str, **more: Any) -> Json:
    return {"productId": product_id, "productName": "Tea", "quantity": 2, "unitPrice": "500"} | more


def order(shop: ShopInMemory) -> Json:
    return {"orderId": new_id(), "userId": "ann", "items": [line(shop.new_product())]}


def product(shop: ShopInMemory) -> Json:
    given = {"name": "万年筆", "description": "fine\nnib", "price": "24800", "stockQuantity": 3, "currency": "JPY"}
    return {"productId": new_id(), "categoryId": shop.new_category(), **given}


VALID: dict[str, Body] = {
    "create_category": lambda shop: {"categoryId": new_id(), "name": "お茶", "parentId": shop.new_category()},
    "update_category": lambda shop: {"categoryId": shop.new_category(), "name": "Coffee", "description": "beans"},
    "delete_category": lambda shop: {"categoryId": shop.new_category()},
    "create_product": product,
    "update_product": lambda shop: {"productId": shop.new_product(), "name": "Mug", "price": 2, "stockQuantity": 9},
    "change_product_price": lambda shop: {"productId": shop.new_product(), "newPrice": 650},
    "adjust_stock": lambda shop: {"productId": shop.new_product(), "delta": -3, "reason": "broken"},
    "delete_product": lambda shop: {"productId": shop.new_product()},
    "create_order": order,
    "cancel_order": lambda shop: {"orderId": shop.new_order(shop.new_product()), "reason": "changed my mind"},
}


@pytest.fixture
def shop(shop: ShopInMemory) -> ShopInMemory:
    """Return the shop without deliveries, so that a recorded event has no further effects."""
    shop.deliver = lambda *_: 204
    return shop


def id_field(command: str) -> str:
    return next((f"{kind}Id" for kind in ("category", "product", "order") if kind in command), "productId")


def test_every_command_function_is_covered() -> None:
    assert set(VALID) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_answers_with_its_stream_its_version_and_the_entity(shop: ShopInMemory, command: str) -> None:
    body = VALID[command](shop)
    response = shop.command(command, body)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), response.text
    answer = response.json()
    assert set(answer) == {"stream", "version", "entity"}
    entity_id = body[id_field(command)]
    assert answer["stream"] == f"{id_field(command).removesuffix('Id')}-{entity_id}"
    events = shop.engines.event_store.read([answer["stream"]])[answer["stream"]]
    assert answer["version"] == len(events)
    assert answer["entity"]["id"] == entity_id
    assert datetime.fromisoformat(answer["entity"]["created_at"]) == events[0].recorded_at
    assert datetime.fromisoformat(answer["entity"]["updated_at"]) == events[-1].recorded_at


def test_the_answer_has_the_entity_as_it_was_just_written(shop: ShopInMemory) -> None:
    body = product(shop) | {"price": "12.5", "currency": "USD", "name": "  Cafe\u0301 "}
    entity = shop.command("create_product", body).json()["entity"]
    expected = {
        "name": "Café",
        "description": "fine\nnib",
        "price": "12.50",
        "currency": "USD",
        "category_id": body["categoryId"],
        "stock_quantity": 3,
        "reserved_quantity": 0,
        "active": True,
    }
    assert expected.items() <= entity.items()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_repeated_request_gets_the_same_bytes_and_writes_nothing(shop: ShopInMemory, command: str) -> None:
    body, headers = VALID[command](shop), {"Idempotency-Key": "once"}
    first = shop.command(command, body, headers)
    before = shop.log()
    second = shop.command(command, body, headers)
    assert (second.status_code, second.content) == (200, first.content)
    assert shop.log() == before


@pytest.mark.parametrize("command", COMMANDS)
def test_requests_repeated_at_the_same_moment_get_the_same_bytes(
    shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    body, before = VALID[command](shop), shop.log()
    store = shop.engines.event_store
    monkeypatch.setattr(store, "recorded", together(4, store.recorded))  # each call finds no earlier answer
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: shop.command(command, body, {"Idempotency-Key": "once"}), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.content for answer in answers}) == 1
    stream = answers[0].json()["stream"]
    assert answers[0].json()["version"] == len([event for event in shop.log() if event.stream == stream])
    once = len(shop.log())
    assert shop.command(command, body, {"Idempotency-Key": "once"}).content == answers[0].content
    assert len(shop.log()) == once > len(before)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_used_key_is_refused_for_another_body(shop: ShopInMemory, command: str) -> None:
    body, other = VALID[command](shop), VALID[command](shop)
    shop.command(command, body, {"Idempotency-Key": "once"})
    refused(shop, command, other, "CONFLICT", [], {"Idempotency-Key": "once"})


def test_a_used_key_is_refused_for_another_function(shop: ShopInMemory) -> None:
    body = VALID["delete_product"](shop)
    shop.command("delete_product", body, {"Idempotency-Key": "once"})
    refused(shop, "update_product", body, "CONFLICT", [], {"Idempotency-Key": "once"})


@pytest.mark.parametrize("command", COMMANDS)
def test_two_users_may_choose_the_same_key_without_seeing_each_other(shop: ShopInMemory, command: str) -> None:
    ann, ben = VALID[command](shop), VALID[command](shop)
    if command == "update_category":
        ben["name"] = "Mugs"  # because a category's name is unique
    key = {"Idempotency-Key": "once"}
    first = shop.command(command, ann, key)
    second = shop.command(command, ben, key | {"X-Actor": "ben"})
    assert (first.status_code, second.status_code) == (200, 200), second.text
    assert first.json()["stream"] != second.json()["stream"]
    before = shop.log()
    assert shop.command(command, ann, key).content == first.content
    assert shop.command(command, ben, key | {"X-Actor": "ben"}).content == second.content
    refused(shop, command, ben, "CONFLICT", [], key)
    assert shop.log() == before


def test_no_name_of_a_user_and_key_of_another_make_the_same_key(shop: ShopInMemory) -> None:
    for actor, key in (("a", "b c"), ("a b", "c"), ("a", "b%0Ac"), ("a%25", "b"), ("a", "25 b")):
        headers = {"X-Actor": quote(actor), "Idempotency-Key": key}
        response = shop.command("create_category", {"categoryId": new_id(), "name": new_id()}, headers)
        assert response.status_code == 200, response.text
    headers = {"X-Actor": "a%0Ab", "Idempotency-Key": "c"}
    refused(shop, "create_category", {"categoryId": new_id(), "name": "Tea"}, "INVALID_INPUT", ["X-Actor"], headers)


def stored_by_the_last_release(shop: ShopInMemory, command: str, body: Json, actor: str, key: str) -> str:
    """Store an answer as the release before this one did, under the user's name and key, and return
    it."""
    asked = fingerprint(command, actor, json.dumps(body).encode())
    record = IdempotencyRecord(f"{actor}\n{key}", asked, '{"from": "the last release"}')
    shop.engines.event_store.append(Append((), record=record))
    return '{"from": "the last release"}'


@pytest.mark.parametrize("command", COMMANDS)
def test_an_answer_of_the_last_release_counts_for_the_same_request_of_the_same_user(
    shop: ShopInMemory, command: str
) -> None:
    body, key = VALID[command](shop), {"Idempotency-Key": "once"}
    answer = stored_by_the_last_release(shop, command, body, "ann", "once")
    before = shop.log()
    assert shop.command(command, body, key).text == answer
    assert shop.log() == before


def test_an_answer_of_the_last_release_is_no_answer_to_another_request(shop: ShopInMemory) -> None:
    stored_by_the_last_release(shop, "create_category", {"categoryId": new_id(), "name": "Tea"}, "ann", "once")
    body, key = {"categoryId": new_id(), "name": "Coffee"}, {"Idempotency-Key": "once"}
    refused(shop, "create_category", body, "CONFLICT", [], key)
    assert shop.command("create_category", body, key | {"X-Actor": "ben"}).json()["entity"]["name"] == "Coffee"


def test_a_key_whose_request_was_refused_can_be_used_again(shop: ShopInMemory) -> None:
    headers = {"Idempotency-Key": "once"}
    refused(shop, "create_category", {"categoryId": new_id(), "name": ""}, "INVALID_INPUT", ["name"], headers)
    assert shop.command("create_category", {"categoryId": new_id(), "name": "Tea"}, headers).status_code == 200


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_command_is_posted(shop: ShopInMemory, command: str, method: str) -> None:
    response = shop.call(command, method=method)
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")


NOTHING_NEW: list[tuple[str, Body]] = [
    ("update_category", lambda shop: {"categoryId": shop.new_category()}),
    ("update_category", lambda shop: {"categoryId": shop.new_category("Tea"), "name": " Tea "}),
    ("update_category", lambda shop: {"categoryId": shop.new_category(), "description": None, "parentId": None}),
    ("update_product", lambda shop: {"productId": shop.new_product()}),
    ("update_product", lambda shop: {"productId": shop.new_product(), "name": "Tea", "price": 500}),
    ("update_product", lambda shop: {"productId": shop.new_product(), "price": "500.00", "stockQuantity": 100}),
    ("change_product_price", lambda shop: {"productId": shop.new_product(), "newPrice": "5e2"}),
    ("adjust_stock", lambda shop: {"productId": shop.new_product(), "delta": 0}),
]


@pytest.mark.parametrize(("command", "body"), NOTHING_NEW)
def test_a_command_that_changes_nothing_records_nothing(shop: ShopInMemory, command: str, body: Body) -> None:
    given, before = body(shop), shop.log()
    response = shop.command(command, given)
    assert (response.status_code, response.json()["version"]) == (200, 1), response.text
    assert shop.log() == before


@pytest.mark.parametrize("command", ["delete_category", "delete_product", "cancel_order"])
def test_an_end_that_is_asked_for_twice_is_recorded_once(shop: ShopInMemory, command: str) -> None:
    body = VALID[command](shop)
    assert shop.command(command, body).json()["version"] == 2
    before = shop.log()
    assert shop.command(command, body).json()["version"] == 2
    assert shop.log() == before


def test_null_clears_a_description_and_moves_a_category_to_the_top(shop: ShopInMemory) -> None:
    category_id = shop.new_category(description="leaves", parentId=shop.new_category())
    body = {"categoryId": category_id, "description": None, "parentId": None}
    entity = shop.command("update_category", body).json()["entity"]
    assert (entity["description"], entity["parent_id"]) == (None, None)


def test_an_update_keeps_the_fields_that_it_leaves_out(shop: ShopInMemory) -> None:
    product_id = shop.new_product(description="leaves")
    response = shop.command("update_product", {"productId": product_id, "stockQuantity": 7})
    expected = {"name": "Tea", "description": "leaves", "price": "500", "stock_quantity": 7}
    assert response.status_code == 200, response.text
    assert expected.items() <= response.json()["entity"].items()


def refused(
    shop: ShopInMemory, command: str, body: Json, code: str, field: list[Any], headers: Json | None = None
) -> None:
    before = shop.log()
    response = shop.command(command, body, headers)
    assert_refused(response, code, field)
    assert shop.log() == before


def assert_refused(response: httpx.Response, code: str, field: list[Any]) -> None:
    assert 400 <= response.status_code < 500, response.text
    answer = response.json()
    assert set(answer) == {"code", "message", "field"}
    assert (answer["code"], answer["field"]) == (code, field), answer
    assert isinstance(answer["message"], str) and 0 < len(answer["message"]) < 500


ABSENT = object()
"""Stands for a field that is left out."""


def altered(body: Json, path: list[Any], value: object) -> Json:
    at: Any = body
    for step in path[:-1]:
        at = at[step]
    if value is ABSENT:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return body


def matrix(fields: Iterable[tuple[str, list[Any]]], values: Iterable[object]) -> list[Any]:
    values = list(values)
    return [
        pytest.param(command, path, value, id=f"{command}-{'.'.join(map(str, path))}-{value!r:.20}-{n}")
        for command, path in fields
        for n, value in enumerate(values)
    ]


IDS: list[tuple[str, list[Any]]] = [
    *((command, [id_field(command)]) for command in COMMANDS),
    ("create_product", ["categoryId"]),
    ("create_order", ["items", 0, "productId"]),
]
MADE_IDS: list[tuple[str, list[Any]]] = [
    (command, [id_field(command)]) for command in COMMANDS if command.startswith("create_")
]
OPTIONAL_IDS: list[tuple[str, list[Any]]] = [
    ("create_category", ["parentId"]),
    ("update_category", ["parentId"]),
    ("update_product", ["categoryId"]),
]
MALFORMED_IDS: Sequence[object] = (
    "",
    "x",
    "0190b1b6-7c5e-7000-8000-00000000000g",
    5,
    True,
    [],
    {},
    "\0",
    "\ud800",
    "x" * 10_000,
)

NAMES: list[tuple[str, list[Any]]] = [
    ("create_category", ["name"]),
    ("update_category", ["name"]),
    ("create_product", ["name"]),
    ("update_product", ["name"]),
    ("create_order", ["items", 0, "productName"]),
]
BAD_NAMES: Sequence[object] = (
    "",
    "   ",
    "x" * 201,
    "x" * 10_000,
    "a\0b",
    "a\nb",
    "\ud800",
    "\udfff\ud800",
    "\u200b",
    5,
    True,
    [],
    {},
)

TEXTS: list[tuple[str, list[Any]]] = [
    ("create_category", ["description"]),
    ("update_category", ["description"]),
    ("create_product", ["description"]),
    ("update_product", ["description"]),
    ("adjust_stock", ["reason"]),
    ("cancel_order", ["reason"]),
]
BAD_TEXTS: Sequence[object] = ("x" * 10_000, "a\0b", "\ud800", 5, True, [], {})

TOKENS: list[tuple[str, list[Any]]] = [
    ("create_order", ["userId"]),
    ("create_order", ["paymentMethod"]),
    ("create_order", ["shippingMethod"]),
]
BAD_TOKENS: Sequence[object] = ("", " x", "x" * 10_000, "a\0b", "\ud800", 5, None, [])

PRICES: list[tuple[str, list[Any]]] = [
    ("create_product", ["price"]),
    ("update_product", ["price"]),
    ("change_product_price", ["newPrice"]),
]
ORDERED_PRICE: list[tuple[str, list[Any]]] = [("create_order", ["items", 0, "unitPrice"])]
TOO_FINE: Sequence[object] = ("0.001", 0.001, "0.1", "1e-400")
BAD_PRICES: Sequence[object] = (
    -1,
    "-1",
    "1e400",
    "-1e400",
    "NaN",
    "sNaN",
    "Infinity",
    "abc",
    "",
    True,
    [],
    {},
    10**12 + 1,
    "1" * 5000,
)


@pytest.mark.parametrize(("command", "path"), MADE_IDS)
def test_something_new_gets_an_id_where_none_is_given(shop: ShopInMemory, command: str, path: list[Any]) -> None:
    body, key = altered(VALID[command](shop), path, ABSENT), {"Idempotency-Key": "once"}
    first = shop.command(command, body, key)
    assert UUID(first.json()["entity"]["id"]).version == 7
    assert shop.command(command, body, key).content == first.content


WHOLE: list[tuple[str, list[Any]]] = [
    ("create_order", ["items", 0, "quantity"]),
    ("create_product", ["stockQuantity"]),
    ("update_product", ["stockQuantity"]),
]
BAD_WHOLE: Sequence[object] = (-1, 2**31, 2**63, 10**30, 1.5, 1.0, "1", "", True, [], {})

LINES: Sequence[object] = (ABSENT, None, "abc", 5, {}, [], [None], [5])


@pytest.mark.parametrize(
    ("command", "path", "value"),
    [
        *matrix([*IDS, *OPTIONAL_IDS], MALFORMED_IDS),
        *matrix(IDS, (None,)),
        *matrix([one for one in IDS if one not in MADE_IDS], (ABSENT,)),
        *matrix(NAMES, BAD_NAMES),
        *matrix([NAMES[0], NAMES[2], NAMES[4]], (ABSENT, None)),
        *matrix(TEXTS, BAD_TEXTS),
        *matrix(TOKENS, BAD_TOKENS),
        *matrix(TOKENS[:1], (ABSENT,)),
        *matrix([*PRICES, *ORDERED_PRICE], BAD_PRICES),
        *matrix(PRICES, TOO_FINE),
        *matrix([PRICES[0], PRICES[2], *ORDERED_PRICE], (ABSENT, None)),
        *matrix(WHOLE, BAD_WHOLE),
        *matrix(WHOLE[:1], (0, None, ABSENT)),
        *matrix([("adjust_stock", ["delta"])], (2**31, -(2**31), 0.5, "1", True, None, ABSENT)),
        *matrix([("create_product", ["currency"])], ("", "jpy", "ABC", "XXX", 5, None, "\ud800")),
        *matrix([*((command, ["surprise"]) for command in COMMANDS), ("create_order", ["items", 0, "surprise"])], (1,)),
    ],
)
def test_bad_input_is_refused_where_it_is(shop: ShopInMemory, command: str, path: list[Any], value: object) -> None:
    refused(shop, command, altered(VALID[command](shop), path, value), "INVALID_INPUT", path)


@pytest.mark.parametrize("lines", LINES)
def test_an_order_has_lines(shop: ShopInMemory, lines: object) -> None:
    at = ["items", 0] if isinstance(lines, list) and lines else ["items"]
    refused(shop, "create_order", altered(order(shop), ["items"], lines), "INVALID_INPUT", at)


def test_an_order_has_at_most_100_lines(shop: ShopInMemory) -> None:
    category_id = shop.new_category()
    lines = [line(shop.new_product(category_id)) for _ in range(101)]
    refused(shop, "create_order", order(shop) | {"items": lines}, "INVALID_INPUT", ["items"])
    assert shop.command("create_order", order(shop) | {"items": lines[1:]}).status_code == 200


def test_an_order_names_a_product_once(shop: ShopInMemory) -> None:
    tea, mug = line(shop.new_product()), line(shop.new_product())
    body = order(shop) | {"items": [tea, mug, tea | {"quantity": 5}]}
    refused(shop, "create_order", body, "INVALID_INPUT", ["items", 2, "productId"])


UNKNOWN: list[tuple[str, list[Any], list[Any]]] = [
    *(
        (command, [id_field(command)], ["id"])
        for command in COMMANDS
        if not command.startswith("create_")  # those name what is not there yet
    ),
    ("create_category", ["parentId"], ["parentId"]),
    ("update_category", ["parentId"], ["parentId"]),
    ("create_product", ["categoryId"], ["categoryId"]),
    ("update_product", ["categoryId"], ["categoryId"]),
    ("create_order", ["items", 0, "productId"], ["items", 0, "productId"]),
]


@pytest.mark.parametrize(("command", "path", "field"), UNKNOWN)
def test_an_unknown_id_is_not_found(shop: ShopInMemory, command: str, path: list[Any], field: list[Any]) -> None:
    refused(shop, command, altered(VALID[command](shop), path, new_id()), "NOT_FOUND", field)


def deleted_category(shop: ShopInMemory) -> str:
    category_id = shop.new_category()
    shop.command("delete_category", {"categoryId": category_id})
    return category_id


def deleted_product(shop: ShopInMemory) -> str:
    product_id = shop.new_product()
    shop.command("delete_product", {"productId": product_id})
    return product_id


def taken_name(shop: ShopInMemory) -> Json:
    shop.new_category("Tea")
    return {"categoryId": new_id(), "name": "ＴＥＡ"}


def full_category(shop: ShopInMemory) -> Json:
    category_id = shop.new_category()
    shop.new_product(category_id)
    return {"categoryId": category_id}


def two_currencies(shop: ShopInMemory) -> Json:
    dollars = line(shop.new_product(price="5", currency="USD"), unitPrice="5")
    return order(shop) | {"items": [line(shop.new_product()), dollars]}


def below_its_own_child(shop: ShopInMemory) -> Json:
    category_id = shop.new_category()
    return {"categoryId": category_id, "parentId": shop.new_category(parentId=category_id)}


AGAINST_THE_RULES: list[tuple[str, Body, list[Any]]] = [
    ("create_category", taken_name, ["name"]),
    ("create_category", lambda shop: {"categoryId": shop.new_category(), "name": "Tea"}, ["categoryId"]),
    ("create_category", lambda s: {"categoryId": new_id(), "name": "x", "parentId": deleted_category(s)}, ["parentId"]),
    ("update_category", below_its_own_child, ["parentId"]),
    ("update_category", lambda shop: {"categoryId": deleted_category(shop), "name": "Tea"}, ["id"]),
    ("delete_category", full_category, ["id"]),
    ("create_product", lambda shop: product(shop) | {"productId": shop.new_product()}, ["productId"]),
    ("create_product", lambda shop: product(shop) | {"categoryId": deleted_category(shop)}, ["categoryId"]),
    ("update_product", lambda s: {"productId": s.new_product(), "categoryId": deleted_category(s)}, ["categoryId"]),
    ("update_product", lambda shop: {"productId": deleted_product(shop), "name": "x"}, ["id"]),
    ("change_product_price", lambda shop: {"productId": deleted_product(shop), "newPrice": 1}, ["id"]),
    ("adjust_stock", lambda shop: {"productId": deleted_product(shop), "delta": 1}, ["id"]),
    ("adjust_stock", lambda shop: {"productId": shop.new_product(), "delta": -101}, ["delta"]),
    ("create_order", two_currencies, ["items"]),
    ("create_order", lambda s: order(s) | {"items": [line(deleted_product(s))]}, ["items", 0, "productId"]),
    ("create_order", lambda s: altered(order(s), ["items", 0, "unitPrice"], "499"), ["items", 0, "unitPrice"]),
    ("create_order", lambda s: altered(order(s), ["items", 0, "unitPrice"], "0.001"), ["items", 0, "unitPrice"]),
    ("create_order", lambda s: altered(order(s), ["items", 0, "productName"], "Tee"), ["items", 0, "productName"]),
    ("create_order", lambda s: order(s) | {"orderId": s.new_order(s.new_product())}, ["orderId"]),
]


@pytest.mark.parametrize(("command", "body", "field"), AGAINST_THE_RULES)
def test_a_command_against_the_rules_is_refused(shop: ShopInMemory, command: str, body: Body, field: list[Any]) -> None:
    refused(shop, command, body(shop), "BUSINESS_RULE_VIOLATION", field)


def test_a_category_cannot_be_its_own_parent(shop: ShopInMemory) -> None:
    category_id = shop.new_category()
    refused(
        shop, "update_category", {"categoryId": category_id, "parentId": category_id}, "INVALID_INPUT", ["parentId"]
    )


def test_stock_has_an_upper_bound(shop: ShopInMemory) -> None:
    body = {"productId": shop.new_product(), "delta": 1_000_000_000}
    refused(shop, "adjust_stock", body, "INVALID_INPUT", ["delta"])


NOT_JSON: dict[str, bytes] = {
    "nothing": b"",
    "half": b'{"name": ',
    "words": b"name=Tea",
    "binary": b"\xff\xfe\x00\x01",
    "not UTF-8": b'{"name": "\xe3\x81"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"name":' * 100_000,
    "deep and closed": b"[" * 50_000 + b"]" * 50_000,
    "NaN": b'{"price": NaN}',
    "-Infinity": b'{"price": -Infinity}',
    "a huge integer": b'{"price": ' + b"9" * 10_000 + b"}",
    "an exponent beyond decimals": b'{"price": 1e99999999999999999999}',
    "10 MB": b'{"name": "' + b"x" * 10_000_000 + b'"}',
}
NOT_AN_OBJECT = (b"[]", b"null", b'"{}"', b"1", b"true", b"[[]]")


@pytest.mark.parametrize("command", ["create_product", "create_order", "delete_category"])
@pytest.mark.parametrize("body", [*NOT_JSON.values(), *NOT_AN_OBJECT], ids=[*NOT_JSON, *map(repr, NOT_AN_OBJECT)])
def test_a_body_that_is_not_a_json_object_is_refused(shop: ShopInMemory, command: str, body: bytes) -> None:
    assert_refused(shop.call(command, body), "INVALID_INPUT", [])
    assert shop.log() == []


@pytest.mark.parametrize("command", [function.name for function in HTTP])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"])
def test_a_body_that_is_not_called_json_is_refused(shop: ShopInMemory, command: str, kind: str) -> None:
    """Another site's page may send these types without the browser's asking first."""
    body = json.dumps({"categoryId": new_id(), "name": "Tea"}).encode()
    response = shop.call(command, body, content_type=kind)
    assert_refused(response, "INVALID_INPUT", ["Content-Type"])
    assert response.status_code == 415
    assert "application/json" in response.json()["message"]
    assert shop.log() == []


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
)
def test_parameters_and_capitals_of_the_content_type_do_not_matter(shop: ShopInMemory, kind: str) -> None:
    body = json.dumps({"categoryId": new_id(), "name": "お茶"}).encode()
    assert shop.call("create_category", body, content_type=kind).status_code == 200


def test_an_empty_body_is_no_command(shop: ShopInMemory) -> None:
    assert shop.call("create_category", b"").json()["code"] == "INVALID_INPUT"
    assert shop.call("create_category", b"", content_type="").status_code == 415


def test_a_large_body_of_unknown_length_is_refused(shop: ShopInMemory) -> None:
    stream: Json = {"input_stream": BytesIO(NOT_JSON["10 MB"]), "environ_overrides": {"wsgi.input_terminated": True}}
    assert_refused(shop.call("create_product", **stream), "INVALID_INPUT", [])


@pytest.mark.parametrize("number", ["-1", "1e400", "0.001", "1e-400", "100000000000000000000000000000000.5"])
def test_a_price_that_is_a_json_number_is_read_exactly(shop: ShopInMemory, number: str) -> None:
    body = json.dumps(product(shop) | {"price": 0}).replace('"price": 0', f'"price": {number}')
    before = shop.log()
    assert_refused(shop.call("create_product", body.encode()), "INVALID_INPUT", ["price"])
    assert shop.log() == before


def test_a_field_whose_name_is_half_a_surrogate_is_refused(shop: ShopInMemory) -> None:
    body = product(shop) | {"\ud800": 1}
    before = shop.log()
    response = shop.command("create_product", body)
    assert (response.status_code, response.json()["code"]) == (422, "INVALID_INPUT")
    assert shop.log() == before


@pytest.mark.parametrize("name", ["Idempotency-Key", "X-Correlation-Id", "X-Actor"])
@pytest.mark.parametrize("value", ["", "x" * 201, "é", "a\tb"])
def test_a_header_that_would_be_stored_is_short_and_printable(shop: ShopInMemory, name: str, value: str) -> None:
    refused(shop, "create_category", {"categoryId": new_id(), "name": "Tea"}, "INVALID_INPUT", [name], {name: value})


@pytest.mark.parametrize("value", ["x" * 5000, "é", "not a trace"])
def test_a_malformed_traceparent_is_not_stored(shop: ShopInMemory, value: str) -> None:
    shop.command("create_category", {"categoryId": new_id(), "name": "Tea"}, {"traceparent": value})
    assert [event.metadata.traceparent for event in shop.log()] in ([], [None])


def test_the_headers_become_the_metadata_of_the_events(shop: ShopInMemory) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"Idempotency-Key": "k1", "X-Correlation-Id": "c1", "X-Actor": "ann", "traceparent": trace}
    shop.command("create_category", {"categoryId": new_id(), "name": "Tea"}, headers)
    (event,) = shop.log()
    assert (event.metadata.correlation_id, event.metadata.causation_id) == ("c1", "k1")
    assert (event.metadata.actor, event.metadata.traceparent) == ("ann", trace)


def test_an_internal_error_is_answered_without_details(shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(shop.engines.event_store, "append", fail)
    response = shop.command("create_category", {"categoryId": new_id(), "name": "Tea"})
    assert (response.status_code, response.json()["code"]) == (500, "INTERNAL_ERROR")
    assert "hunter2" not in response.text and "Traceback" not in response.text
