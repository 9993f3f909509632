"""A field reaches everything behind it: from command to event, state, document and schema. None is
dropped silently.

Each value is replaced by another one of its type. When what follows from it stays the same, the
field is dropped: either code is missing, or the field belongs in the table below with the reason.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from importlib import import_module
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest
from graphql import GraphQLInputObjectType, GraphQLObjectType
from pydantic.alias_generators import to_camel, to_snake

from shared.api.schema import resolvers, schema
from shared.domain import category, commands, order, product
from shared.domain.aggregate import Lifecycle
from shared.domain.category import Category
from shared.domain.order import AGGREGATES, Order, OrderStatus
from shared.domain.product import Product
from shared.domain.values import Money, To
from shared.read_models.documents import ItemDocument, OrderDocument, ProductDocument, document

NOT_IN_STATE = {
    "StockAdjusted.reason": "only the history shows it",
    "StockReleased.quantity": "the state knows how many units the order has reserved",
    "CustomerNotified.notification_id": "only the history shows it",
    "NotificationFailed.reason": "only the history and the saga's step show it",
    "PaymentProcessed.amount": "it is the order's total, which the state has",
}
NOT_IN_DOCUMENTS = {
    "Order.payment_method": "only the payment's step reads it",
    "Order.shipping_method": "only the shipping's step reads it",
    "Order.inventory": "steps read it; the status shows it",
    "Order.payment": "steps read it; the status shows it",
    "Order.shipping": "steps read it; the status shows it",
    "Order.notification": "the saga's step shows it",
    "Order.cancelled_by_customer": "decides between CANCELLED and FAILED",
    "Order.erased": "the values that were erased show it",
}
NOT_IN_THE_SCHEMA = {"Order.closing": "shown as sagaCurrentStep"}


def sample(kind: Any, n: int, name: str = "") -> Any:
    """Return a value of a type; another `n` gives another value."""
    arguments = get_args(kind)
    match get_origin(kind) or kind:
        case origin if origin is Annotated:
            return sample(arguments[0], n, name)
        case origin if origin in (Union, UnionType):
            return sample(next(one for one in arguments if one is not NoneType), n, name)
        case origin if origin is To:
            return To(sample(arguments[0], n, name))
        case origin if origin is tuple:
            return (sample(arguments[0], n, name),)
        case origin if isinstance(origin, type) and issubclass(origin, Mapping):
            return {UUID(int=n): n}
        case origin if origin is UUID:
            return UUID(int=n)
        case origin if origin is Money:
            return Money(Decimal(n))
        case origin if isinstance(origin, type) and issubclass(origin, Enum):
            return list(origin)[n]
        case origin if is_dataclass(origin):
            return made(origin, n)
        case origin if origin is str:
            return ["", "JPY", "USD"][n] if name == "currency" else f"text {n}"
        case _:
            return kind(n - 1) if kind is bool else kind(n)


def made(kind: Any, n: int = 1) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    return kind(**{field.name: sample(hints[field.name], n, field.name) for field in fields(kind)})


def variants(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of each field, also of the lines of an order, and the value with another one
    in its place."""
    hints = get_type_hints(type(value), include_extras=True)
    for field in fields(value):
        yield field.name, replace(value, **{field.name: sample(hints[field.name], 2, field.name)})
        content = getattr(value, field.name)
        if isinstance(content, tuple):
            for inner, changed in variants(content[0]):
                yield f"{field.name}.{inner}", replace(value, **{field.name: (changed,)})


def dropped(value: Any, follows: Callable[[Any], Any]) -> set[str]:
    """Return the fields that change nothing."""
    expected = follows(value)
    return {f"{type(value).__name__}.{name}" for name, changed in variants(value) if follows(changed) == expected}


def active(kind: Any) -> Any:
    return replace(made(kind, 1), lifecycle=Lifecycle.ACTIVE)


def on_sale(line: commands.OrderLine) -> Product:
    found: Product = active(Product)
    return replace(found, product_id=line.product_id, name=line.product_name, price=Money(line.unit_price))


STOCKED = replace(active(Product), on_hand=1_000, reserved={}, price=Money(Decimal(500)), name="before")
DECISIONS: Mapping[type[Any], Callable[[Any], Any]] = {
    commands.CreateCategory: lambda c: category.create(c, Category(), [active(Category)]),
    commands.UpdateCategory: lambda c: category.update(  # a category is not its own parent
        replace(c, category_id=UUID(int=9)), replace(active(Category), category_id=UUID(int=9)), [active(Category)]
    ),
    commands.CreateProduct: lambda c: product.create(c, Product(), [active(Category)]),
    commands.UpdateProduct: lambda c: product.update(c, STOCKED, [active(Category)]),
    commands.ChangeProductPrice: lambda c: product.change_price(c, STOCKED),
    commands.AdjustStock: lambda c: product.adjust_stock(c, STOCKED),
    commands.CreateOrder: lambda c: order.create(c, Order(), [on_sale(line) for line in c.items]),
    commands.CancelOrder: lambda c: order.cancel(c, replace(made(Order), status=OrderStatus.PENDING, closing=False)),
}


