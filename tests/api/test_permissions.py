"""Every mutation, and every query that is not for everybody, asked by everybody: generated from the
schema, so that a new one without an entry fails."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from graphql import GraphQLField, get_named_type, is_composite_type, is_required_argument
from uuid_utils.compat import uuid7

from scripts.local.token import emulator_token
from shared.api.schema import schema
from shared.auth.identity import without_sign_in
from shared.auth.permissions import ANONYMOUS, DEVELOPER
from shared.dead_letters.protocol import decode_dead_letter
from shared.messaging.envelope import Push, PushedMessage
from shared.read_models.documents import READ_MODELS
from shared.read_models.generations import Generations, change_generations, generations_of
from shared.read_models.transitions import stopped
from shared.sagas.definition import Progress
from shared.sagas.status import SagaStatus
from shared.sagas.store import StoredSaga
from tests.callers import selection
from tests.shop_in_memory import ShopInMemory
from tests.streams import SOON, Stream, concurrent, going_on, in_thread, opened, with_settings

ACTORS: Mapping[str, Mapping[str, str]] = {
    "nobody": {"Authorization": ""},
    "reader": {"Authorization": f"Bearer {emulator_token('r@example.com', role='reader')}"},
    "writer": {"Authorization": f"Bearer {emulator_token('w@example.com', uid='other')}"},
    "owner": {"Authorization": f"Bearer {emulator_token('o@example.com', uid='owner')}"},
    "admin": {"Authorization": f"Bearer {emulator_token('a@example.com', role='admin')}"},
    "invalid token": {"Authorization": "Bearer garbage"},
}
OK, OUT, NO = None, "UNAUTHENTICATED", "FORBIDDEN"

ADMINS_ONLY = {"nobody": OUT, "reader": NO, "writer": NO, "owner": NO, "admin": OK, "invalid token": OUT}
OWN_ONLY = {"nobody": OUT, "reader": NO, "writer": NO, "owner": OK, "admin": OK, "invalid token": OUT}

EXPECTED: Mapping[str, Mapping[str, str | None]] = {
    "createCategory": ADMINS_ONLY,
    "updateCategory": ADMINS_ONLY,
    "deleteCategory": ADMINS_ONLY,
    "createProduct": ADMINS_ONLY,
    "updateProduct": ADMINS_ONLY,
    "changeProductPrice": ADMINS_ONLY,
    "adjustStock": ADMINS_ONLY,
    "deleteProduct": ADMINS_ONLY,
    "createOrder": OWN_ONLY,
    "cancelOrder": OWN_ONLY,
    "retryDeadLetter": ADMINS_ONLY,
    "retryDeadLetters": ADMINS_ONLY,
    "discardDeadLetter": ADMINS_ONLY,
    "discardDeadLetters": ADMINS_ONLY,
    "retrySaga": ADMINS_ONLY,
    "restartSaga": ADMINS_ONLY,
    "erasePerson": ADMINS_ONLY,
    "rebuildProjection": ADMINS_ONLY,
    "cancelRebuild": ADMINS_ONLY,
    "compareProjection": ADMINS_ONLY,
    "switchProjection": ADMINS_ONLY,
    "dropProjectionGeneration": ADMINS_ONLY,
    "stopProjection": ADMINS_ONLY,
    "startProjection": ADMINS_ONLY,
    "setFault": ADMINS_ONLY,
}
ADMINISTRATION = {
    "retryDeadLetter": "retry_dead_letters",
    "retryDeadLetters": "retry_dead_letters",
    "discardDeadLetter": "discard_dead_letter",
    "discardDeadLetters": "discard_dead_letter",
    "retrySaga": "retry_saga",
    "restartSaga": "restart_saga",
    "erasePerson": "erase_person",
    "rebuildProjection": "rebuild_projection",
    "cancelRebuild": "rebuild_projection",
    "compareProjection": "rebuild_projection",
    "switchProjection": "rebuild_projection",
    "dropProjectionGeneration": "rebuild_projection",
    "stopProjection": "rebuild_projection",
    "startProjection": "rebuild_projection",
}
"""Functions that record no event."""

QUERIES = {
    "deadLetters": "deadLetters { id }",
    "deadLettersConnection": "deadLettersConnection { totalCount edges { node { id } } }",
    "deadLetter": f'deadLetter(id: "{uuid7()}") {{ id }}',
    "deadLetterCauses": "deadLetterCauses { count }",
    "eventCausation": "eventCausation(id: 1) { causes { id } }",
    "salesConnection": "salesConnection { totalCount edges { node { id } } }",
    "rebuildPartitionsConnection": 'rebuildPartitionsConnection(name: "project_sales") { totalCount edges { node { id } } }',
    "operatorActionsConnection": "operatorActionsConnection { edges { cursor } }",
}
"""Queries for admins only."""


def mutations() -> list[str]:
    root = schema().mutation_type
    assert root is not None
    return sorted(root.fields)


def test_every_mutation_has_a_row() -> None:
    assert mutations() == sorted(EXPECTED)


def test_every_query_for_admins_has_a_row() -> None:
    root, of_admins = (
        schema().query_type,
        re.compile("DeadLetter|EventCausation|OperatorAction|DailySales|RebuildPartition"),
    )
    assert root is not None
    assert {name for name, field in root.fields.items() if of_admins.search(str(field.type))} == set(QUERIES)


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("query", QUERIES)
def test_only_admins_may_read_what_is_for_them(shop: ShopInMemory, query: str, actor: str) -> None:
    answer = shop.graphql(f"{{ {QUERIES[query]} }}", headers=ACTORS[actor])
    codes = [error["extensions"]["code"] for error in answer.get("errors", [])]
    found = ["NOT_FOUND"] if query in ("deadLetter", "eventCausation") else []
    refused = ADMINS_ONLY[actor]
    assert codes == ([refused] if refused else found)


@pytest.fixture(scope="module")
def confirmed_order(shared_shop: ShopInMemory) -> str:
    """Return the id of an order of the owner's in `shared_shop`."""
    order_id = shared_shop.new_order(shared_shop.new_product(), userId="owner")
    shared_shop.settle()
    return order_id


