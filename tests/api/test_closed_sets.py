"""A text argument with a closed set of values refuses every other value and lists the set, wherever
it is."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from graphql import GraphQLInputObjectType, GraphQLObjectType, get_named_type, is_required_argument

from shared.api.schema import schema
from tests.callers import selection
from tests.shop_in_memory import Json, ShopInMemory
from tests.streams import concurrent, opened

OPEN = {"searchTerm", "userId", "correlationId", "causationId", "traceId", "subject", "reason", "after", "before", "by"}
"""Text arguments of queries and subscriptions that may have any value."""

MEMBERS = {
    "sortBy": "createdAt",
    "aggregateType": "category, product, order",
    "eventType": "OrderCreated",
    "queryType": "eventStoreStats",
    "commandType": "CreateOrder",
    "sagaType": "OrderSaga",
    "currentStep": "reserve_inventory, process_payment",
    "topic": "order-events",
    "source": "order-saga.order-events",
    "type": "OrderCreated",
    "serviceName": "create_order",
    "name": "orders",
    "status": "success, INVALID_INPUT",
}
"""What each error must name."""
SAGA_STATUSES = "STARTED, COMPENSATING, STUCK, COMPLETED, FAILED, ACTIVE, COMPENSATED"


class Argument(NamedTuple):
    field: str
    path: Sequence[str]
    query: str

    @property
    def member(self) -> str:
        if self.path[-1] == "name" and self.field.startswith("command"):
            return "CreateOrder"
        return SAGA_STATUSES if (self.field[:5], self.path[-1]) == ("sagas", "status") else MEMBERS[self.path[-1]]


def texts(root: GraphQLObjectType) -> Iterator[Argument]:
    """Yield every text argument of a root type, also inside of inputs, with a query that misspells
    its value."""
    for name, field in root.fields.items():
        required = [f'{key}: "ann"' for key, one in field.args.items() if is_required_argument(one)]
        for key, argument in field.args.items():
            kind = get_named_type(argument.type)
            inner = list(kind.fields.items()) if isinstance(kind, GraphQLInputObjectType) else []
            found = [
                ((key, part), f'{key}: {{ {part}: "typo" }}', get_named_type(one.type).name) for part, one in inner
            ]
            for path, given, type_name in [*found, ((key,), f'{key}: "typo"', getattr(kind, "name", ""))]:
                if type_name == "String" and path[-1] not in OPEN:
                    others = [one for one in required if not one.startswith(f"{key}:")]
                    yield Argument(name, path, f"{name}({', '.join([*others, given])}) {selection(field.type)}")


def arguments_of(root: GraphQLObjectType | None) -> list[Argument]:
    assert root
    return list(texts(root))


@pytest.mark.parametrize(
    "argument", arguments_of(schema().query_type), ids=lambda one: f"{one.field}-{'.'.join(one.path)}"
)
def test_a_query_refuses_a_typo_and_lists_the_set(shop: ShopInMemory, argument: Argument) -> None:
    document = f"{{ {argument.query} }}" if "Connection" not in argument.field else f"{{ {_short(argument)} }}"
    require_refused(argument, shop.graphql(document))


def _short(argument: Argument) -> str:
    return f"{argument.query.partition(') {')[0]}) {{ totalCount }}"


@pytest.mark.parametrize(
    "argument", arguments_of(schema().subscription_type), ids=lambda one: f"{one.field}-{one.path[0]}"
)
@concurrent
async def test_a_subscription_refuses_a_typo_and_lists_the_set(shop: ShopInMemory, argument: Argument) -> None:
    async with opened(f"subscription {{ {argument.query} }}") as stream:
        require_refused(argument, {"data": {argument.field: None}, "errors": [await stream.refusal()]})


def require_refused(argument: Argument, answer: Json) -> None:
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == (
        "NOT_FOUND" if argument.field in ("serviceHealth", "rebuildPartitionsConnection") else "INVALID_INPUT"
    )
    assert error["extensions"]["field"] == list(argument.path)
    assert argument.member in error["message"] and '"typo"' in error["message"], error["message"]
    assert answer["data"] == {argument.field: None}


def test_every_kind_of_set_is_tested() -> None:
    """An argument that is neither open nor listed here fails the tests above."""
    found = {one.path[-1] for root in (schema().query_type, schema().subscription_type) for one in arguments_of(root)}
    assert found == MEMBERS.keys()


def test_a_mutation_refuses_a_subscription_that_there_is_not(shop: ShopInMemory) -> None:
    (error,) = shop.graphql('mutation { retryDeadLetters(source: "typo") { retried } }')["errors"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": ["source"]}
    assert "order-saga.order-events" in error["message"]


@pytest.mark.parametrize(
    "query",
    [
        'events(eventType: "ordercreated", aggregateType: "ORDER") { eventType }',
        'queryExecutions(queryType: "EVENTS", status: "Success") { id }',
        'commandExecutions(commandType: "createorder", status: "not_found") { id }',
        'pubsubMessages(topic: "Order-Events") { id }',
        'sagas(sagaType: "ordersaga", status: "started") { id }',
    ],
)
def test_letter_case_does_not_matter(shop: ShopInMemory, query: str) -> None:
    shop.new_order(shop.new_product())
    shop.settle()
    shop.ask(f"{{ {query} }}")


def test_a_type_of_another_aggregate_is_refused(shop: ShopInMemory) -> None:
    (error,) = shop.graphql('{ events(aggregateType: "product", eventType: "OrderCreated") { id } }')["errors"]
    assert error["extensions"]["field"] == ["eventType"]
    assert "ProductCreated" in error["message"] and "must be one of" in error["message"]


def test_one_refused_field_leaves_the_others(shop: ShopInMemory) -> None:
    """The three fields that existing clients know as non-null take no arguments, so nothing of them
    can be refused."""
    root = schema().query_type
    assert root
    non_null = {name for name, field in root.fields.items() if str(field.type).endswith("!")}
    assert non_null == {"eventStoreStats", "systemStatistics", "dashboardStats"}
    assert not any(root.fields[name].args for name in non_null)
    answer = shop.graphql('{ refused: deadLetters(source: "typo") { id } health { status } }')
    assert answer["data"]["refused"] is None
    assert answer["data"]["health"]["status"]