@pytest.mark.parametrize("kind", DECISIONS, ids=lambda kind: kind.__name__)
def test_every_field_of_a_command_reaches_an_event(kind: type[Any]) -> None:
    lost = dropped(made(kind), DECISIONS[kind]) - {f"{kind.__name__}.category_id"}
    assert not lost, f"no event has {lost}: let the decision in shared/domain put it into one"


@pytest.mark.parametrize(
    "kind", [kind for one in AGGREGATES.values() for kind in one.event_types], ids=lambda kind: kind.__name__
)
def test_every_field_of_an_event_reaches_the_state(kind: Any) -> None:
    aggregate = next(one for one in AGGREGATES.values() if kind in one.event_types)
    before = replace(made(type(aggregate.initial)), **({"closing": False} if aggregate.name == "order" else {}))
    lost = dropped(made(kind), lambda event: aggregate.evolve(before, event))
    own_id = f"{kind.__name__}.{aggregate.name}_id"
    left_out = {name for name in NOT_IN_STATE if name.startswith(f"{kind.__name__}.")}
    place = f"evolve in shared/domain/{aggregate.name}.py"
    assert lost - {own_id} == left_out, f"{place} drops fields: keep them, or say why not in NOT_IN_STATE"


@pytest.mark.parametrize("kind", [Category, Product, Order], ids=lambda kind: kind.__name__)
def test_every_field_of_a_state_reaches_its_document(kind: Any) -> None:
    left_out = {name for name in NOT_IN_DOCUMENTS if name.startswith(f"{kind.__name__}.")}
    place = "document in shared/read_models/documents.py"
    assert dropped(made(kind), document) == left_out, f"{place} drops fields: pass them, or say why in NOT_IN_DOCUMENTS"


@pytest.mark.parametrize(
    ("aggregate", "projection"),
    [("category", "project_categories"), ("product", "project_products"), ("order", "project_orders")],
)
def test_a_projection_begins_with_every_field_of_the_document(aggregate: str, projection: str) -> None:
    kind, place = AGGREGATES[aggregate], f"functions/projections/{projection}/main.py"
    begin = import_module(f"functions.projections.{projection}.main").created
    for name, event in variants(made(kind.event_types[0])):
        assert begin(event) == document(kind.evolve(kind.initial, event)), f"{place}: created drops {name}"


DOCUMENTS = {"Product": ProductDocument, "Order": OrderDocument, "OrderItem": ItemDocument}


@pytest.mark.parametrize("name", ["Category", "Product", "Order", "OrderItem"])
def test_every_field_of_a_document_is_in_the_schema(name: str) -> None:
    shown = schema().type_map[name]
    assert isinstance(shown, GraphQLObjectType)
    kind = DOCUMENTS.get(name) or type(document(made(Category)))
    known = {to_snake(field) for field in shown.fields}
    missing = {f"{name}.{field.name}" for field in fields(kind) if field.name not in known}
    left_out = {field for field in NOT_IN_THE_SCHEMA if field.startswith(f"{name}.")}
    assert missing == left_out, f"add the fields to {name} in schema.graphql, or say why not in NOT_IN_THE_SCHEMA"
    # And the other way round: what is neither in the document nor resolved would fail in every
    # query.
    resolved = resolvers().get(name, {})
    kept = {field.name for field in fields(kind)} | {"created_at", "updated_at"}
    assert [field for field in shown.fields if to_snake(field) not in kept and field not in resolved] == []


@pytest.mark.parametrize(
    "kind",
    [
        commands.CreateCategory,
        commands.UpdateCategory,
        commands.CreateProduct,
        commands.UpdateProduct,
        commands.CreateOrder,
        commands.OrderLine,
    ],
    ids=lambda kind: kind.__name__,
)
def test_the_fields_of_an_input_are_those_of_its_command(kind: type[Any]) -> None:
    name = "OrderItemInput" if kind is commands.OrderLine else f"{kind.__name__}Input"
    given = schema().type_map[name]
    assert isinstance(given, GraphQLInputObjectType)
    own_id = to_camel(f"{kind.__name__.removeprefix('Create').removeprefix('Update').lower()}_id")
    expected = {to_camel(field.name) for field in fields(kind)} - {own_id}
    assert set(given.fields) == expected, f"{name} in schema.graphql and {kind.__name__} must have the same fields"
