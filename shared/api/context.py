"""What the resolvers of one request share: the stores, loaders that batch what is read at one moment, and reading one's own
writes.

Every mutation answers with a token, the stream it wrote and that stream's version; a client sends it with its next query,
which waits until the read models have got there. A version in its own stream says exactly what must be there. A position
in the whole log could not: that some event has been projected says nothing of those before it.
"""

import asyncio
import contextvars
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from aiodataloader import DataLoader
from graphql import GraphQLResolveInfo

from shared.auth.permissions import Actor
from shared.domain.errors import Invalid, TimedOut
from shared.event_store.protocol import Checkpoint
from shared.observability.context import Context
from shared.read_models.project import FED_BY
from shared.read_models.protocol import Extent, Fields, Find, Queries, Where
from shared.resilience import clock
from shared.resilience.calls import time_left
from shared.runtime.engines import Engines

T = TypeVar("T")

_LONGEST = 15.0  # seconds
_IN_LIMIT = 30  # values that Firestore takes in one `in`
_BATCH = 1000  # documents read for one batch of categories before they are asked for one by one


_STORES = clock.executor(16, "stores")


async def in_thread(executor: Executor, call: Callable[..., T], *args: Any) -> T:
    """Call what waits in a thread, for no longer than the request has. Raises TimedOut; the thread then ends by itself.

    Each kind of call has its own threads, so that one that hangs leaves the others theirs.
    """
    loop, context = asyncio.get_running_loop(), contextvars.copy_context()
    try:
        async with asyncio.timeout(time_left(_LONGEST)):
            return await loop.run_in_executor(executor, lambda: context.run(call, *args))
    except TimeoutError as error:
        raise TimedOut("no answer in time") from error


async def from_stores(call: Callable[..., T], *args: Any) -> T:
    """What PostgreSQL answers."""
    return await in_thread(_STORES, call, *args)


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


SendCommand = Callable[[str, dict[str, Any], Context, Actor], Awaitable[dict[str, Any]]]
"""Call the named command function and return its answer; see `CommandClient.send`."""


@dataclass(frozen=True)
class RequestContext:
    """`idempotency_key`: the client's, for all mutations of the request. `written`: the version to which they have brought
    each stream. `last_event_id`: where a subscription is to go on. `client`: whose it is, as limits count."""

    engines: Engines
    queries: Queries
    loaders: Loaders
    send_command: SendCommand
    context: Context
    actor: Actor
    idempotency_key: str | None = None
    last_event_id: str | None = None
    client: str = ""
    written: dict[str, int] = field(default_factory=dict)


Info = GraphQLResolveInfo[RequestContext]

Resolver = Callable[..., Any]
"""Returns a field's value, or an awaitable of it, from the parent's value, Info and the field's arguments."""

ResumePoint = tuple[Checkpoint, ...]
"""How far a subscriber has come, in each of the logs that its subscription follows."""


class SourceEvent(NamedTuple):
    """`resume_point`: where a client that has seen this event continues, or None when the subscription has no history.
    `value`: the parent's value for the subscription's resolver, or None to send only the resume point."""

    resume_point: ResumePoint | None
    value: Any


@dataclass(frozen=True)
class Subscription:
    """`subscribe`: checks the field's arguments and returns the events. `resolve`: the field's value for one event."""

    subscribe: Callable[..., Coroutine[Any, Any, AsyncGenerator[SourceEvent]]]
    resolve: Resolver = lambda value, _info, **_arguments: value


Resolvers = Mapping[str, Mapping[str, Resolver | Subscription]]
"""The resolvers of one module, by the names of type and field in schema.graphql. Fields of `Subscription` have a
`Subscription`, all other fields a `Resolver`. A field that is in no table is read from the parent's dict or dataclass
under its name in snake_case."""


ConsistencyToken = Mapping[str, int]
"""The version that each stream has at least."""

_STREAM = re.compile(r"(category|product|order)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):([0-9]{1,9})")
MAX_STREAMS = 100
"""More than one request can write, or a token of ours could be too long for us."""


def encode_token(token: ConsistencyToken) -> str:
    """`product-<id>:3,order-<id>:1`"""
    return ",".join(f"{stream}:{version}" for stream, version in token.items())


def decode_token(text: str) -> ConsistencyToken:
    """Raises Invalid."""
    parts = [part.strip() for part in text.split(",")]
    found = [_STREAM.fullmatch(part) for part in parts]
    if not all(found) or len(parts) > MAX_STREAMS:
        form = "product-0190b1b6-7c5e-7000-8000-000000000000:3"
        raise Invalid(
            f"the header Consistency must be up to {MAX_STREAMS} of {form}, separated by commas", ("Consistency",)
        )
    token: dict[str, int] = {}
    for match in filter(None, found):
        stream, version = f"{match[1]}-{match[2]}", int(match[3])
        token[stream] = max(version, token.get(stream, 0))
    return token


class ConsistentQueries:
    """Queries that wait for a token, each collection when it is first read, altogether for at most `patience` seconds.

    `waited`: seconds so far. `consistent`: whether everything that was read had come as far as the token says.
    """

    def __init__(self, queries: Queries, token: ConsistencyToken, patience: float) -> None:
        self._queries = queries
        self._token = token
        self._patience = patience
        self._arrivals: dict[str, asyncio.Task[bool]] = {}
        self.waited = 0.0
        self.consistent = True

    async def get_many(self, collection: str, keys: Sequence[str]) -> Mapping[str, Fields]:
        await self._wait_for(collection)
        return await self._queries.get_many(collection, keys)

    async def find(self, find: Find) -> Sequence[Fields]:
        await self._wait_for(find.collection)
        return await self._queries.find(find)

    async def extent(self, collection: str) -> Extent:
        await self._wait_for(collection)
        return await self._queries.extent(collection)

    async def _wait_for(self, collection: str) -> None:
        """Whoever reads the same collection meanwhile waits for the same arrival."""
        if collection not in self._arrivals:
            self._arrivals[collection] = asyncio.ensure_future(self._arrived(collection))
        self.consistent &= await self._arrivals[collection]

    async def _arrived(self, collection: str) -> bool:
        missing: Mapping[tuple[str, str], int] = {
            (source, stream.partition("-")[2]): version
            for kind, source in FED_BY.get(collection, ())
            for stream, version in self._token.items()
            if stream.startswith(f"{kind}-")
        }
        if not missing:
            return True
        started, pause = clock.monotonic(), 0.01
        while missing := await self._still(missing):
            left = self._patience - (clock.monotonic() - started)
            if left <= 0:
                break
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.25)
        self.waited = max(self.waited, clock.monotonic() - started)
        return not missing

    async def _still(self, missing: Mapping[tuple[str, str], int]) -> Mapping[tuple[str, str], int]:
        """Those that have not got there yet."""
        there: dict[tuple[str, str], int] = {}
        for source in {source for source, _ in missing}:
            keys = [key for of, key in missing if of == source]
            found = await self._queries.get_many(source, keys)
            there |= {(source, key): fields.get("version", 0) for key, fields in found.items()}
        return {place: version for place, version in missing.items() if there.get(place, 0) < version}


def consistency_extensions(queries: Queries, written_now: ConsistencyToken) -> dict[str, Any]:
    """What an answer says of consistency in its extensions; empty when there is nothing to say."""
    said: dict[str, Any] = {}
    if isinstance(queries, ConsistentQueries):
        said = {"consistent": queries.consistent, "waitedMs": round(queries.waited * 1000)}
    if written_now:
        stream, version = list(written_now.items())[-1]
        said |= {"stream": stream, "version": version, "token": encode_token(written_now)}
    return said
