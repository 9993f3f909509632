"""The data loaders of one request, which read each thing once and charge for it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar

from aiodataloader import DataLoader

from shared.api.budget import COST_OF_EVENT, Budget, cost_of
from shared.api.limits import from_stores
from shared.domain.aggregate import Ref
from shared.event_store.aggregates import Loaded, states_at
from shared.read_models.documents import SHOWN
from shared.read_models.protocol import Fields, Find, Queries, Where
from shared.runtime.engines import Engines

T = TypeVar("T")

_MAX_IN_VALUES = 30  # values that Firestore accepts in one `in`
_BATCH = 1000  # documents in one read for several owners


class Loaders:
    """The data loaders of one request, and its budget. They cache, so each request needs its
    own."""

    def __init__(self, engines: Engines, queries: Queries) -> None:
        self.budget = Budget(engines.settings)
        self._engines = engines
        self._queries = queries
        self._shared: dict[str, asyncio.Future[Any]] = {}
        self._members: dict[tuple[str, int], DataLoader[str, list[Fields]]] = {}

    categories = cached_property[DataLoader[str, Fields | None]](lambda self: self._by_id("categories"))
    products = cached_property[DataLoader[str, Fields | None]](lambda self: self._by_id("products"))
    orders = cached_property[DataLoader[str, Fields | None]](lambda self: self._by_id("orders"))

    @cached_property
    def past(self) -> DataLoader[tuple[Ref[Any], datetime], Loaded[Any] | None]:
        return DataLoader(self._load_past)

    async def find(self, find: Find) -> Sequence[Fields]:
        """Return documents, each charged when it is read, so that a list beyond the budget is not
        read to its end."""
        async with self.budget.turn():
            shown = SHOWN.get(find.collection, ())
            charged = replace(find, on_read=lambda fields: self.budget.spend(cost_of(fields)), only=shown)
            return await self._queries.find(charged)

    async def once(self, name: str, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `read` returns, which all fields of the request that ask for the same share
        by its name."""
        if name not in self._shared:
            self._shared[name] = asyncio.ensure_future(read())
        found: T = await self._shared[name]
        return found

    def members(self, collection: str, owner: str, limit: int) -> DataLoader[str, list[Fields]]:
        """Return the loader of the first `limit` active documents, by name, whose field `owner` is
        a key."""
        members = _Members(self.find, collection, owner, limit)
        return self._members.setdefault((collection, limit), DataLoader(members.load))

    def _by_id(self, collection: str) -> DataLoader[str, Fields | None]:
        async def load(keys: Sequence[str]) -> list[Fields | None]:
            documents = await self._queries.get_many(collection, keys, SHOWN.get(collection, ()))
            self.budget.spend(sum(map(cost_of, documents.values())))
            return [fields if (fields := documents.get(key)) and "version" in fields else None for key in keys]

        return DataLoader(load)

    async def _load_past(self, keys: Sequence[tuple[Ref[Any], datetime]]) -> list[Any]:
        """Fold each stream once for all moments. An error is the result of its stream's keys."""
        moments: dict[Ref[Any], list[datetime]] = {}
        for ref, moment in keys:
            moments.setdefault(ref, []).append(moment)
        store, spend = self._engines.event_store, partial(self.budget.spend, COST_OF_EVENT)
        folds = (from_stores(states_at, store, ref, at, spend) for ref, at in moments.items())
        folded = dict(zip(moments, await asyncio.gather(*folds, return_exceptions=True), strict=True))
        states = (folded[ref] for ref, _ in keys)
        return [s if isinstance(s, BaseException) else s[at] for s, (_, at) in zip(states, keys, strict=True)]


class _Members(NamedTuple):
    find: Callable[[Find], Awaitable[Sequence[Fields]]]
    collection: str
    owner: str
    limit: int

    async def load(self, keys: Sequence[str]) -> list[list[Fields]]:
        grouped: dict[str, list[Fields]] = {}
        for start in range(0, len(keys), _MAX_IN_VALUES):
            grouped |= await self._of_owners(keys[start : start + _MAX_IN_VALUES])
        return [grouped[key] for key in keys]

    async def _of_owners(self, keys: Sequence[str]) -> dict[str, list[Fields]]:
        """Read the members of all owners at once, or by owner when they are too many."""
        found = await self._active(Where(self.owner, "in", list(keys)), _BATCH)
        if len(found) < _BATCH:
            return {key: [fields for fields in found if fields[self.owner] == key][: self.limit] for key in keys}
        return {
            key: list(await self._active(Where(self.owner, "==", key), self.limit)) if self.limit else []
            for key in keys
        }

    async def _active(self, where: Where, limit: int) -> Sequence[Fields]:
        return await self.find(Find(self.collection, "name", (where, Where("active", "==", True)), limit=limit))
