"""What the resolvers of a request share: stores, and loaders that read each thing once."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from aiodataloader import DataLoader
from graphql import GraphQLResolveInfo

from shared.api.limits import COST_OF_EVENT, Budget, cost_of, from_stores
from shared.auth.permissions import Actor
from shared.domain.aggregate import Ref
from shared.event_store.aggregates import Loaded, states_at
from shared.event_store.protocol import Checkpoint
from shared.observability.context import Context
from shared.read_models.protocol import Fields, Find, Queries, Where
from shared.runtime.engines import Engines

_MAX_IN_VALUES = 30  # values that Firestore accepts in one `in`
_BATCH = 1000  # documents in one read for several owners


class Loaders:
    """The data loaders of one request, and its budget. They cache, so each request needs its own."""

    def __init__(self, engines: Engines, queries: Queries) -> None:
        self.budget = Budget(engines.settings)
        self._store = engines.event_store
        self._queries = queries
        self.categories = self._by_id("categories")
        self.products = self._by_id("products")
        self.orders = self._by_id("orders")
        self.past: DataLoader[tuple[Ref[Any], datetime], Loaded[Any] | None] = DataLoader(self._load_past)
        self._members: dict[tuple[str, int], DataLoader[str, list[Fields]]] = {}

    async def find(self, find: Find) -> Sequence[Fields]:
        return await self.budget.records(lambda: self._queries.find(find))

    def members(self, collection: str, owner: str, limit: int) -> DataLoader[str, list[Fields]]:
        """Return the loader of the first `limit` active documents, by name, whose field `owner` is a key."""
        members = _Members(self.find, collection, owner, limit)
        return self._members.setdefault((collection, limit), DataLoader(members.load))

    def _by_id(self, collection: str) -> DataLoader[str, Fields | None]:
        async def load(keys: Sequence[str]) -> list[Fields | None]:
            documents = await self._queries.get_many(collection, keys)
            self.budget.spend(sum(map(cost_of, documents.values())))
            return [fields if (fields := documents.get(key)) and "version" in fields else None for key in keys]

        return DataLoader(load)

    async def _load_past(self, keys: Sequence[tuple[Ref[Any], datetime]]) -> list[Any]:
        """Fold each stream once for all moments. An error is the result of its stream's keys."""
        moments: dict[Ref[Any], list[datetime]] = {}
        for ref, moment in keys:
            moments.setdefault(ref, []).append(moment)
        spend = partial(self.budget.spend, COST_OF_EVENT)
        folds = (from_stores(states_at, self._store, ref, at, spend) for ref, at in moments.items())
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


@dataclass(frozen=True)
class RequestContext:
    """`idempotency_key`: the client's, for all mutations of the request. `last_event_id`: where a
    subscription continues. `client`: the user or address that quotas count. `written`: the versions
    of the streams that mutations wrote."""

    engines: Engines
    queries: Queries
    loaders: Loaders
    send_command: Callable[[str, dict[str, Any], Context, Actor], Awaitable[dict[str, Any]]]
    context: Context
    actor: Actor
    idempotency_key: str | None = None
    last_event_id: str | None = None
    client: str = ""
    written: dict[str, int] = field(default_factory=dict)


Info = GraphQLResolveInfo[RequestContext]
Text = str | None
Number = int | None
"""Optional arguments."""
Resolver = Callable[..., Any]
"""Returns a field's value, or an awaitable, from the parent's value, Info and the arguments."""

ResumePoint = tuple[Checkpoint, ...]
"""How far a subscriber has come, in each of the logs that its subscription follows."""


class SourceEvent(NamedTuple):
    """`resume_point`: where a client that has seen this event continues; None without a history.
    `value`: the parent's value for the resolver; None to send only the resume point."""

    resume_point: ResumePoint | None
    value: Any


@dataclass(frozen=True)
class LiveField:
    """`subscribe`: checks the arguments, returns the events. `resolve`: makes an event's value."""

    subscribe: Callable[..., Coroutine[Any, Any, AsyncGenerator[SourceEvent]]]
    resolve: Resolver = lambda value, _info, **_arguments: value


Resolvers = Mapping[str, Mapping[str, Resolver | LiveField]]
"""Resolvers by type and field of schema.graphql; those of type Subscription are a `LiveField`.
A field without one is read from the parent's dict or dataclass under its name in snake_case."""
