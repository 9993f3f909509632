"""Time, ids, randomness and threads: the one module through which the shop reaches them.

Nothing else in shared/ or functions/ asks the operating system for the time, sleeps, draws a random
number, makes an id or starts a thread. A simulation replaces all of it at once with `use`.
"""

import asyncio
import random as _random
import secrets as _secrets
import time as _time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, cached_property
from threading import Lock, Thread
from typing import Any, Protocol, TypeVar
from uuid import UUID

from uuid_utils.compat import uuid7

T = TypeVar("T")
_making = Lock()


class Joinable(Protocol):
    """A running thread."""

    def join(self, timeout: float | None = None) -> None: ...


class World:
    """What the shop takes from the machine it runs on. A simulation derives its own world from this
    one."""

    def now(self) -> datetime:
        """Return the wall clock's time in UTC. It may jump; use `monotonic` to measure."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment; never goes back."""
        return _time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block the calling thread."""
        _time.sleep(seconds)

    def new_id(self) -> UUID:
        """Return a new UUIDv7, so that ids sort by when they were made."""
        return uuid7()

    def random(self) -> float:
        """Return a number in [0, 1)."""
        return _random.random()

    def secret(self, length: int) -> bytes:
        """Return random bytes that cannot be guessed."""
        return _secrets.token_bytes(length)

    def thread(self, target: Callable[[], object], name: str) -> Joinable:
        """Start `target` in a daemon thread of its own."""
        started = Thread(target=target, name=name, daemon=True)
        started.start()
        return started

    def future(self) -> Future[Any]:
        """Return a future, for whose result any thread may wait."""
        return Future()

    def executor(self, workers: int, name: str) -> Executor:
        """Return a pool of at most `workers` threads."""
        return ThreadPoolExecutor(workers, thread_name_prefix=name)

    def shared_executor(self, workers: int, name: str) -> Executor:
        """Return the pool of this name, which the first call makes for all."""
        with _making:
            if name not in self._shared_executors:
                self._shared_executors[name] = self.executor(workers, name)
            return self._shared_executors[name]

    @cached_property
    def _shared_executors(self) -> dict[str, Executor]:
        return {}

    def result_of(
        self, coroutine: Coroutine[Any, Any, T], seconds: float, loop: asyncio.AbstractEventLoop | None = None
    ) -> T:
        """Return the coroutine's result to a thread without an event loop. Raise TimeoutError.

        All coroutines run in one loop, or in the one that is given, because an asynchronous client
        is bound to the loop of its first use. Not anyio's BlockingPortal: it is no shorter.
        """
        with _making:
            loop = loop or _loop()
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(seconds)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="coroutines of threads", daemon=True).start()
    return loop


_world = World()


@contextmanager
def use(world: World) -> Iterator[None]:
    """Replace the machine inside the block, for every thread of this process."""
    global _world
    before, _world = _world, world
    try:
        yield
    finally:
        _world = before


def now() -> datetime:
    return _world.now()


def monotonic() -> float:
    return _world.monotonic()


def sleep(seconds: float) -> None:
    _world.sleep(seconds)


def new_id() -> UUID:
    return _world.new_id()


def random() -> float:
    return _world.random()


def uniform(low: float, high: float) -> float:
    """Return a random number between `low` and `high`."""
    return low + (high - low) * _world.random()


def secret(length: int) -> bytes:
    return _world.secret(length)


def thread(target: Callable[[], object], name: str) -> Joinable:
    return _world.thread(target, name)


def future() -> Future[Any]:
    return _world.future()


def executor(workers: int, name: str) -> Executor:
    return _world.executor(workers, name)


def shared_executor(workers: int, name: str) -> Executor:
    return _world.shared_executor(workers, name)


def result_of(coroutine: Coroutine[Any, Any, T], seconds: float, loop: asyncio.AbstractEventLoop | None = None) -> T:
    return _world.result_of(coroutine, seconds, loop)
