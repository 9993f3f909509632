"""What the resolvers of one request share: the stores, and loaders that batch what is read at one moment."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiodataloader import DataLoader
from graphql import GraphQLResolveInfo

from shared.api.commands import CommandClient
from shared.auth.permissions import Actor
from shared.observability.context import Context
from shared.read_models.protocol import Fields, Find, Queries, Where
from shared.runtime.engines import Engines

_IN_LIMIT = 30  # values that Firestore takes in one `in`
_BATCH = 1000  # documents read for one batch of categories before they are asked for one by one


class Loaders:
    """One per request, so that nothing is older than the request."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self.categories = self._by_id("categories")
        self.products = self._by_id("products")
        self.orders = self._by_id("orders")
        self._products_of: dict[int, DataLoader[str, list[Fields]]] = {}

    def products_of_category(self, limit: int) -> DataLoader[str, list[Fields]]:
        """Loads a category's products on sale, by name, at most `limit` of each."""
        if limit not in self._products_of:
            self._products_of[limit] = DataLoader(self._products_by_category(limit))
        return self._products_of[limit]

    def _by_id(self, collection: str) -> DataLoader[str, Fields | None]:
        async def load(keys: Sequence[str]) -> list[Fields | None]:
            found = await self._queries.get_many(collection, keys)
            return [fields if (fields := found.get(key)) and "version" in fields else None for key in keys]

        return DataLoader(load)

    def _products_by_category(self, limit: int) -> Callable[[list[str]], Coroutine[Any, Any, list[list[Fields]]]]:
        async def load(ids: Sequence[str]) -> list[list[Fields]]:
            grouped: dict[str, list[Fields]] = {}
            for start in range(0, len(ids), _IN_LIMIT):
                grouped |= await self._some(ids[start : start + _IN_LIMIT], limit)
            return [grouped[category_id] for category_id in ids]

        return load

    async def _some(self, ids: Sequence[str], limit: int) -> dict[str, list[Fields]]:
        """One read for all; only when that can't hold them all, one for each."""
        found = await self._queries.find(_on_sale(Where("category_id", "in", list(ids)), _BATCH))
        if len(found) < _BATCH:
            return {i: [fields for fields in found if fields["category_id"] == i][:limit] for i in ids}
        return {
            i: list(await self._queries.find(_on_sale(Where("category_id", "==", i), limit))) if limit else []
            for i in ids
        }


def _on_sale(where: Where, limit: int) -> Find:
    return Find("products", "name", (where, Where("active", "==", True)), limit=limit)


@dataclass(frozen=True)
class RequestContext:
    """`idempotency_key`: the client's, for all mutations of the request. `written`: the version to which they have brought
    each stream."""

    engines: Engines
    queries: Queries
    loaders: Loaders
    commands: CommandClient
    context: Context
    actor: Actor
    idempotency_key: str | None = None
    written: dict[str, int] = field(default_factory=dict)


Info = GraphQLResolveInfo[RequestContext]
