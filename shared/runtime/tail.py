"""The log, followed for everybody who is subscribed: one task of this process asks for new events, however many wait.

Where somebody is in the log is a Checkpoint, so nobody depends on this process: whoever comes back, here or elsewhere, says
what was the last they saw and goes on from there.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, TypeVar

import structlog

from shared.domain.errors import ShopError, Unavailable
from shared.event_store.protocol import Checkpoint, EventRecord, EventStore, LogEntry
from shared.observability.context import UNTRACED, span

T = TypeVar("T")
Wants = Callable[[EventRecord], bool]

PAGE = 500
"""Events that are read at once."""
POLL_SECONDS = 0.2
_PATIENCE = 5.0
_READERS = 2
"""How many read at once what they have missed; the other connections are for queries."""

_log = structlog.get_logger()


class TooSlow(Unavailable):
    """The subscriber takes less than happens."""


class Waiting:
    """Events that one subscriber has not taken yet, at most `room`; with one more it gets none of them."""

    def __init__(self, wants: Wants, room: int) -> None:
        self._wants = wants
        self._room = room
        self._entries: deque[LogEntry] = deque()
        self._there = asyncio.Event()
        self._dropped = False

    def offer(self, entry: LogEntry) -> None:
        if self._dropped or not self._wants(entry.event):
            return
        if len(self._entries) == self._room:
            self._entries.clear()
            self._dropped = True
        else:
            self._entries.append(entry)
        self._there.set()

    async def take(self) -> LogEntry:
        """Raises TooSlow when too many had piled up."""
        while not self._entries:
            if self._dropped:
                raise TooSlow("too slow: more has happened than you have read; go on from your Last-Event-ID")
            self._there.clear()
            await self._there.wait()
        return self._entries.popleft()


class Tail:
    """`most`: subscribers at one time. `room`: events that may wait for each. Asks nothing while nobody is there."""

    def __init__(self, store: EventStore, most: int, room: int) -> None:
        self._store = store
        self._most = most
        self._room = room
        self._seats = 0
        self._subscribers = 0
        self._waiting: set[Waiting] = set()
        self._place: Checkpoint | None = None

    @property
    def full(self) -> bool:
        return self._seats >= self._most

    async def after(self, place: Checkpoint, wants: Wants) -> AsyncGenerator[LogEntry]:
        """What is wanted of all that comes after a place, in the log's order, each event once, without an end.

        Raises TooSlow, and Unavailable when there are too many subscribers. A store that does not answer is waited for.
        """
        async with self.seat(), self._followed():
            far = self._place is None or place < self._place
            while far:  # at one's own pace; only who is close to the end needs to be told what comes next
                entries = await self._page(place)
                for entry in entries:
                    if wants(entry.event):
                        yield entry
                    place = entry.checkpoint
                far = len(entries) == PAGE
            await self._begun.wait()
            waiting, joined = Waiting(wants, self._room), self._place or Checkpoint()
            self._waiting.add(waiting)
            try:
                while place < joined:
                    for entry in await self._page(place):
                        if wants(entry.event):
                            yield entry
                        place = entry.checkpoint
                while True:
                    entry = await waiting.take()
                    if entry.checkpoint > place:
                        yield entry
            finally:
                self._waiting.discard(waiting)

    @asynccontextmanager
    async def seat(self) -> AsyncIterator[None]:
        """For one subscriber, whatever it follows. Raises Unavailable when all are taken."""
        if self.full:
            raise Unavailable("there are too many subscribers; try again in a moment", retry_after=5)
        self._seats += 1
        try:
            yield
        finally:
            self._seats -= 1

    @asynccontextmanager
    async def _followed(self) -> AsyncIterator[None]:
        if self._subscribers == 0:
            self._begun, self._turns = asyncio.Event(), asyncio.Semaphore(_READERS)
            # A context of its own: neither the deadline nor the trace of the request that happens to be the first.
            self._following = asyncio.create_task(self._follow(), context=Context())
        self._subscribers += 1
        try:
            yield
        finally:
            self._subscribers -= 1
            if self._subscribers == 0:
                self._following.cancel()
                self._place = None

    async def _follow(self) -> None:
        """Every event is offered to all in one go with the step to its place, so who joins misses none."""
        place = await self.patiently(self._store.end)
        self._place = place
        self._begun.set()
        while True:
            entries = await self.patiently(self._store.read_all, place, PAGE)
            for entry in entries:
                for waiting in self._waiting:
                    waiting.offer(entry)
                self._place = place = entry.checkpoint
                await asyncio.sleep(0)
            if len(entries) < PAGE:
                await asyncio.sleep(POLL_SECONDS)

    async def _page(self, place: Checkpoint) -> list[LogEntry]:
        async with self._turns:
            return await self.patiently(self._store.read_all, place, PAGE)

    async def patiently(self, call: Callable[..., T], *arguments: Any) -> T:
        """What the store answers, however long that takes."""
        pause = POLL_SECONDS
        while True:
            try:
                with span("tail", parent=UNTRACED):
                    return await asyncio.to_thread(call, *arguments)
            except Exception as error:
                _log.warning("the log is not read", exc_info=None if isinstance(error, ShopError) else error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PATIENCE)
