"""Null for an argument or an input field means what leaving it out means; a whole number may have a
point."""

from collections.abc import Iterator

import pytest
from graphql import GraphQLArgument, GraphQLInputField, GraphQLInputObjectType, get_named_type, is_required_argument
from graphql.type import is_required_input_field

from shared.api.schema import schema
from tests.callers import selection
from tests.shop_in_memory import Json, ShopInMemory
from tests.streams import concurrent, opened

VALUES = {
    "String": '"Tea"',
    "Int": "1",
    "Boolean": "true",
    "Decimal": '"500"',
    "Date": '"2026-04-01"',
    "DateTime": '"2026-04-01T09:00:00Z"',
}
"""A literal for a required input of each scalar type."""

CLEARED = {"UpdateCategoryInput": {"description", "parentId"}, "UpdateProductInput": {"description"}}
"""The fields where null is a value, as the schema says."""


def fields(root: str) -> Iterator[tuple[str, dict[str, GraphQLArgument]]]:
    kind = schema().type_map[root]
    for name, field in kind.fields.items():  # type: ignore[attr-defined]
        if any(not is_required_argument(one) for one in field.args.values()):
            yield name, field.args


def literal(name: str, one: GraphQLArgument | GraphQLInputField, ids: Json) -> str:
    kind = get_named_type(one.type)
    if isinstance(kind, GraphQLInputObjectType):
        inside = ", ".join(
            f"{key}: {literal(key, field, ids)}" for key, field in kind.fields.items() if is_required_input_field(field)
        )
        return f"[{{{inside}}}]" if name == "items" else f"{{{inside}}}"
    return f'"{ids[name]}"' if name in ids else VALUES[kind.name]


def asked(name: str, arguments: dict[str, GraphQLArgument], ids: Json, root: str, null: bool) -> str:
    given = [f"{key}: {literal(key, one, ids)}" for key, one in arguments.items() if is_required_argument(one)]
    given += [f"{key}: null" for key, one in arguments.items() if null and not is_required_argument(one)]
    kind = schema().type_map[root].fields[name].type  # type: ignore[attr-defined]
    inputs = f"({', '.join(given)})" if given else ""
    return f"{{ {name}{inputs} {selection(kind, ['its timeline left out'])} }}"


@pytest.fixture
def ids(shop: ShopInMemory) -> Json:
    category_id = shop.new_category("Tea")
    product_id = shop.new_product(category_id)
    order_id = shop.new_order(product_id)
    shop.settle()
    return {
        "categoryId": category_id,
        "productId": product_id,
        "aggregateId": order_id,
        "userId": "ann",
        "name": "project_orders",
        "serviceName": "create_order",
    }


def id_of(field: str, ids: Json) -> Json:
    known = {"category": "categoryId", "product": "productId", "order": "aggregateId", "saga": "aggregateId"}
    return ids | {"id": ids[known.get(field, "productId")]}


VOLATILE = {"executedAt", "durationMs", "uptimeSeconds", "queryExecutions", "commandExecutions", "systemStatistics"}


@pytest.mark.parametrize("name", [name for name, _ in fields("Query") if name not in VOLATILE])
def test_a_query_takes_null_as_an_argument_left_out(shop: ShopInMemory, ids: Json, name: str) -> None:
    arguments = dict(fields("Query"))[name]
    without, null = (
        shop.graphql(asked(name, arguments, id_of(name, ids), "Query", null=null)) for null in (False, True)
    )
    assert null == without
    assert "errors" not in null, null


@pytest.mark.parametrize("name", ["queryExecutions", "commandExecutions"])
def test_a_history_takes_null_as_an_argument_left_out(shop: ShopInMemory, name: str) -> None:
    arguments = dict(fields("Query"))[name]
    assert "errors" not in shop.graphql(asked(name, arguments, {}, "Query", null=True))


def test_a_list_below_another_takes_null_as_an_argument_left_out(shop: ShopInMemory, ids: Json) -> None:
    answer = shop.ask("{ categories(limit: null, sortBy: null, sortOrder: null) { products(limit: null) { id } } }")
    assert answer == {"categories": [{"products": [{"id": ids["productId"]}]}]}


@pytest.mark.parametrize("name", [name for name, _ in fields("Subscription")])
@concurrent
async def test_a_subscription_takes_null_as_an_argument_left_out(shop: ShopInMemory, name: str) -> None:
    async with opened(
        f"subscription {asked(name, dict(fields('Subscription'))[name], {}, 'Subscription', null=True)}"
    ) as stream:
        await stream.until(lambda: stream.body)
        assert "errors" not in stream.body


CREATE = "mutation ($input: {0}!) {{ {1}(input: $input) {{ {2} }} }}"


