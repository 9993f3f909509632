"""Reading one's own writes: a query that is told how far the streams had come waits until the read models have got there.

Every mutation answers with a token, the stream it wrote and that stream's version; a client sends it with its next query.
A version in its own stream says exactly what must be there. A position in the whole log could not: that some event has
been projected says nothing of those before it.
"""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from shared.domain.errors import Invalid
from shared.read_models.protocol import Fields, Find, Queries

Token = Mapping[str, int]
"""The version that each stream has at least."""

_STREAM = re.compile(r"(category|product|order)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):([0-9]{1,9})")
MAX_STREAMS = 20

_FED_BY: Mapping[str, Sequence[tuple[str, str]]] = {
    "categories": (("category", "categories"), ("product", "category_members")),
    "products": (("product", "products"),),
    "orders": (("order", "orders"),),
}
"""For each collection that is read: where it is seen how far a kind of stream has got into it."""


def written(token: Token) -> str:
    """`product-<id>:3,order-<id>:1`"""
    return ",".join(f"{stream}:{version}" for stream, version in token.items())


def parsed(text: str) -> Token:
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

    def __init__(self, queries: Queries, token: Token, patience: float) -> None:
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

    async def _wait_for(self, collection: str) -> None:
        """Whoever reads the same collection meanwhile waits for the same arrival."""
        if collection not in self._arrivals:
            self._arrivals[collection] = asyncio.ensure_future(self._arrived(collection))
        self.consistent &= await self._arrivals[collection]

    async def _arrived(self, collection: str) -> bool:
        missing: Mapping[tuple[str, str], int] = {
            (source, stream.partition("-")[2]): version
            for kind, source in _FED_BY.get(collection, ())
            for stream, version in self._token.items()
            if stream.startswith(f"{kind}-")
        }
        if not missing:
            return True
        started, pause = time.monotonic(), 0.01
        while missing := await self._still(missing):
            left = self._patience - (time.monotonic() - started)
            if left <= 0:
                break
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.25)
        self.waited = max(self.waited, time.monotonic() - started)
        return not missing

    async def _still(self, missing: Mapping[tuple[str, str], int]) -> Mapping[tuple[str, str], int]:
        """Those that have not got there yet."""
        there: dict[tuple[str, str], int] = {}
        for source in {source for source, _ in missing}:
            keys = [key for of, key in missing if of == source]
            found = await self._queries.get_many(source, keys)
            there |= {(source, key): fields.get("version", 0) for key, fields in found.items()}
        return {place: version for place, version in missing.items() if there.get(place, 0) < version}


def told(queries: Queries, written_now: Token) -> dict[str, Any]:
    """What an answer says of consistency in its extensions; empty when there is nothing to say."""
    said: dict[str, Any] = {}
    if isinstance(queries, ConsistentQueries):
        said = {"consistent": queries.consistent, "waitedMs": round(queries.waited * 1000)}
    if written_now:
        stream, version = list(written_now.items())[-1]
        said |= {"stream": stream, "version": version, "token": written(written_now)}
    return said
