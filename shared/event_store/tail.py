"""Follow a log for all its subscribers: one task of this process polls the log, however many
subscribers wait.

A subscriber's place in the log is a Checkpoint, so no state is lost with this process: a client
that reconnects, to this or another process, names the last entry that it saw and continues from
there.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

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
    """A log that can be followed: the event store, or the log of all sagas."""

    def read_all(self, after: Checkpoint, limit: int) -> Sequence[E_co]:
        """Return entries in an order that never changes: no entry ever appears before one that has
        been read."""

    def end(self) -> Checkpoint: ...


PAGE = 500  # entries in one read
POLL_SECONDS = 0.2
_MAX_PAUSE = 5.0  # seconds between two tries when the log does not answer
_READERS = 2  # subscribers that read at once what they missed; the other connections are for queries
_log = structlog.get_logger()


class TooSlow(Unavailable):
    """The subscriber reads more slowly than entries arrive."""


class SubscriptionQuota:
    """Limits the open subscriptions of this process to `most`, and those of one client to `each`
    (0: no limit)."""

    def __init__(self, most: int, each: int) -> None:
        self._most, self._each = most, each
        self._taken = Counter[str]()

    @property
    def open(self) -> int:
        return self._taken.total()

    @property
    def clients(self) -> int:
        """The number of clients with an open subscription."""
        return len(self._taken)

    @property
    def full(self) -> bool:
        return self.open >= self._most

    def open_by(self, kind: str) -> int:
        """Return how many subscriptions the clients have whose name begins with `kind`."""
        return sum(number for client, number in self._taken.items() if client.startswith(kind))

    def exhausted_by(self, client: str) -> bool:
        """Return whether the client has as many subscriptions as it may have."""
        return 0 < self._each <= self._taken[client]

    def take(self, client: str) -> Callable[[], None]:
        """Count a subscription of the client. Return the function that ends it; call it once."""
        self._taken[client] += 1

        def leave() -> None:
            self._taken -= Counter([client])

        return leave


class SubscriberQueue(Generic[E]):
    """Entries that one subscriber has not read yet, at most `room`. One entry more drops them all.

    `dropped`: whether that has happened.
    """

    def __init__(self, wants: Callable[[E], bool], room: int) -> None:
        self.dropped = False
        self._wants = wants
        self._room = room
        self._entries: deque[E] = deque()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def offer(self, entry: E) -> None:
        if self.dropped or not self._wants(entry):
            return
        if len(self._entries) == self._room:
            self._entries.clear()
            self.dropped = True
        else:
            self._entries.append(entry)
        self._changed.set()

    async def take(self) -> E:
        """Wait for the next entry. Raise TooSlow when the queue was dropped."""
        while not self._entries:
            if self.dropped:
                raise TooSlow("too slow: more has happened than you have read; go on from your Last-Event-ID")
            self._changed.clear()
            await self._changed.wait()
        return self._entries.popleft()


class Tail(Generic[E]):
    """Polls a log while it has subscribers, and only then.

    `room`: entries that may wait for each subscriber. `poll_seconds`: the time between two reads at
    the log's end. `subscribers`: how many there are; `queues`: of those that have reached the end
    of the log.
    """

    def __init__(self, log: Log[E], room: int, poll_seconds: float = POLL_SECONDS, page: int = PAGE) -> None:
        self.poll_seconds = poll_seconds
        self.subscribers = 0
        self.queues: set[SubscriberQueue[E]] = set()
        self._log = log
        self._room = room
        self._page = page
        self._place: Checkpoint | None = None

    async def after(self, place: Checkpoint, wants: Callable[[E], bool], client: str = "") -> AsyncGenerator[E]:
        """Yield every wanted entry after a place once, in the log's order, without an end.

        Of one client's subscribers only one reads at a time what it missed, so that the others have
        a turn, too. Raise TooSlow. While the log does not answer, wait for it.
        """
        async with self._running():
            far = self._place is None or place < self._place
            while far:  # at the subscriber's own pace; only close to the end does it need a queue
                entries = await self._read(place, client)
                for entry in entries:
                    if wants(entry):
                        yield entry
                    place = entry.checkpoint
                far = len(entries) == self._page
            await self._begun.wait()
            queue, joined = SubscriberQueue(wants, self._room), self._place or Checkpoint()
            self.queues.add(queue)
            try:
                while place < joined:
                    for entry in await self._read(place, client):
                        if wants(entry):
                            yield entry
                        place = entry.checkpoint
                while True:
                    entry = await queue.take()
                    if entry.checkpoint > place:
                        yield entry
            finally:
                self.queues.discard(queue)

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        if self.subscribers == 0:
            self._begun, self._readers = asyncio.Event(), asyncio.Semaphore(_READERS)
            self._turns = WeakValueDictionary[str, asyncio.Semaphore]()
            # In a new context, so that it has neither the deadline nor the trace of the first
            # subscriber's request.
            self._following = asyncio.create_task(self._follow(), context=Context())
        self.subscribers += 1
        try:
            yield
        finally:
            self.subscribers -= 1
            if self.subscribers == 0:
                self._following.cancel()
                self._place = None

    async def _follow(self) -> None:
        """Offer every entry to all queues in one step with the move to its place, so a queue that
        joins misses none."""
        place = await self.retry(self._log.end)
        self._place = place
        self._begun.set()
        while True:
            entries = await self.retry(self._log.read_all, place, self._page)
            for entry in entries:
                for queue in self.queues:
                    queue.offer(entry)
                self._place = place = entry.checkpoint
                await asyncio.sleep(0)
            if len(entries) < self._page:
                await asyncio.sleep(self.poll_seconds)

    async def _read(self, place: Checkpoint, client: str) -> Sequence[E]:
        """Read a page. Between two tries it lets another subscriber read."""

        async def read() -> Sequence[E]:
            turn = self._turns.setdefault(client, asyncio.Semaphore(1 if client else _READERS))
            async with turn, self._readers:
                return await asyncio.to_thread(self._log.read_all, place, self._page)

        return await self._until_answered(read)

    async def retry(self, call: Callable[..., T], *arguments: Any) -> T:
        """Call in a thread until the log answers, however long that takes."""
        return await self._until_answered(lambda: asyncio.to_thread(call, *arguments))

    async def _until_answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again after growing pauses. It has no limit and no exception to pass on: a retry
        library saves no line."""
        pause = self.poll_seconds
        while True:
            try:
                with span("tail", parent=UNTRACED):
                    return await ask()
            except Exception as error:
                _log.warning("the log does not answer", exc_info=None if isinstance(error, ShopError) else error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE)
