"""Circuit breakers: a dependency that keeps failing is not called for a while."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

import pybreaker
import structlog

from shared.domain.errors import TimedOut, Unavailable
from shared.resilience import clock
from shared.resilience.calls import OutOfTime, time_left

_log = structlog.get_logger()


class BreakerOpen(Unavailable):
    """The breaker is open, so the dependency was not called."""


class Breaker:
    """A circuit breaker around one remote dependency.

    It is closed, open after `fail_max` failures in a row, and half-open after `reset_seconds`, when one trial call is
    let through; its outcome closes or opens the breaker again. Only Unavailable and TimedOut count as failures.
    """

    def __init__(self, name: str, fail_max: int, reset_seconds: float) -> None:
        self.name = name
        self._trial = Lock()
        self._storage = pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max,
            reset_seconds,
            exclude=[_is_no_failure],
            listeners=[_StateLog()],
            state_storage=self._storage,
            name=name,
            throw_new_error_on_trip=False,
        )

    @property
    def state(self) -> str:
        """Return `closed`, `open` or `half-open`."""
        state: str = self._breaker.current_state
        return state

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Run one call, which may await, inside the block.

        Raises BreakerOpen at once while the breaker is open or another trial call is under way, and OutOfTime when the
        request has no time left. `CircuitBreaker.call` holds its lock during the call, so it would run one at a time.
        """
        time_left(1)  # raises outside the breaker: a caller without time says nothing about the dependency
        trying = self._breaker.current_state != pybreaker.STATE_CLOSED
        if trying and not self._trial.acquire(blocking=False):
            raise self._open()
        try:
            with self._breaker.calling():
                yield
        except pybreaker.CircuitBreakerError:
            raise self._open() from None
        finally:
            if trying:
                self._trial.release()

    def _open(self) -> BreakerOpen:
        opened_at = self._storage.opened_at
        waited = (clock.now() - opened_at).total_seconds() if opened_at else 0.0
        wait = max(1.0, self._breaker.reset_timeout - waited)
        return BreakerOpen(f"{self.name} keeps failing; try again in {wait:.0f} seconds", retry_after=wait)


class Breakers:
    """The circuit breakers of one process, by dependency; each is made at its first use."""

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
        """Return the state of every dependency that has been called."""
        with self._lock:
            return {name: breaker.state for name, breaker in self._breakers.items()}


class _StateLog(pybreaker.CircuitBreakerListener):
    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        before = old_state.name if old_state else None
        if before != new_state.name:  # calls that were under way when it opened open it once more
            _log.warning("circuit breaker", dependency=cb.name, before=before, now=new_state.name)


def _is_no_failure(error: BaseException) -> bool:
    """Return True unless the error shows that the dependency is down.

    A refusal shows that the dependency works. A fault in our code may be caused by one client's input, which must not
    shut out all other clients.
    """
    return not isinstance(error, Unavailable | TimedOut) or isinstance(error, OutOfTime)
