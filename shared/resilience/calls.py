"""Calls to other processes and stores: deadlines, circuit breakers, tasks, shared answers.

A deadline covers all of one request: each call gets what is left of it. A breaker stops the calls
to a dependency that keeps failing.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar
from datetime import UTC, datetime, timedelta
from functools import cached_property
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pybreaker
import structlog

from shared.domain.errors import TimedOut, Unavailable
from shared.resilience import clock

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Opened = Callable[[str], None]
_log = structlog.get_logger()

_CACHE_WAIT = 15.0  # seconds that a caller without an earlier deadline waits for a cached answer

RECONNECT = ("grpc.max_reconnect_backoff_ms", 5_000)
"""The option of a gRPC channel that bounds the pause between attempts to connect (two minutes)."""

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class OutOfTime(TimedOut):
    """The request's own time is up, before or during a call. It says nothing about the called."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Limit everything inside the block to `seconds`, or to an earlier deadline."""
    ends, earlier = clock.monotonic() + seconds, _deadline.get()
    token = _deadline.set(ends if earlier is None else min(ends, earlier))
    try:
        yield
    finally:
        _deadline.reset(token)


def time_left(at_most: float) -> float:
    """Return the seconds that the next call may take, up to `at_most`. Raise OutOfTime."""
    ends = _deadline.get()
    left = at_most if ends is None else min(at_most, ends - clock.monotonic())
    if left <= 0:
        raise OutOfTime("the time for this request is up; try again")
    return left


class NotCalled(Unavailable):
    """`dependency` was not called, and may be in `wait` seconds."""

    def __init__(self, dependency: str, why: str, wait: float) -> None:
        super().__init__(f"{dependency} {why}; try again in {wait:.0f} seconds", retry_after=wait)
        self.dependency = dependency


class BreakerOpen(NotCalled):
    """The breaker of the dependency is open."""


_NEUTRAL = object()
_caller: ContextVar[object] = ContextVar("caller", default=None)
"""Whose call is guarded: pybreaker tells no storage. _NEUTRAL once the caller's time is up."""


class _FailedCallers(pybreaker.CircuitMemoryStorage):
    """Counts callers whose calls failed. `opened_at`, which pybreaker compares with the wall clock,
    moves with that clock's jumps."""

    def __init__(self) -> None:
        super().__init__(pybreaker.STATE_CLOSED)
        self._callers, self._opened = set[object](), 0.0

    @property
    def opened_at(self) -> datetime:
        return datetime.now(UTC) - timedelta(seconds=clock.monotonic() - self._opened)

    @opened_at.setter
    def opened_at(self, _: datetime) -> None:
        self._opened = clock.monotonic()

    @property
    def counter(self) -> int:
        return len(self._callers)

    def increment_counter(self) -> None:
        self._callers.add(_caller.get())

    def reset_counter(self) -> None:
        if _caller.get() is not _NEUTRAL:
            self._callers.clear()

    def increment_success_counter(self) -> None:
        if _caller.get() is not _NEUTRAL:
            super().increment_success_counter()


