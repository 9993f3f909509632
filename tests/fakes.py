"""Parts of the shop that a test controls: a method of a store, functions' reports, a cache, the
clock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import current_thread
from typing import Any

import httpx
import pytest

from shared.resilience import clock
from shared.resilience.calls import SingleFlightCache
from tests.shop_in_memory import ShopInMemory
from tests.stand_ins import with_methods


@contextmanager
def method_replaced(shop: ShopInMemory, path: str, call: Callable[..., Any]) -> Iterator[None]:
    """Let a method of one of the shop's engines do `call` inside the block. `path`:
    `event_log.counts`, ..."""
    name, method = path.split(".")
    store = getattr(shop.engines, name)
    setattr(shop.engines, name, with_methods(store, **{method: call}))
    try:
        yield
    finally:
        setattr(shop.engines, name, store)


def functions_answer(shop: ShopInMemory, answer: Callable[[httpx.Request], httpx.Response]) -> None:
    """Let `answer` stand for all functions when they are asked for their health."""
    shop.engines.health_http = httpx.Client(transport=httpx.MockTransport(answer))


class Uncached(SingleFlightCache):
    """Reads anew for each caller that comes after the answer."""

    async def get(self, what: str, seconds: float, find: Callable[[], Any]) -> Any:
        return await super().get(what, 0.0, find)


class MovableClock(clock.World):
    """The machine, whose clocks a test can stop and move on."""

    def __init__(self) -> None:
        self._moved = 0.0
        self._stopped: float | None = None

    def move(self, seconds: float) -> None:
        self._moved += seconds

    def stop(self) -> None:
        """Stop the monotonic clock: nothing that is cached expires."""
        self._stopped = super().monotonic()

    def monotonic(self) -> float:
        return (super().monotonic() if self._stopped is None else self._stopped) + self._moved

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self._moved)


class FrozenClock(MovableClock):
    """A machine whose wall clock only the test moves: no minute ends in the middle of a test."""

    def __init__(self) -> None:
        super().__init__()
        self._began = super().now()

    def now(self) -> datetime:
        return self._began + timedelta(seconds=self._moved)


@pytest.fixture
def movable_clock() -> Iterator[MovableClock]:
    machine = MovableClock()
    with clock.use(machine):
        yield machine


class HurriedClock(MovableClock):
    """A clock that moves on at once when the test's own thread sleeps, as soon as every message is
    delivered. `ahead`: seconds by which the wall clock is wrong."""

    def __init__(self, shop: ShopInMemory, ahead: float = 0.0) -> None:
        super().__init__()
        self._broker, self._thread, self._ahead = shop.engines.broker, current_thread(), timedelta(seconds=ahead)

    def now(self) -> datetime:
        return super().now() + self._ahead

    def sleep(self, seconds: float) -> None:
        if current_thread() is self._thread and self._broker.wait_until_idle(seconds):
            self.move(seconds)
        else:
            super().sleep(seconds)


class AtMinute(clock.World):
    """A wall clock that shows a minute of this hour."""

    def __init__(self, minute: int) -> None:
        self._minute = minute

    def now(self) -> datetime:
        return super().now().replace(minute=self._minute)
