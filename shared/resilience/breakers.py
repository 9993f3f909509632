"""Circuit breakers: each stops the calls to one dependency that keeps failing."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

import pybreaker
import structlog

from shared.domain.errors import TimedOut, Unavailable
from shared.resilience import clock
from shared.resilience.calls import NotCalled, OutOfTime, time_left

Opened = Callable[[str], None]
_log = structlog.get_logger()


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
