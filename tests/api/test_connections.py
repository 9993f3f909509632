"""Relay connections: every list can be read to the end in both directions, whatever changes
meanwhile."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from shared.dead_letters.protocol import decode_dead_letter
from shared.messaging.envelope import Push, PushedMessage
from tests.callers import NOBODY, signed_in
from tests.shop_in_memory import Json, ShopInMemory, open_shop, usual_settings

COUNT = 7
UNKNOWN_ID = "01a2036e-52b0-77fc-b14e-d9af82f3d492"


@dataclass(frozen=True)
class List:
    """A connection, and how one more entry is made. `arguments`: besides those of the page."""

    field: str
    add: Callable[[ShopInMemory, str], object]
    arguments: str = ""
    node: str = "id"


def new_product(shop: ShopInMemory, category_id: str) -> None:
    shop.new_product(category_id, name=f"Tea {uuid7()}")


def new_order(shop: ShopInMemory, category_id: str) -> None:
    shop.new_order(shop.new_product(category_id))


def new_letter(shop: ShopInMemory, _: str) -> None:
    attributes = {
        "ce-id": str(uuid7()),
        "ce-type": "OrderCreated",
        "ce-subject": f"order-{UNKNOWN_ID}",
        "correlation_id": "c",
        "CloudPubSubDeadLetterSourceSubscription": "order-saga.order-events",
        "CloudPubSubDeadLetterSourceDeliveryCount": "10",
    }
    push = Push(PushedMessage(str(uuid7()), "e30=", attributes), "projects/p/subscriptions/record-dead-letter.x.dead")
    shop.engines.dead_letters.record(decode_dead_letter(push, "order-events"))


def new_query(shop: ShopInMemory, _: str) -> None:
    shop.ask("{ viewer { uid } }")
    shop.engines.recorder.flush()


def new_command(shop: ShopInMemory, category_id: str) -> None:
    shop.ask(f'mutation {{ updateCategory(id: "{category_id}", input: {{ name: "{uuid7()}" }}) {{ id }} }}')
    shop.engines.recorder.flush()


LISTS = {
    "categories": List("categoriesConnection", lambda shop, _: shop.new_category()),
    "products": List("productsConnection", new_product),
    "products by price": List("productsConnection", new_product, "sortBy: PRICE"),
    "products by name": List("productsConnection", new_product, "sortBy: NAME, sortOrder: DESC"),
    "products by stock": List("productsConnection", new_product, "sortBy: STOCK_QUANTITY"),
    "products by change": List("productsConnection", new_product, "sortBy: UPDATED_AT"),
    "orders": List("ordersConnection", new_order),
    "oldest orders": List("ordersConnection", new_order, 'sortOrder: ASC, filter: { userId: "ann" }'),
    "a user's orders": List("userOrdersConnection", new_order, 'userId: "ann"'),
    "sales": List("salesConnection", new_order),
    "oldest sales": List("salesConnection", new_order, 'sortOrder: ASC, filter: { firstDay: "2020-01-01" }'),
    "sagas": List("sagasConnection", new_order),
    "events": List("eventsConnection", new_product),
    "newest events": List("eventsConnection", new_product, "sortOrder: DESC"),
    "events of a type": List("eventsConnection", new_product, 'filter: { eventType: "ProductCreated" }'),
    "events of a kind": List("eventsConnection", new_order, 'filter: { aggregateType: "order" }'),
    "events of a period": List("eventsConnection", new_product, 'filter: { recordedAfter: "2020-01-01T00:00:00Z" }'),
    "dead letters": List("deadLettersConnection", new_letter),
    "dead letters of a subscription": List(
        "deadLettersConnection", new_letter, 'filter: { source: "order-saga.order-events" }'
    ),
    "queries": List("queryExecutionsConnection", new_query, 'filter: { name: "viewer" }'),
    "commands": List("commandExecutionsConnection", new_command),
    "slowest commands": List("commandExecutionsConnection", new_command, "sortBy: DURATION"),
}


@pytest.fixture(scope="module", params=LISTS)
def listed(request: pytest.FixtureRequest, provider: str) -> Iterator[tuple[ShopInMemory, List, str]]:
    """A list with some entries, and the category of those to come."""
    with open_shop(usual_settings(provider)) as shop:
        list_, category_id = LISTS[request.param], shop.new_category()
        for _ in range(COUNT):
            list_.add(shop, category_id)
        shop.settle()
        yield shop, list_, category_id


def page(shop: ShopInMemory, field: str, *arguments: str, **more: Any) -> Json:
    """Return a page of a connection."""
    given = [argument for argument in arguments if argument]
    given += [f"{name}: {json.dumps(value)}" for name, value in more.items()]
    called = f"{field}({', '.join(given)})" if given else field
    selection = "edges { cursor node { id } } totalCount"
    selection += " pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
    found: Json = shop.ask(f"{{ {called} {{ {selection} }} }}")[field]
    return found


def ids(page: Json) -> list[Any]:
    return [edge["node"]["id"] for edge in page["edges"]]


def pages(shop: ShopInMemory, list_: List, size: int) -> Iterator[Json]:
    after: Mapping[str, Any] = {}
    while True:
        found = page(shop, list_.field, list_.arguments, first=size, **after)
        yield found
        if not found["pageInfo"]["hasNextPage"]:
            return
        after = {"after": found["pageInfo"]["endCursor"]}


def pages_backwards(shop: ShopInMemory, list_: List, size: int) -> Iterator[Json]:
    before: Mapping[str, Any] = {}
    while True:
        found = page(shop, list_.field, list_.arguments, last=size, **before)
        yield found
        if not found["pageInfo"]["hasPreviousPage"]:
            return
        before = {"before": found["pageInfo"]["startCursor"]}


def test_pages_follow_each_other_in_both_directions(listed: tuple[ShopInMemory, List, str]) -> None:
    shop, list_, _ = listed
    whole = page(shop, list_.field, list_.arguments, first=1000)
    everything = ids(whole)
    assert len(everything) >= COUNT and len(set(everything)) == len(everything)
    if list_.field != "queryExecutionsConnection":  # each query of this test is one more
        assert whole["totalCount"] == len(everything)
        read = [ids(one) for one in pages(shop, list_, 3)]
        assert [len(one) for one in read[:-1]] == [3] * (len(read) - 1)
        assert [one for found in read for one in found] == everything
        read = [ids(one) for one in pages_backwards(shop, list_, 3)]
        assert [one for found in read[::-1] for one in found] == everything


def test_page_info_tells_where_the_page_is(listed: tuple[ShopInMemory, List, str]) -> None:
    shop, list_, _ = listed
    whole = page(shop, list_.field, list_.arguments, first=1000)
    cursors = [edge["cursor"] for edge in whole["edges"]]

    def info(**arguments: Any) -> tuple[bool, bool, str | None, str | None]:
        found = page(shop, list_.field, list_.arguments, **arguments)["pageInfo"]
        return found["hasPreviousPage"], found["hasNextPage"], found["startCursor"], found["endCursor"]

    assert info(first=2)[:2] == (False, True)
    assert info(first=2) == (False, True, cursors[0], cursors[1])
    assert info(first=2, after=cursors[0]) == (True, True, cursors[1], cursors[2])
    assert info(first=1000, after=cursors[-2])[:2] == (True, False)
    assert info(first=1, after=cursors[0], before=cursors[2]) == (True, False, cursors[1], cursors[1])
    assert info(first=1, after=cursors[0], before=cursors[3])[:2] == (True, True)
    assert info(last=1, after=cursors[0], before=cursors[3]) == (True, True, cursors[2], cursors[2])
    assert info(last=2, after=cursors[0], before=cursors[3])[:2] == (False, True)
    assert info(last=2, before=cursors[3]) == (True, True, cursors[1], cursors[2])
    assert info(first=0)[1:] == (True, None, None)
    assert info(first=5, after=cursors[-1]) == (True, False, None, None)
    assert info(last=5, before=cursors[0]) == (False, True, None, None)
    assert info(first=3, after=cursors[3], before=cursors[1])[2:] == (None, None)


def test_what_is_added_while_a_client_pages_hides_and_repeats_nothing(listed: tuple[ShopInMemory, List, str]) -> None:
    shop, list_, category_id = listed
    before = ids(page(shop, list_.field, list_.arguments, first=1000))
    read: list[Any] = []
    for number, found in enumerate(pages(shop, list_, 2)):
        read += ids(found)
        if number < 2:
            list_.add(shop, category_id)
            shop.settle()
    assert len(set(read)) == len(read)
    assert [one for one in read if one in before] == before


def test_without_first_and_last_a_page_has_20_edges(shop: ShopInMemory) -> None:
    for _ in range(21):
        shop.new_category()
    shop.settle()
    found = page(shop, "categoriesConnection")
    assert (len(found["edges"]), found["pageInfo"]["hasNextPage"], found["totalCount"]) == (20, True, 21)
    assert ids(page(shop, "categoriesConnection", first=None, last=None, after=None, before=None)) == ids(found)


def test_pages_stay_complete_when_their_entries_are_deleted_and_renamed(shop: ShopInMemory) -> None:
    made = [shop.new_category(f"c{number}") for number in range(9)]
    shop.settle()
    first = page(shop, "categoriesConnection", first=3)
    assert ids(first) == made[:3]
    for gone in (made[2], made[4]):  # the cursor's own category, and one that is still to come
        shop.command("delete_category", {"categoryId": gone})
    shop.command("update_category", {"categoryId": made[8], "name": "a new first name"})
    shop.settle()
    rest = page(shop, "categoriesConnection", first=10, after=first["pageInfo"]["endCursor"])
    assert ids(rest) == [made[3], *made[5:]]
    back = page(shop, "categoriesConnection", last=10, before=first["pageInfo"]["endCursor"])
    assert ids(back) == made[:2]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ("first: -1", "first"),
        ("last: -1", "last"),
        ("first: 1001", "first"),
        ("last: 1001", "last"),
        ("first: 1, last: 1", "last"),
        ("first: 0, last: 0", "last"),
    ],
)
@pytest.mark.parametrize("name", sorted({list_.field for list_ in LISTS.values()}))
def test_lengths_that_make_no_page_are_refused(shop: ShopInMemory, name: str, arguments: str, field: str) -> None:
    user = 'userId: "ann", ' if name == "userOrdersConnection" else ""
    refused = shop.refusal(f"{{ {name}({user}{arguments}) {{ totalCount }} }}")
    assert refused == {"code": "INVALID_INPUT", "field": [field]}


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


AT = "2026-04-01T00:00:00+00:00"
GARBAGE = [
    "",
    "x",
    "お茶",
    "=",
    "%%%%",
    "e30",
    "bnVsbA",
    "[" * 10_000,
    cursor("ordersConnection CREATED_AT"),
    cursor("ordersConnection CREATED_AT", AT),
    cursor("ordersConnection CREATED_AT", AT, UNKNOWN_ID, 1),
    cursor("ordersConnection CREATED_AT", AT, 1),
    cursor("ordersConnection CREATED_AT", AT, None),
    cursor("ordersConnection CREATED_AT", "yesterday", UNKNOWN_ID),
    cursor("ordersConnection CREATED_AT", "2026-04-01T00:00:00", UNKNOWN_ID),
    cursor("ordersConnection CREATED_AT", 10**30, UNKNOWN_ID),
    cursor("ordersConnection CREATED_AT", "0001-01-01T00:00:00+14:00", UNKNOWN_ID),
    cursor("ordersConnection CREATED_AT", AT, "\ud800"),
    cursor("ordersConnection CREATED_AT", AT, "a/b"),
    cursor("ordersConnection CREATED_AT", AT, ""),
    cursor("ordersConnection NAME", AT, UNKNOWN_ID),
    cursor("sagasConnection CREATED_AT", AT, UNKNOWN_ID),
    cursor({"a": 1}),
]


@pytest.mark.parametrize("argument", ["after", "before"])
@pytest.mark.parametrize("text", GARBAGE)
def test_a_text_that_is_no_cursor_of_the_list_is_refused(shop: ShopInMemory, argument: str, text: str) -> None:
    query = f"query ($text: String) {{ ordersConnection({argument}: $text) {{ totalCount }} }}"
    (error,) = shop.graphql(query, {"text": text})["errors"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": [argument]}
    assert f"{argument} must be the cursor of an edge of ordersConnection, sorted by CREATED_AT" in error["message"]


def test_a_cursor_belongs_to_one_list_in_one_order(shop: ShopInMemory) -> None:
    new_order(shop, shop.new_category())
    shop.settle()
    cursors = {name: page(shop, one.field, one.arguments, first=1)["edges"] for name, one in LISTS.items()}
    orders = {(LISTS[name].field, edges[0]["cursor"]) for name, edges in cursors.items() if edges}
    for name, one in LISTS.items():
        for field, foreign in orders:
            if field != one.field:
                arguments = ", ".join(filter(None, [one.arguments, f'after: "{foreign}"']))
                refused = shop.refusal(f"{{ {one.field}({arguments}) {{ totalCount }} }}")
                assert refused == {"code": "INVALID_INPUT", "field": ["after"]}, name
    by_price = page(shop, "productsConnection", "sortBy: PRICE", first=1)["pageInfo"]["endCursor"]
    assert shop.refusal(f'{{ productsConnection(after: "{by_price}") {{ totalCount }} }}')["field"] == ["after"]
    assert page(shop, "productsConnection", "sortBy: PRICE, sortOrder: DESC", after=by_price)["edges"] == []


FILTERS = [
    ('ordersConnection(filter: { userId: "hanako" })', ["filter", "userId"]),
    ('userOrdersConnection(userId: "hanako")', ["userId"]),
    ('eventsConnection(filter: { correlationId: "c" })', None),
    ('sagasConnection(filter: { correlationId: "c" })', None),
    ("deadLettersConnection", None),
]


@pytest.mark.parametrize("headers", [NOBODY, signed_in("taro")], ids=["nobody", "another"])
@pytest.mark.parametrize(("call", "field"), FILTERS)
@pytest.mark.parametrize("selection", ["totalCount", "edges { cursor }", "pageInfo { hasNextPage }"])
def test_no_filter_and_no_count_tells_what_masking_hides(
    shop: ShopInMemory, headers: Mapping[str, str], call: str, field: list[str] | None, selection: str
) -> None:
    answer = shop.graphql(f"{{ {call} {{ {selection} }} }}", headers=headers)
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == ("UNAUTHENTICATED" if headers is NOBODY else "FORBIDDEN")
    assert error["extensions"].get("field") == field
    assert answer["data"] == {call.partition("(")[0]: None}


def test_a_cursor_holds_only_what_everybody_sees(shop: ShopInMemory) -> None:
    order_id = shop.new_order(shop.new_product(), userId="hanako", paymentMethod="decline")
    shop.settle()
    for one in LISTS.values():
        for edge in page(shop, one.field, one.arguments, first=10)["edges"]:
            text = base64.urlsafe_b64decode(edge["cursor"] + "===").decode()
            assert "hanako" not in text and "decline" not in text, text
    assert order_id in str([base64.urlsafe_b64decode(page(shop, "ordersConnection")["edges"][0]["cursor"] + "===")])


def test_a_user_pages_through_their_own_orders(shop: ShopInMemory) -> None:
    product = shop.new_product()
    mine = [shop.new_order(product, userId="hanako") for _ in range(3)]
    shop.new_order(product, userId="taro")
    shop.settle()
    query = "{ viewer { uid role permissions orders(first: 2) { totalCount edges { node { id userId } } } } }"
    seen = shop.graphql(query, headers=signed_in("hanako"))["data"]["viewer"]
    assert (seen["uid"], seen["role"], seen["permissions"]) == ("hanako", "WRITER", ["READ", "WRITE"])
    assert seen["orders"]["totalCount"] == 3
    assert seen["orders"]["edges"] == [{"node": {"id": one, "userId": "hanako"}} for one in mine[:0:-1]]
    own = '{ userOrdersConnection(userId: "hanako") { totalCount } }'
    assert shop.graphql(own, headers=signed_in("hanako"))["data"] == {"userOrdersConnection": {"totalCount": 3}}


def test_the_viewer_may_be_anonymous_or_an_admin(shop: ShopInMemory) -> None:
    query = "{ viewer { uid role permissions orders { totalCount } } }"
    nobody = {"uid": None, "role": "READER", "permissions": ["READ"], "orders": None}
    assert shop.graphql(query, headers=NOBODY) == {"data": {"viewer": nobody}}
    admin = shop.ask(query)["viewer"]
    assert (admin["role"], admin["permissions"]) == ("ADMIN", ["READ", "WRITE", "ADMIN"])


def test_any_node_is_found_by_its_id(shop: ShopInMemory) -> None:
    category = shop.new_category("Tea")
    product = shop.new_product(category, name="Sencha")
    order = shop.new_order(shop.new_product())
    shop.settle()
    new_letter(shop, "")
    (letter,) = ids(page(shop, "deadLettersConnection"))
    query = """query ($id: ID!) { node(id: $id) { __typename id
        ... on Category { name } ... on Product { name category { name } } ... on Order { status } } }"""
    assert shop.ask(query, id=category)["node"] == {"__typename": "Category", "id": category, "name": "Tea"}
    found = {"__typename": "Product", "id": product, "name": "Sencha", "category": {"name": "Tea"}}
    assert shop.ask(query, id=product.upper())["node"] == found
    assert shop.ask(query, id=order)["node"] == {"__typename": "Order", "id": order, "status": "CONFIRMED"}
    assert shop.ask(query, id=letter)["node"] == {"__typename": "DeadLetter", "id": letter}
    assert shop.graphql(query, {"id": letter}, NOBODY) == {"data": {"node": None}}
    assert shop.graphql(query, {"id": UNKNOWN_ID}) == {"data": {"node": None}}
    assert shop.refusal(query, id="x") == {"code": "INVALID_INPUT", "field": ["id"]}


def test_links_lead_from_each_thing_to_the_next(shop: ShopInMemory) -> None:
    top = shop.new_category("Drinks")
    teas, coffees = (shop.new_category(name, parentId=top) for name in ("Teas", "Coffees"))
    product = shop.new_product(teas, name="Tea")
    order = shop.new_order(product)
    shop.settle()
    found = shop.ask(
        f'{{ order(id: "{order}") {{ items {{ product {{ id category {{ parent {{ id parent {{ id }} }} }} }} }} }} }}'
    )
    (item,) = found["order"]["items"]
    assert item == {"product": {"id": product, "category": {"parent": {"id": top, "parent": None}}}}
    query = "query ($id: ID!, $limit: Int) { category(id: $id) { children(limit: $limit) { id } } }"
    assert shop.ask(query, id=top)["category"]["children"] == [{"id": coffees}, {"id": teas}]
    assert shop.ask(query, id=top, limit=1)["category"]["children"] == [{"id": coffees}]
    assert shop.ask(query, id=teas)["category"]["children"] == []
    assert {one["id"] for one in shop.ask(f'{{ categories(parentId: "{top}") {{ id }} }}')["categories"]} == {
        teas,
        coffees,
    }
    below = page(shop, "categoriesConnection", f'filter: {{ parentId: "{top}" }}')
    assert (ids(below), below["totalCount"]) == ([teas, coffees], 2)
    assert ids(page(shop, "categoriesConnection", "filter: { isTopLevel: true }")) == [top]
    assert len(ids(page(shop, "categoriesConnection", "filter: { isTopLevel: false, parentId: null }"))) == 3
    both = f'{{ categoriesConnection(filter: {{ isTopLevel: true, parentId: "{top}" }}) {{ totalCount }} }}'
    assert shop.refusal(both) == {"code": "INVALID_INPUT", "field": ["filter", "isTopLevel"]}
    bad = shop.refusal('{ categoriesConnection(filter: { parentId: "x" }) { totalCount } }')
    assert bad == {"code": "INVALID_INPUT", "field": ["filter", "parentId"]}


def test_a_new_categorys_parent_is_read_from_the_write_side(shop: ShopInMemory) -> None:
    shop.deliver = lambda to, body: 204
    top = shop.new_category("Drinks")
    made = shop.ask(
        f'mutation {{ createCategory(input: {{ name: "Teas", parentId: "{top}" }}) {{ parent {{ id }} }} }}'
    )
    assert made["createCategory"] == {"parent": {"id": top}}