@pytest.fixture(scope="module")
def refused_order(shared_shop: ShopInMemory) -> str:
    """Return the id of an order of the owner's in `shared_shop`, which could not be shipped."""
    order_id = shared_shop.new_order(shared_shop.new_product(), userId="owner", shippingMethod="refuse")
    shared_shop.settle()
    return order_id


@pytest.mark.parametrize("actor", ACTORS)
def test_sagas_are_public_and_contain_no_personal_data(
    shared_shop: ShopInMemory, refused_order: str, actor: str
) -> None:
    fields = "id sagaType status state commandsDispatched { commandType commandData } eventsHandled correlationId"
    for document in (f'{{ saga(id: "{refused_order}") {{ {fields} }} }}', f"{{ saga: sagas {{ {fields} }} }}"):
        shown = json.dumps(shared_shop.graphql(document, headers=ACTORS[actor])["data"])
        assert refused_order in shown
        payments = shared_shop.engines.sandbox.ledger("payments")
        assert payments and not [payment for payment in payments if payment["reference"] in shown]
        assert "owner" not in shown


def request(shop: ShopInMemory, mutation: str) -> str:
    """Return the mutation, as a document, on an entity that exists."""
    category_id = shop.new_category()
    product_id = shop.new_product(category_id)
    line = f'{{productId: "{product_id}", productName: "Tea", quantity: 1, unitPrice: "500"}}'
    order_id = (
        shop.new_order(product_id, userId="owner", paymentMethod="time-out")
        if mutation in ("cancelOrder", "erasePerson")
        else ""
    )
    arguments = {
        "createCategory": f'(input: {{name: "{uuid7()}"}}) {{ id }}',
        "updateCategory": f'(id: "{category_id}", input: {{description: "x"}}) {{ id }}',
        "deleteCategory": f'(id: "{shop.new_category()}") {{ success }}',
        "createProduct": f'(input: {{name: "a", price: 1, categoryId: "{category_id}"}}) {{ id }}',
        "updateProduct": f'(id: "{product_id}", input: {{description: "x"}}) {{ id }}',
        "changeProductPrice": f'(id: "{product_id}", newPrice: 2) {{ id }}',
        "adjustStock": f'(id: "{product_id}", delta: 1) {{ id }}',
        "deleteProduct": f'(id: "{product_id}") {{ success }}',
        "createOrder": f'(input: {{userId: "owner", items: [{line}]}}) {{ success }}',
        "cancelOrder": f'(id: "{order_id}") {{ success }}',
        "retryDeadLetter": f'(id: "{letter(shop)}") {{ id }}',
        "retryDeadLetters": " { retried }",
        "discardDeadLetter": f'(id: "{letter(shop)}", reason: "test") {{ id }}',
        "discardDeadLetters": '(reason: "test") { discarded }',
        "rebuildProjection": '(name: "project_products") { name }',
        "cancelRebuild": f'(name: "{with_a_rebuild(shop)}") {{ name }}',
        "compareProjection": f'(name: "{with_two_generations(shop)}") {{ name }}',
        "switchProjection": f'(name: "{with_two_generations(shop)}", to: 2) {{ name }}',
        "dropProjectionGeneration": f'(name: "{with_two_generations(shop)}") {{ name }}',
        "stopProjection": '(name: "project_products") { name }',
        "startProjection": f'(name: "{with_a_stop(shop)}") {{ name }}',
        "setFault": "(provider: PAYMENT, fault: DOWN) { fault }",
        "retrySaga": f'(id: "{order_without_saga(shop, product_id)}") {{ id }}',
        "erasePerson": '(userId: "owner", reason: "asked for it") { erased }',
        "restartSaga": f'(id: "{stuck_saga(shop, product_id)}", fromStep: "reserve_inventory") {{ id }}',
    }
    return f"mutation {{ {mutation}{arguments[mutation]} }}"