def create_order(ids: Json, **more: str | None) -> Json:
    line = {"productId": ids["productId"], "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    return {"userId": "ann", "items": [line], **more}


def test_an_input_takes_null_as_a_field_left_out(shop: ShopInMemory, ids: Json) -> None:
    """The methods of payment and delivery have defaults, and so has the currency."""
    order = CREATE.format("CreateOrderInput", "createOrder", "success order { status }")
    made = shop.ask(order, input=create_order(ids, paymentMethod=None, shippingMethod=None))["createOrder"]
    assert made == {"success": True, "order": {"status": "PENDING"}}
    shop.settle()
    assert shop.ask("{ orders(limit: 2) { status } }") == {"orders": [{"status": "CONFIRMED"}] * 2}
    product = {"name": "Mug", "price": "500", "categoryId": ids["categoryId"]}
    nulls = {"currency": None, "description": None, "stockQuantity": None}
    answer = shop.ask(
        CREATE.format("CreateProductInput", "createProduct", "currency stockQuantity description"),
        input=product | nulls,
    )
    assert answer == {"createProduct": {"currency": "JPY", "stockQuantity": 0, "description": None}}
    answer = shop.ask(
        CREATE.format("CreateCategoryInput", "createCategory", "description parentId"),
        input={"name": "Mugs", "description": None, "parentId": None},
    )
    assert answer == {"createCategory": {"description": None, "parentId": None}}


def test_a_literal_null_is_a_field_left_out(shop: ShopInMemory, ids: Json) -> None:
    line = f'{{productId: "{ids["productId"]}", productName: "Tea", quantity: 1, unitPrice: "500"}}'
    order = f'{{userId: "ann", items: [{line}], paymentMethod: null, shippingMethod: null}}'
    assert shop.ask(f"mutation {{ createOrder(input: {order}) {{ success }} }}") == {"createOrder": {"success": True}}


@pytest.mark.parametrize("null", [True, False])
def test_an_update_takes_null_as_a_field_left_out_unless_it_clears(shop: ShopInMemory, ids: Json, null: bool) -> None:
    wanted = "{ name description price stockQuantity categoryId }"
    update = f"mutation ($id: ID!, $input: UpdateProductInput!) {{ updateProduct(id: $id, input: $input) {wanted} }}"
    shop.ask(update, id=ids["productId"], input={"description": "green"})
    kind = schema().type_map["UpdateProductInput"]
    assert isinstance(kind, GraphQLInputObjectType)
    unchanged = dict.fromkeys(kind.fields.keys() - CLEARED["UpdateProductInput"]) if null else {}
    answer = shop.ask(update, id=ids["productId"], input={"description": None, **unchanged})["updateProduct"]
    expected = {
        "name": "Tea",
        "description": None,
        "price": "500",
        "stockQuantity": 99,
        "categoryId": ids["categoryId"],
    }
    assert answer | {"stockQuantity": 99} == expected


def test_a_reason_may_be_null(shop: ShopInMemory, ids: Json) -> None:
    shop.ask("mutation ($id: ID!) { adjustStock(id: $id, delta: 1, reason: null) { id } }", id=ids["productId"])


@pytest.mark.parametrize(
    ("without", "null"),
    [
        ("retryDeadLetters { left }", "retryDeadLetters(source: null, limit: null) { left }"),
        ("cancelOrder(id: $id) { success }", "cancelOrder(id: $id, reason: null) { success }"),
        (
            'switchProjection(name: "project_orders", to: 1) { name }',
            'switchProjection(name: "project_orders", to: 1, force: null) { name }',
        ),
    ],
)
def test_an_operation_takes_null_as_an_argument_left_out(
    shop: ShopInMemory, ids: Json, without: str, null: str
) -> None:
    quoted = f'"{ids["aggregateId"]}"'
    answers = [shop.graphql(f"mutation {{ {asked.replace('$id', quoted)} }}") for asked in (without, null)]
    for answer in answers:
        for error in answer.get("errors", ()):
            del error["locations"]
    assert answers[0] == answers[1]
    assert "INVALID_INPUT" not in str(answers)


COUNT = "query ($n: Int) { categories(limit: $n) { name } }"


def sent(shop: ShopInMemory, number: str, query: str = COUNT) -> Json:
    body = f'{{"query": "{query}", "variables": {{"n": {number}}}}}'.encode()
    answer: Json = shop.http("POST", content=body, headers={"Content-Type": "application/json"}).json()
    return answer


@pytest.mark.parametrize("number", ["2", "2.0", "2.000", "2e0", "0.2E1", "200e-2"])
def test_a_whole_number_may_be_written_with_a_point_or_an_exponent(shop: ShopInMemory, number: str) -> None:
    for name in "abc":
        shop.new_category(name)
    shop.settle()
    assert sent(shop, number) == {"data": {"categories": [{"name": "a"}, {"name": "b"}]}}


@pytest.mark.parametrize("number", ["2.0", "1e0"])
def test_a_quantity_may_be_written_with_a_point(shop: ShopInMemory, ids: Json, number: str) -> None:
    line = f'{{productId: \\"{ids["productId"]}\\", productName: \\"Tea\\", quantity: $n, unitPrice: \\"500\\"}}'
    order = f'mutation ($n: Int!) {{ createOrder(input: {{userId: \\"ann\\", items: [{line}]}}) {{ success }} }}'
    assert sent(shop, number, order)["data"] == {"createOrder": {"success": True}}


@pytest.mark.parametrize("number", ["2.5", "1e400", "1e-5", "9007199254740992.0", "-9007199254740993.0"])
def test_other_numbers_are_refused_as_they_were_written(shop: ShopInMemory, number: str) -> None:
    (error,) = sent(shop, number)["errors"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": ["n"]}
    assert "Decimal" not in error["message"] and "whole number" in error["message"]


@pytest.mark.parametrize(
    "kind", ["String", "ID", "Boolean", "SortOrder", "DateTime", "OrderStatus", "CreateOrderInput"]
)
@pytest.mark.parametrize("number", ["2.5", "[2.5]", '{"a": [2.5]}'])
def test_no_error_shows_the_class_of_a_number(shop: ShopInMemory, kind: str, number: str) -> None:
    message = str(sent(shop, number, f"query ($n: {kind}) {{ categories {{ id }} }}")["errors"])
    assert "Decimal" not in message and "instance" not in message