class Breaker(pybreaker.CircuitBreakerListener):
    """A circuit breaker around one remote dependency.

    It opens when the calls of `fail_max` different callers have failed with no success between
    them: a caller that fails again and again says nothing new about the dependency. After
    `reset_seconds` it is half-open and lets one trial call through at a time. A success closes it.
    Only Unavailable and TimedOut are failures: a refusal shows that the dependency works, and one
    client's input may have caused a fault in our code. `opened` is told the name.
    """

    def __init__(self, name: str, fail_max: int, reset_seconds: float, opened: Opened | None = None) -> None:
        self.name, self._trial, self._storage, self._opened = name, Lock(), _FailedCallers(), opened
        no_failure = [lambda error: not isinstance(error, Unavailable | TimedOut) or isinstance(error, OutOfTime)]
        how: dict[str, Any] = {"exclude": no_failure, "listeners": [self], "state_storage": self._storage}
        self._breaker = pybreaker.CircuitBreaker(fail_max, reset_seconds, throw_new_error_on_trip=False, **how)

    @property
    def state(self) -> str:
        """Return `closed`, `open` or `half-open`."""
        return str(self._breaker.current_state)

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        if old_state and old_state.name != new_state.name:  # calls under way when it opened open it once more
            _log.warning("circuit breaker", dependency=self.name, before=old_state.name, now=new_state.name)
            if self._opened and new_state.name == pybreaker.STATE_OPEN:
                self._opened(self.name)

    @contextmanager
    def guard(self, caller: object = None) -> Iterator[None]:
        """Run one call, which may await, inside the block. None stands for a caller of its own.

        Raise BreakerOpen at once while the breaker is open or another trial call is under way, and
        OutOfTime when the request has no time left. `CircuitBreaker.call` would hold its lock
        meanwhile.
        """
        time_left(1)
        trying = self._breaker.current_state != pybreaker.STATE_CLOSED
        if trying and not self._trial.acquire(blocking=False):
            raise self._open()
        token = _caller.set(object() if caller is None else caller)
        try:
            with self._breaker.calling():
                try:
                    yield
                except BaseException as error:
                    if isinstance(error, OutOfTime) or not isinstance(error, Exception):  # for example a cancellation
                        _caller.set(_NEUTRAL)
                    raise
            if self.state != pybreaker.STATE_CLOSED:  # it opened during this call, whose success shows that it works
                self._breaker.close()
        except pybreaker.CircuitBreakerError:
            raise self._open() from None
        finally:
            _caller.reset(token)
            if trying:
                self._trial.release()

    def _open(self) -> BreakerOpen:
        waited = (datetime.now(UTC) - self._storage.opened_at).total_seconds()
        return BreakerOpen(self.name, "keeps failing", max(1.0, self._breaker.reset_timeout - waited))


class Breakers:
    """The circuit breakers of one process, by dependency. `opened` is told when one opens."""

    def __init__(self, fail_max: int, reset_seconds: float, opened: Opened | None = None) -> None:
        self._limits = fail_max, reset_seconds, opened
        self._breakers: dict[str, Breaker] = {}

    def __getitem__(self, name: str) -> Breaker:
        return self._breakers.setdefault(name, Breaker(name, *self._limits))

    def states(self) -> Mapping[str, str]:
        """Return the state of every dependency that has been called."""
        return {name: breaker.state for name, breaker in self._breakers.copy().items()}


def attempt_all(what: str, tasks: Mapping[str, Callable[[], int]]) -> int:
    """Run every task, by name, even when others fail; return the sum of the results.

    Log each failure. At the end raise an ExceptionGroup of the failures that names the first.
    """
    total, failures = 0, dict[str, Exception]()
    for name, task in tasks.items():
        try:
            total += task()
        except Exception as error:
            _log.warning("one task failed, the others go on", what=what, task=name, reason=repr(error))
            failures[name] = error
    if failures:
        count = f"{len(failures)} of {len(tasks)} failed"
        raise ExceptionGroup(f"{what}: {count}, the first is {next(iter(failures))}", [*failures.values()])
    return total


class SingleFlightCache:
    """Answers that are computed once for all callers of the same key, who wait for them together.

    The computation belongs to no request: it has neither the deadline nor the trace of the first
    caller. A failure is raised to the callers that wait for it, logged once and not cached.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[float, asyncio.Task[Any]]] = {}

    async def get(self, key: str, seconds: float, compute: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the answer for `key`, at most `seconds` old. Raise what `compute` raises, and
        TimedOut when it takes longer than the caller can wait."""
        began, task = self._tasks.get(key, (0.0, None))
        expired = clock.monotonic() - began >= seconds
        if task is None or (task.done() and (task.cancelled() or task.exception() or expired)):
            task = asyncio.get_running_loop().create_task(compute(), name=key, context=Context())
            task.add_done_callback(_log_failure)
            self._tasks[key] = clock.monotonic(), task
        try:
            async with asyncio.timeout(time_left(_CACHE_WAIT)):
                return cast(T, await asyncio.shield(task))
        except TimeoutError as error:
            raise TimedOut(f"{key}: no answer in time") from error


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.warning("a cached answer could not be computed", key=task.get_name(), reason=repr(error))


_making = RLock()


class once(cached_property[T_co]):  # noqa: N801
    """A cached property that is made only once, even when several threads read it together."""

    if not TYPE_CHECKING:

        def __get__(self, instance: object, owner: type | None = None) -> object:
            with _making:
                return super().__get__(instance, owner)


def awaited(coroutine: Coroutine[Any, Any, T], at_most: float) -> T:
    """Return the coroutine's result to a thread. Raise TimeoutError and OutOfTime."""
    return clock.result_of(coroutine, time_left(at_most))