def stuck_saga(shop: ShopInMemory, product_id: str) -> str:
    """Let the saga of an order be stuck on the way back, with nothing undone, and return its id."""
    shop.deliver = lambda *_: 204
    order_id = order_without_saga(shop, product_id)
    shop.engines.sagas.save(StoredSaga("OrderSaga", Progress(UUID(order_id), SagaStatus.STUCK), 0, "c"), [], [])
    return order_id


def letter(shop: ShopInMemory) -> str:
    """Return the id of a pending dead letter."""
    message = PushedMessage("1", "", {})
    one = decode_dead_letter(Push(message, "projects/p/subscriptions/project-orders.order-events"), "order-events")
    shop.engines.dead_letters.record(one)
    return str(one.letter.id)


def order_without_saga(shop: ShopInMemory, product_id: str) -> str:
    """No message is delivered in these tests."""
    return shop.new_order(product_id, userId="owner")


def with_two_generations(shop: ShopInMemory) -> str:
    """Return a projection with a generation to switch to or to drop."""
    change_generations(shop.engines.read_models, "orders", lambda _: Generations(1, 2, "KEPT", 2))
    return "project_orders"


def with_a_rebuild(shop: ShopInMemory) -> str:
    """Return a projection with a generation that is being filled."""
    change_generations(shop.engines.read_models, "sales", lambda _: Generations(1, 2, "BUILDING", 2))
    return "project_sales"


def with_a_stop(shop: ShopInMemory) -> str:
    """Return a projection that is stopped."""
    change_generations(shop.engines.read_models, "categories", lambda now: stopped(now, "a", 60))
    return "project_categories"


