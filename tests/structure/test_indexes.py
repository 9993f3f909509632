"""Terraform makes the Firestore indexes that the queries need. The emulator needs no index, so this test
asks every query and derives its index."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import yaml
from graphql import GraphQLArgument, GraphQLField, get_named_type, get_nullable_type, is_list_type, is_required_argument

from shared.api.resolvers import categories, products
from shared.api.schema import schema
from shared.config.manifest import ROOT
from shared.read_models.generations import LiveGeneration
from shared.read_models.protocol import Fields, Find
from tests.shop_in_memory import ShopInMemory, plain_logs, provider, shop, shop_settings

__all__ = ["plain_logs", "provider", "shop", "shop_settings"]

DECLARED = ROOT / "terraform" / "indexes.yaml"
SELECTIONS = {"Category": "{ id products { id } }", "Product": "{ id category { id } }", "Order": "{ id }"}
SAMPLES: dict[str, list[str]] = {
    "ID": ['"0190b1b6-7c5e-7000-8000-000000000001"'],
    "String": ['"ab"'],
    "Decimal": ['"1"'],
    "SortOrder": ["ASC", "DESC"],
    "OrderStatus": ["PENDING"],
}


class Watched:
    """Queries that record each `find`."""

    def __init__(self, queries: Any) -> None:
        self._queries = queries
        self.asked: list[Find] = []

    async def find(self, find: Find) -> Sequence[Fields]:
        self.asked.append(find)
        found: Sequence[Fields] = await self._queries.find(find)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queries, name)


def needed(find: Find) -> str | None:
    """Return the composite index of a query, None if the automatic index of one field suffices.

    Firestore sorts a field with a range that is not the sort field in the last direction."""
    equal = sorted({where.field for where in find.where if where.operator in ("==", "in")})
    contained = [f"{where.field} contains" for where in find.where if where.operator == "array_contains_any"]
    ranges = {where.field for where in find.where if where.operator in (">=", "<=")} - {find.order_by}
    direction = " descending" if find.descending else ""
    fields = [*equal, *contained, *[f"{field}{direction}" for field in [find.order_by, *sorted(ranges)]]]
    return f"{find.collection}: {', '.join(fields)}" if len(fields) > 1 else None


def every_query() -> Iterator[str]:
    """Yield each list query of the schema, with and without each argument, in each order."""
    queries = schema().query_type
    assert queries
    for name, field in queries.fields.items():
        kind = get_named_type(field.type).name
        if kind in SELECTIONS and is_list_type(get_nullable_type(field.type)):
            yield from (f"{{ {name}{arguments} {SELECTIONS[kind]} }}" for arguments in _arguments(field))


def _arguments(field: GraphQLField) -> Iterator[str]:
    choices = {
        name: _values(name, argument) for name, argument in field.args.items() if name not in ("limit", "offset")
    }
    for chosen in product(*choices.values()):
        given = [f"{name}: {value}" for name, value in zip(choices, chosen, strict=True) if value is not None]
        yield f"({', '.join(given)})" if given else ""


def _values(name: str, argument: GraphQLArgument) -> list[str | None]:
    if name == "sortBy":
        return [f'"{by}"' for by in {**categories.SORT_FIELDS, **products.SORT_FIELDS}]
    samples = SAMPLES[get_named_type(argument.type).name]
    return list(samples) if is_required_argument(argument) else [None, *samples]


def test_terraform_makes_the_indexes_that_the_queries_need_and_no_other(shop: ShopInMemory) -> None:
    shop.new_product()
    shop.settle()
    watched = Watched(shop.engines.queries.queries)
    shop.engines.queries = LiveGeneration(watched)

    for query in every_query():
        answer = shop.graphql(query)
        assert "errors" not in answer or "sortBy must be" in answer["errors"][0]["message"], (query, answer)

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
