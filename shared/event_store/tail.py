"""A log, followed for everybody who is subscribed: one task of this process asks for what is new, however many wait.

Where somebody is in the log is a Checkpoint, so nobody depends on this process: whoever comes back, here or elsewhere, says
what was the last they saw and goes on from there.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar

import structlog

from shared.domain.errors import ShopError, Unavailable
from shared.event_store.protocol import Checkpoint
from shared.observability.context import UNTRACED, span

T = TypeVar("T")


class Placed(Protocol):
    """An entry of a log."""

    @property
    def checkpoint(self) -> Checkpoint: ...


E = TypeVar("E", bound=Placed)
E_co = TypeVar("E_co", bound=Placed, covariant=True)


class Log(Protocol[E_co]):
    """What can be followed: the event store, and the log of all sagas."""

    def read_all(self, after: Checkpoint, limit: int) -> Sequence[E_co]:
        """In an order that never changes, and to which nothing is ever added behind what has been read."""

    def end(self) -> Checkpoint: ...


PAGE = 500
"""Entries that are read at once."""
POLL_SECONDS = 0.2
_PATIENCE = 5.0
_READERS = 2
"""How many read at once what they have missed; the other connections are for queries."""

_log = structlog.get_logger()


class TooSlow(Unavailable):
    """The subscriber takes less than happens."""


class SubscriptionQuota:
    """The subscriptions that are open in this process, at most `most`, and `each` of one client (0: any number)."""

    def __init__(self, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._taken = Counter[str]()

    @property
    def open(self) -> int:
        return self._taken.total()

    @property
    def full(self) -> bool:
        return self.open >= self._most

    def enough_of(self, client: str) -> bool:
        """Whether it has all that it may have."""
        return 0 < self._each <= self._taken[client]

    def take(self, client: str) -> Callable[[], None]:
        """How to give it back, once."""
        self._taken[client] += 1

        def leave() -> None:
            self._taken -= Counter([client])

        return leave


class SubscriberQueue(Generic[E]):
    """Entries that one subscriber has not taken yet, at most `room`; with one more it gets none of them."""

    def __init__(self, wants: Callable[[E], bool], room: int) -> None:
        self._wants = wants
        self._room = room
        self._entries: deque[E] = deque()
        self._there = asyncio.Event()
        self._dropped = False

    def offer(self, entry: E) -> None:
        if self._dropped or not self._wants(entry):
            return
        if len(self._entries) == self._room:
            self._entries.clear()
            self._dropped = True
        else:
            self._entries.append(entry)
        self._there.set()

    async def take(self) -> E:
        """Raises TooSlow when too many had piled up."""
        while not self._entries:
            if self._dropped:
                raise TooSlow("too slow: more has happened than you have read; go on from your Last-Event-ID")
            self._there.clear()
            await self._there.wait()
        return self._entries.popleft()


class Tail(Generic[E]):
    """`room`: entries that may wait for each subscriber. Asks nothing while nobody is there."""

    def __init__(self, log: Log[E], room: int) -> None:
        self._log = log
        self._room = room
        self._subscribers = 0
        self._waiting: set[SubscriberQueue[E]] = set()
        self._place: Checkpoint | None = None

    async def after(self, place: Checkpoint, wants: Callable[[E], bool]) -> AsyncGenerator[E]:
        """What is wanted of all that comes after a place, in the log's order, each entry once, without an end.

        Raises TooSlow. A log that does not answer is waited for.
        """
        async with self._running():
            far = self._place is None or place < self._place
            while far:  # at one's own pace; only who is close to the end needs to be told what comes next
                entries = await self._page(place)
                for entry in entries:
                    if wants(entry):
                        yield entry
                    place = entry.checkpoint
                far = len(entries) == PAGE
            await self._begun.wait()
            waiting, joined = SubscriberQueue(wants, self._room), self._place or Checkpoint()
            self._waiting.add(waiting)
            try:
                while place < joined:
                    for entry in await self._page(place):
                        if wants(entry):
                            yield entry
                        place = entry.checkpoint
                while True:
                    entry = await waiting.take()
                    if entry.checkpoint > place:
                        yield entry
            finally:
                self._waiting.discard(waiting)

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
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
        """Every entry is offered to all in one go with the step to its place, so who joins misses none."""
        place = await self.patiently(self._log.end)
        self._place = place
        self._begun.set()
        while True:
            entries = await self.patiently(self._log.read_all, place, PAGE)
            for entry in entries:
                for waiting in self._waiting:
                    waiting.offer(entry)
                self._place = place = entry.checkpoint
                await asyncio.sleep(0)
            if len(entries) < PAGE:
                await asyncio.sleep(POLL_SECONDS)

    async def _page(self, place: Checkpoint) -> Sequence[E]:
        """Somebody else's turn comes between two tries."""

        async def read() -> Sequence[E]:
            async with self._turns:
                return await asyncio.to_thread(self._log.read_all, place, PAGE)

        return await self._until_it_answers(read)

    async def patiently(self, call: Callable[..., T], *arguments: Any) -> T:
        """What the log answers, however long that takes."""
        return await self._until_it_answers(lambda: asyncio.to_thread(call, *arguments))

    async def _until_it_answers(self, ask: Callable[[], Awaitable[T]]) -> T:
        pause = POLL_SECONDS
        while True:
            try:
                with span("tail", parent=UNTRACED):
                    return await ask()
            except Exception as error:
                _log.warning("the log is not read", exc_info=None if isinstance(error, ShopError) else error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PATIENCE)