def everything(shop: ShopInMemory) -> tuple[object, ...]:
    """Return everything that a mutation may change."""
    generations = [generations_of(shop.engines.read_models, name) for name in READ_MODELS]
    letters, sagas = shop.engines.dead_letters.latest(1000), shop.engines.sagas.newest(1000)
    return len(shop.log()), letters, sagas, generations, shop.engines.sandbox.faults()


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("mutation", mutations())
def test_each_role_may_do_what_its_row_says(shop: ShopInMemory, mutation: str, actor: str) -> None:
    shop.deliver = lambda to, body: 204  # so that the order stays as it is
    document = request(shop, mutation)
    before = everything(shop)
    answer = shop.graphql(document, headers=ACTORS[actor])
    codes = [error["extensions"]["code"] for error in answer.get("errors", [])]
    expected = EXPECTED[mutation][actor]
    assert codes == ([expected] if expected else [])
    assert (everything(shop) != before) == (expected is None)


@pytest.mark.parametrize("actor", ["nobody", "reader", "writer"])
@pytest.mark.parametrize("mutation", sorted({*mutations()} - {"setFault"}))  # the sandbox is no part of the shop
def test_the_command_function_checks_the_permission_again(shop: ShopInMemory, mutation: str, actor: str) -> None:
    """A caller may reach it without the graphql function's check."""
    function = ADMINISTRATION.get(mutation) or "".join(f"_{c.lower()}" if c.isupper() else c for c in mutation)
    headers = {"X-Actor": "nobody" if actor == "nobody" else "somebody", "X-Role": actor.replace("nobody", "reader")}
    body: dict[str, Any] = {}
    if mutation in ("createOrder", "cancelOrder") and actor == "writer":
        product_id = shop.new_product()
        line = {"productId": product_id, "productName": "Tea", "quantity": 1, "unitPrice": "500"}
        order_id = shop.new_order(product_id, userId="owner")
        shop.settle()
        body = {"orderId": order_id}
        if mutation == "createOrder":
            body = {"orderId": str(uuid7()), "userId": "owner", "items": [line]}
    answer = shop.command(function, body, headers)
    assert (answer.status_code, answer.json()["code"]) == ((401, OUT) if actor == "nobody" else (403, NO))


def test_an_invalid_token_reads_anonymously_and_its_mutations_fail_with_the_reason(shop: ShopInMemory) -> None:
    headers = ACTORS["invalid token"]
    assert shop.graphql("{ products { id } }", headers=headers)["data"] == {"products": []}
    answer = shop.graphql(request(shop, "createCategory"), headers=headers)
    assert "not valid" in answer["errors"][0]["message"]


def test_the_actor_is_in_every_events_metadata(shop: ShopInMemory) -> None:
    shop.graphql('mutation { createCategory(input: {name: "Tea"}) { id } }', headers=ACTORS["admin"])
    event = shop.log()[-1]
    assert event.metadata.actor == "a"
    assert event.metadata.correlation_id
    assert event.metadata.causation_id


@pytest.mark.parametrize(
    ("actor", "visible"), [("owner", True), ("admin", True), ("writer", False), ("reader", False), ("nobody", False)]
)
def test_personal_data_is_for_the_owner_and_admins(
    shared_shop: ShopInMemory, confirmed_order: str, actor: str, visible: bool
) -> None:
    fields = "id status totalAmount userId paymentId shippingId"
    by_user = [f'{{ order: userOrders(userId: "owner") {{ {fields} }} }}'] if visible else []
    for document in (
        f'{{ order(id: "{confirmed_order}") {{ {fields} }} }}',
        f"{{ order: orders {{ {fields} }} }}",
        *by_user,
    ):
        found: Any = shared_shop.graphql(document, headers=ACTORS[actor])["data"]["order"]
        (order,) = [one for one in (found if isinstance(found, list) else [found]) if one["id"] == confirmed_order]
        assert order["status"] == "CONFIRMED"
        shown = (order["userId"], bool(order["paymentId"]), bool(order["shippingId"]))
        assert shown == (("owner", True, True) if visible else ("***", False, False))


