"""Terraform makes the Firestore indexes that the queries need. The emulator needs no index, so this
test asks every query and derives its index."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import yaml
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLOutputType,
    get_named_type,
    is_composite_type,
    is_required_argument,
)

from shared.api.resolvers import categories, products
from shared.api.schema import schema
from shared.config.manifest import ROOT
from shared.read_models.by_generation import LiveGeneration
from shared.read_models.protocol import Fields, Find, Where
from tests.shop_in_memory import ShopInMemory, plain_logs, provider, shop, shop_settings
from tests.streams import with_settings

__all__ = ["plain_logs", "provider", "shop", "shop_settings"]

FEW = 12
"""A field that reads no documents in so many queries reads none."""
DECLARED = ROOT / "terraform" / "indexes.yaml"
SAMPLES: dict[str, list[str]] = {
    "ID": ['"0190b1b6-7c5e-7000-8000-000000000001"'],
    "String": ['"ab"'],
    "Decimal": ['"1"'],
    "Int": ["1"],
    "DateTime": ['"2026-04-01T00:00:00Z"'],
    "Date": ['"2026-04-01"'],
    "Boolean": ["true"],
}
PAGE = ("limit", "offset", "first", "after", "last", "before")
"""Arguments that need no index of their own: `last` reads a list in its other order."""

Arguments = Mapping[str, GraphQLArgument] | Mapping[str, GraphQLInputField]


class Watched:
    """Queries that record each `find` and `count`."""

    def __init__(self, queries: Any) -> None:
        self._queries = queries
        self.asked: list[Find] = []
        self.counted: list[tuple[str, Sequence[Where]]] = []

    async def find(self, find: Find) -> Sequence[Fields]:
        self.asked.append(find)
        found: Sequence[Fields] = await self._queries.find(find)
        return found

    async def count(self, collection: str, where: Sequence[Where]) -> int:
        self.counted.append((collection, where))
        number: int = await self._queries.count(collection, where)
        return number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queries, name)


def needed(find: Find) -> str | None:
    """Return the composite index of a query, None if the automatic index of one field suffices.

    Firestore sorts a field with a range that is not the sort field in the last direction."""
    equal = sorted({where.field for where in find.where if where.operator in ("==", "in")})
    contained = [f"{where.field} contains" for where in find.where if where.operator == "array_contains_any"]
    ranges = {where.field for where in find.where if where.operator in (">=", "<=", "<")} - {find.order_by}
    direction = " descending" if find.descending else ""
    fields = [*equal, *contained, *[f"{field}{direction}" for field in [find.order_by, *sorted(ranges)]]]
    return f"{find.collection}: {', '.join(fields)}" if len(fields) > 1 else None


def places(shop: ShopInMemory) -> Mapping[str, str]:
    """Return a query for each object type that clients can reach, with %s in the place of the
    type's own fields."""
    bought = shop.new_product()
    order = shop.new_order(bought)
    shop.settle()
    category = shop.ask(f'{{ product(id: "{bought}") {{ categoryId }} }}')["product"]["categoryId"]
    ids = {"category": category, "product": bought, "order": order, "saga": order, "eventHistory": order}
    found = {"Query": "{ %s }"}
    new = ["Query"]
    while new:
        name = new.pop(0)
        kind = schema().type_map[name]
        assert isinstance(kind, GraphQLObjectType)
        for field_name, field in sorted(kind.fields.items()):
            inner = get_named_type(field.type)
            needed = [key for key, argument in field.args.items() if is_required_argument(argument)]
            if isinstance(inner, GraphQLObjectType) and inner.name not in found and (field_name in ids or not needed):
                arguments = f'({needed[0]}: "{ids[field_name]}")' if needed else ""
                found[inner.name] = found[name] % f"{field_name}{arguments} {{ %s }}"
                new.append(inner.name)
    return found


def every_field(found: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield the queries of each field of each type: with and without each argument, in each order,
    the shortest first."""
    for name, query in found.items():
        kind = schema().type_map[name]
        assert isinstance(kind, GraphQLObjectType)
        for field_name, field in kind.fields.items():
            calls = (f"{field_name}{arguments}{_leaf(field.type)}" for arguments in _arguments(field.args))
            yield sorted((query % call for call in calls), key=len)
    yield ["{ categories { products { id } } }", "{ products { category { id } } }"]  # read for many at once


def _leaf(kind: GraphQLOutputType) -> str:
    named = get_named_type(kind)
    if named.name.endswith("Connection"):
        return " { totalCount edges { cursor node { __typename } } pageInfo { hasNextPage } }"
    return " { __typename }" if is_composite_type(named) else ""


def _arguments(arguments: Arguments) -> Iterator[str]:
    yield from (f"({given})" if given else "" for given in _choices(arguments))


def _choices(arguments: Arguments) -> Iterator[str]:
    choices = {name: _values(name, argument) for name, argument in arguments.items() if name not in PAGE}
    for chosen in product(*choices.values()):
        yield ", ".join(f"{name}: {value}" for name, value in zip(choices, chosen, strict=True) if value is not None)


def _values(name: str, argument: GraphQLArgument | GraphQLInputField) -> list[str | None]:
    kind = get_named_type(argument.type)
    if isinstance(kind, GraphQLInputObjectType):
        return [f"{{ {given} }}" for given in _choices(kind.fields)]
    if name == "sortBy" and not isinstance(kind, GraphQLEnumType):
        return [f'"{by}"' for by in {**categories.SORT_FIELDS, **products.SORT_FIELDS}]
    samples = (
        list(kind.values)[: None if name == "sortBy" else 2]
        if isinstance(kind, GraphQLEnumType)
        else SAMPLES[kind.name]
    )
    required = isinstance(argument, GraphQLArgument) and is_required_argument(argument)
    return list(samples) if required else [None, *samples]


def test_terraform_makes_the_indexes_that_the_queries_need_and_no_other(shop: ShopInMemory) -> None:
    with_settings(shop, rate_limit_signed_in=0)
    found = places(shop)
    assert {"Category", "Product", "Order", "OrderItem", "Viewer", "SystemStatistics"} <= found.keys()
    watched = Watched(shop.engines.queries.queries)
    shop.engines.queries = LiveGeneration(watched)

    for queries in every_field(found):
        before = len(watched.asked)
        for number, query in enumerate(queries):
            if number == FEW and len(watched.asked) == before:
                break  # its data is in PostgreSQL
            answer = shop.graphql(query)
            codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
            assert codes <= {"INVALID_INPUT", "NOT_FOUND"}, (query, answer)

    asked = {index for find in watched.asked if (index := needed(find))}
    assert len(asked) > 40
    declared = yaml.safe_load(DECLARED.read_text())
    made = [f"{collection}: {index}" for collection, indexes in declared.items() for index in indexes]
    assert sorted(made) == sorted(asked), f"terraform/indexes.yaml should say:\n{_as_file(asked)}"


def _as_file(indexes: set[str]) -> str:
    by_collection: dict[str, list[str]] = {}
    for index in sorted(indexes):
        collection, _, fields = index.partition(": ")
        by_collection.setdefault(collection, []).append(fields)
    return yaml.safe_dump(by_collection, width=200)
