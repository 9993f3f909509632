"""Queries that see the client's writes.

Every mutation answers with a consistency token: the stream it wrote and its version. The client's
next query sends it and waits until the read models have that version. A position in the whole log
could not do this: that the read models have one event says nothing about the events before it.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

from shared.api.limits import from_stores
from shared.domain.errors import Invalid, TimedOut, Unavailable
from shared.domain.order import AGGREGATES
from shared.event_store.protocol import EventLog
from shared.read_models.documents import sources_of
from shared.read_models.protocol import Extent, Fields, Find, Queries, Where
from shared.resilience import clock

_LOOKUP_SECONDS = 0.5  # for the versions of a token in the event store

ConsistencyToken = Mapping[str, int]
"""The lowest version that each stream must have in the read models."""

_STREAM = re.compile(rf"({'|'.join(AGGREGATES)})-([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}):([0-9]{{1,9}})")
MAX_STREAMS = 100
"""In a token; more than one request can write, so the token of every answer is accepted."""


def encode_token(token: ConsistencyToken) -> str:
    """Return `product-<id>:3,order-<id>:1`."""
    return ",".join(f"{stream}:{version}" for stream, version in token.items())


def decode_token(text: str) -> ConsistencyToken:
    """Read a token; of a stream that it names twice the higher version counts. Raises Invalid."""
    parts = [part.strip() for part in text.split(",")]
    matches = [_STREAM.fullmatch(part) for part in parts]
    if not all(matches) or len(parts) > MAX_STREAMS:
        form = f"up to {MAX_STREAMS} of product-0190b1b6-7c5e-7000-8000-000000000000:3, separated by commas"
        raise Invalid(f"the header Consistency must be {form}", ("Consistency",))
    token: dict[str, int] = {}
    for match in filter(None, matches):
        stream, version = f"{match[1]}-{match[2]}", int(match[3])
        token[stream] = max(version, token.get(stream, 0))
    return token


class ConsistentQueries:
    """Queries that wait until the collections they read have the versions of the token.

    `max_wait`: seconds, for all collections together. `waited`: seconds so far. `consistent`: False
    when a collection did not get there in time and was read as it was, or when the event store
    lacks a version of the token: after a restore, the read models may hold versions that were lost.
    """

    def __init__(self, queries: Queries, token: ConsistencyToken, max_wait: float, log: EventLog) -> None:
        self._queries, self._token, self._max_wait, self._log = queries, token, max_wait, log
        self._arrivals: dict[str, asyncio.Task[bool]] = {}
        self.waited, self.consistent = 0.0, True

    async def get_many(self, collection: str, keys: Sequence[str], only: Sequence[str] = ()) -> Mapping[str, Fields]:
        await self._wait_for(collection)
        return await self._queries.get_many(collection, keys, only)

    async def find(self, find: Find) -> Sequence[Fields]:
        await self._wait_for(find.collection)
        return await self._queries.find(find)

    async def count(self, collection: str, where: Sequence[Where]) -> int:
        await self._wait_for(collection)
        return await self._queries.count(collection, where)

    async def extent(self, collection: str) -> Extent:
        await self._wait_for(collection)
        return await self._queries.extent(collection)

    async def _wait_for(self, collection: str) -> None:
        """Wait for the collection; concurrent reads of one collection share one wait."""
        if collection not in self._arrivals:
            self._arrivals[collection] = asyncio.ensure_future(self._has_arrived(collection))
        arrived = await self._arrivals[collection]
        self.consistent &= arrived  # `&= await` would read the old value before another collection's answer

    async def _has_arrived(self, collection: str) -> bool:
        """Wait until the collection has the token's versions; return False when time is up."""
        wanted = missing = {
            (source.name, stream): version
            for source in sources_of(collection)
            for stream, version in self._token.items()
            if stream.startswith(f"{source.aggregate.name}-")
        }
        started, pause = clock.monotonic(), 0.01
        while missing and (missing := await self._still_missing(missing)):
            left = self._max_wait - (clock.monotonic() - started)
            if left <= 0:
                break
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.25)
        self.waited = max(self.waited, clock.monotonic() - started)
        places = {(stream, version) for (_, stream), version in wanted.items() if version}
        return not missing and await self._are_recorded(places)

    async def _are_recorded(self, places: Set[tuple[str, int]]) -> bool:
        """Return whether the event store has these streams' versions; True when it does not answer
        at once, because queries go on while it is down."""
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                return not places or len(await from_stores(self._log.of_places, [*places])) == len(places)
        except (Unavailable, TimedOut, TimeoutError):
            return True

    async def _still_missing(self, versions: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
        """Return the versions, by collection and stream, that documents have not reached."""
        reached: dict[tuple[str, str], int] = {}
        for source in {source for source, _ in versions}:
            streams = {stream.partition("-")[2]: stream for of, stream in versions if of == source}
            documents = await self._queries.get_many(source, list(streams), ("version",))
            reached |= {(source, streams[key]): fields.get("version", 0) for key, fields in documents.items()}
        return {place: version for place, version in versions.items() if reached.get(place, 0) < version}


def consistency_extensions(queries: Queries, written: ConsistencyToken) -> dict[str, Any]:
    """Return what an answer's extensions say about consistency; empty without a token."""
    extensions: dict[str, Any] = {}
    if isinstance(queries, ConsistentQueries):
        extensions = {"consistent": queries.consistent, "waitedMs": round(queries.waited * 1000)}
    for stream, version in [*written.items()][-1:]:
        extensions |= {"stream": stream, "version": version, "token": encode_token(written)}
    return extensions