@pytest.mark.parametrize("user", ["owner", "nobody-orders-so"])
@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("field", ["orders", "userOrders"])
def test_orders_are_found_by_user_only_for_that_user_and_admins(
    shared_shop: ShopInMemory, confirmed_order: str, field: str, actor: str, user: str
) -> None:
    """Whether the user has orders or not makes no difference."""
    answer = shared_shop.graphql(f'{{ {field}(userId: "{user}") {{ id }} }}', headers=ACTORS[actor])
    codes = [error["extensions"]["code"] for error in answer.get("errors", [])]
    own = "own" if (actor, user) == ("owner", "owner") else actor
    assert codes == {"own": [], "admin": [], "nobody": [OUT], "invalid token": [OUT]}.get(own, [NO])
    assert bool(answer["data"][field]) == (not codes and user == "owner")


def arguments_to_filter_by() -> list[tuple[str, str]]:
    root = schema().query_type
    assert root is not None
    return [
        (name, argument)
        for name, field in root.fields.items()
        for argument, given in field.args.items()
        if str(get_named_type(given.type)) in ("String", "ID")
    ]


@pytest.fixture(scope="module")
def hidden(shared_shop: ShopInMemory, refused_order: str) -> set[str]:
    """Return the values of an order that only its owner and admins may see."""
    order = shared_shop.ask(f'{{ order(id: "{refused_order}") {{ userId paymentId shippingId reason }} }}')["order"]
    recorded = [event for event in shared_shop.log() if event.stream == f"order-{refused_order}"]
    hidden = {*order.values(), *(event.metadata.correlation_id for event in recorded)} - {None}
    hidden |= {str(event.data[name]) for event in recorded for name in ("payment_method",) if name in event.data}
    assert len(hidden) >= 4
    return hidden


@pytest.mark.parametrize("actor", ["nobody", "reader", "writer"])
@pytest.mark.parametrize(("field", "argument"), arguments_to_filter_by())
def test_no_filter_tells_what_masking_hides(
    shared_shop: ShopInMemory, hidden: set[str], field: str, argument: str, actor: str
) -> None:
    """Asking for a hidden value gets the same answer as asking for one that does not exist."""
    root = schema().query_type
    assert root is not None
    others = {
        name: '"x"'
        for name, given in root.fields[field].args.items()
        if is_required_argument(given) and name != argument
    }
    leaf = " { __typename }" if is_composite_type(get_named_type(root.fields[field].type)) else ""

    def ask(value: str) -> Any:
        arguments = ", ".join(f"{name}: {given}" for name, given in {**others, argument: json.dumps(value)}.items())
        answer = shared_shop.graphql(f"{{ {field}({arguments}){leaf} }}", headers=ACTORS[actor])
        return json.loads(json.dumps(answer).replace(value, "VALUE"))

    for value in hidden:
        unknown = str(uuid7()) if len(value) == 36 else f"{value[:-1]}~"
        assert ask(value) == ask(unknown), value


@pytest.mark.parametrize("actor", ["nobody", "reader", "writer"])
def test_no_answer_holds_what_masking_hides(shop: ShopInMemory, actor: str) -> None:
    """Every query with all its fields, and no argument but the required ones."""
    owner = f"owner-{uuid7()}"
    order_id = shop.new_order(shop.new_product(), userId=owner, shippingMethod="refuse")
    shop.settle()
    shop.graphql(f'{{ userOrders(userId: "{owner}") {{ id }} }}')
    shop.engines.recorder.flush()
    order = shop.ask(f'{{ order(id: "{order_id}") {{ userId paymentId reason }} }}')["order"]
    correlation_ids = {event.metadata.correlation_id for event in shop.log() if event.stream == f"order-{order_id}"}
    hidden = {*order.values(), *correlation_ids} - {None}
    assert len(hidden) >= 3
    shop.engines.settings = replace(shop.engines.settings, max_query_cost=10**9, max_query_fields=10**4)
    root = schema().query_type
    assert root is not None
    for name, field in root.fields.items():
        values = {"id": order_id, "aggregateId": order_id, "orderId": order_id, "userId": "x", "searchTerm": "tea"}
        values |= {"serviceName": "graphql", "name": "project_products"}
        needed = [f'{key}: "{values[key]}"' for key, given in field.args.items() if is_required_argument(given)]
        arguments = f"({', '.join(needed)})" if needed else ""
        text = json.dumps(shop.graphql(f"{{ {name}{arguments} {selection(field.type)} }}", headers=ACTORS[actor]))
        assert not [value for value in hidden if value in text], name


