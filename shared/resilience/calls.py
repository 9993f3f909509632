"""Calls to what is not in this process: each has a time limit, and what keeps failing is left alone for a while.

A deadline covers everything done for one request: whoever is called next gets what is left of it, not a new one.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar
from functools import lru_cache
from threading import Lock
from typing import Any, TypeVar

import pybreaker
import structlog

from shared.domain.errors import TimedOut, Unavailable
from shared.resilience import clock

T = TypeVar("T")

_log = structlog.get_logger()

_KEPT_WAIT = 15.0

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What is done inside has so many seconds, or fewer where a deadline is set already."""
    ends, earlier = clock.monotonic() + seconds, _deadline.get()
    token = _deadline.set(ends if earlier is None else min(ends, earlier))
    try:
        yield
    finally:
        _deadline.reset(token)


def time_left(at_most: float) -> float:
    """Seconds that the next call may take, above 0. Raises OutOfTime when none is left."""
    ends = _deadline.get()
    left = at_most if ends is None else min(at_most, ends - clock.monotonic())
    if left <= 0:
        raise OutOfTime("the time for this request is up")
    return left


class OutOfTime(TimedOut):
    """The request has no time left, so the next thing was not called at all."""


class BreakerOpen(Unavailable):
    """It was not called at all."""


class Breaker:
    """A circuit breaker around one remote dependency: closed, open after `fail_max` failures in a row, and half-open
    after `reset_seconds`, when one call may try; its outcome closes or opens it again. Only Unavailable and TimedOut are
    failures."""

    def __init__(self, name: str, fail_max: int, reset_seconds: float) -> None:
        self.name = name
        self._trial = Lock()
        self._breaker = pybreaker.CircuitBreaker(
            fail_max,
            reset_seconds,
            exclude=[_is_no_failure],
            listeners=[_Logged()],
            name=name,
            throw_new_error_on_trip=False,
        )

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open`."""
        state: str = self._breaker.current_state
        return state

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Run one call, which may await. Raises BreakerOpen at once while it is open or another call tries.

        Not `CircuitBreaker.call`, which holds its lock during the call and so lets only one run at a time.
        """
        time_left(1)  # who has none left calls nobody, and that is nobody's failure
        trying = self._breaker.current_state != pybreaker.STATE_CLOSED
        if trying and not self._trial.acquire(blocking=False):
            raise self._refusal()
        try:
            with self._breaker.calling():
                yield
        except pybreaker.CircuitBreakerError:
            raise self._refusal() from None
        finally:
            if trying:
                self._trial.release()

    def _refusal(self) -> BreakerOpen:
        opened_at = self._breaker._state_storage.opened_at
        waited = (clock.now() - opened_at).total_seconds() if opened_at else 0.0
        wait = max(1.0, self._breaker.reset_timeout - waited)
        return BreakerOpen(f"{self.name} keeps failing; try again in {wait:.0f} seconds", retry_after=wait)


class Breakers:
    """Those of one process, each made when first asked for."""

    def __init__(self, fail_max: int, reset_seconds: float) -> None:
        self._limits = fail_max, reset_seconds
        self._lock = Lock()
        self._breakers: dict[str, Breaker] = {}

    def __getitem__(self, name: str) -> Breaker:
        with self._lock:
            if name not in self._breakers:
                self._breakers[name] = Breaker(name, *self._limits)
            return self._breakers[name]

    def states(self) -> Mapping[str, str]:
        """By dependency; only what has been called."""
        with self._lock:
            return {name: breaker.state for name, breaker in self._breakers.items()}


class _Logged(pybreaker.CircuitBreakerListener):
    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        before = old_state.name if old_state else None
        if before != new_state.name:  # calls that were under way when it opened open it again
            _log.warning("circuit breaker", dependency=cb.name, before=before, now=new_state.name)


def _is_no_failure(error: BaseException) -> bool:
    """A refusal shows that the other side works, and a fault of ours says nothing of it: it may lie in what one client
    asked, who must not close the door to all others."""
    return not isinstance(error, Unavailable | TimedOut) or isinstance(error, OutOfTime)


class SingleFlightCache:
    """What is found out once for all who ask within so many seconds; who comes meanwhile waits for the same answer. It is
    nobody's request: it has neither the deadline nor the trace of who asks first. A failure is told to those who wait for
    it and logged once; who comes next tries again."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, asyncio.Task[Any]]] = {}

    async def get(self, what: str, seconds: float, find: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Raises TimedOut when there is no answer in the time that the caller has, at most _KEPT_WAIT."""
        began, task = self._found.get(what, (0.0, None))
        if task is None or (task.done() and (_failed(task) or clock.monotonic() - began >= seconds)):
            task = asyncio.get_running_loop().create_task(find(), name=what, context=Context())
            task.add_done_callback(_told)
            self._found[what] = clock.monotonic(), task
        try:
            async with asyncio.timeout(time_left(_KEPT_WAIT)):
                found: T = await asyncio.shield(task)
                return found
        except TimeoutError as error:
            raise TimedOut(f"{what}: no answer in time") from error


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


def _told(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.warning("could not be found out", what=task.get_name(), reason=repr(error))


_loop_lock = Lock()


def awaited(coroutine: Coroutine[Any, Any, T], at_most: float) -> T:
    """What a coroutine returns, to a thread that has no loop. All run in one loop, because asynchronous clients are bound to
    the loop they were first used in."""
    with _loop_lock:  # the first who need it may come together
        loop = _loop()
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(time_left(at_most))


@lru_cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    clock.thread(loop.run_forever, "coroutines of threads")
    return loop