@pytest.mark.parametrize("actor", ["nobody", "reader", "writer"])
@concurrent
async def test_no_subscription_sends_what_masking_hides(shop: ShopInMemory, actor: str) -> None:
    """Every subscription with all its fields, from the beginning; an admin is sent what others are
    not."""
    owner = f"owner-{uuid7()}"
    order_id = await in_thread(shop.new_order, await in_thread(shop.new_product), userId=owner, shippingMethod="refuse")
    await in_thread(shop.settle)
    order = await in_thread(shop.ask, f'{{ order(id: "{order_id}") {{ userId paymentId reason }} }}')
    events = [event for event in shop.log() if event.stream == f"order-{order_id}"]
    products = {line["product_id"] for event in events for line in event.data.get("items", ())}
    hidden = {*order["order"].values(), *(event.metadata.correlation_id for event in events)} - {None}
    with_settings(shop, max_query_cost=10**9, max_query_fields=10**4)
    values = {"id": order_id, "productId": next(iter(products))}

    async def watched(name: str, field: GraphQLField) -> str:
        """Return what an admin is sent."""
        needed = [f'{key}: "{values[key]}"' for key, given in field.args.items() if is_required_argument(given)]
        document = f"subscription {{ {name}{f'({needed[0]})' if needed else ''} {selection(field.type)} }}"
        beginning = going_on("-".join(["0.0.0"] * {"pubsubStream": 2}.get(name, 1)))
        async with (
            opened(document, headers={**ACTORS["admin"], **beginning}) as full,
            opened(document, headers={**ACTORS[actor], **beginning}) as masked,
        ):
            await until_alike(full, masked)
        assert not [value for value in hidden if value in masked.body], name
        return full.body

    root = schema().subscription_type
    assert root is not None
    to_admin = "".join(await asyncio.gather(*(watched(name, field) for name, field in root.fields.items())))
    assert [value for value in hidden if value not in to_admin] == []


async def until_alike(*streams: Stream) -> None:
    """Wait until each stream has sent as many messages as the others, and no more come."""
    looks = [[0]]
    async with asyncio.timeout(SOON):
        while looks[-1][0] == 0 or len({*looks[-1]}) > 1 or looks[-4:] != [looks[-1]] * 4:
            await asyncio.sleep(0.2)  # four times: a machine that stops in one of them sends nothing meanwhile
            looks.append([stream.body.count("event: next") for stream in streams])


def test_without_required_sign_in_everything_is_allowed_but_not_with_an_invalid_token(
    shop: ShopInMemory,
) -> None:
    shop.engines.settings = replace(shop.engines.settings, sign_in_required=False)
    document = 'mutation { createCategory(input: {name: "Tea"}) { id } }'
    refused = shop.graphql(document, headers=ACTORS["invalid token"])
    assert refused["errors"][0]["extensions"]["code"] == OUT
    assert "errors" not in shop.graphql(document, headers=ACTORS["nobody"])
    assert shop.log()[-1].metadata.actor == "developer"


def test_in_the_cloud_sign_in_is_required_whatever_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert without_sign_in(required=False) == DEVELOPER
    assert without_sign_in(required=True) == ANONYMOUS
    monkeypatch.setenv("K_SERVICE", "graphql")
    assert without_sign_in(required=False) == ANONYMOUS


@pytest.mark.parametrize(
    "headers",
    [{"X-Actor": "%00"}, {"X-Actor": "a%0Ab"}, {"X-Actor": "%ED%A0%80%7F"}, {"X-Role": "root"}, {"X-Role": ""}],
)
def test_a_malformed_actor_is_refused(shop: ShopInMemory, headers: dict[str, str]) -> None:
    answer = shop.command("create_category", {"categoryId": str(uuid7()), "name": "Tea"}, headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")
    assert shop.log() == []
