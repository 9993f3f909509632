"""A circuit breaker around each remote dependency: what keeps failing is left alone for a while instead of waited for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock

import pybreaker
import structlog

from shared.domain.errors import ShopError, TimedOut, Unavailable

FAIL_MAX = 10
"""Failures in a row that open a breaker."""
RESET_TIMEOUT = 5.0
"""Seconds that it stays open before one call may try again."""

_log = structlog.get_logger()
_breakers: dict[str, pybreaker.CircuitBreaker] = {}
_lock = Lock()


class _Logged(pybreaker.CircuitBreakerListener):
    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        before = old_state.name if old_state else None
        _log.warning("circuit breaker", dependency=cb.name, before=before, now=new_state.name)


def _is_answer(error: BaseException) -> bool:
    """A refusal shows that the other side works."""
    return isinstance(error, ShopError) and not isinstance(error, Unavailable | TimedOut)


def _breaker(name: str) -> pybreaker.CircuitBreaker:
    with _lock:
        if name not in _breakers:
            _breakers[name] = pybreaker.CircuitBreaker(
                FAIL_MAX,
                RESET_TIMEOUT,
                exclude=[_is_answer],
                listeners=[_Logged()],
                name=name,
                throw_new_error_on_trip=False,
            )
        return _breakers[name]


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """Run a call to the dependency `name`; raise Unavailable at once while its breaker is open.

    Not `breaker.call(...)`, which holds the breaker's lock during the call and so lets only one run at a time.
    """
    breaker = _breaker(name)
    try:
        with breaker.calling():
            yield
    except pybreaker.CircuitBreakerError:
        wait = _seconds_left(breaker)
        raise Unavailable(f"{name} keeps failing; try again in {wait:.0f} seconds", retry_after=wait) from None


def _seconds_left(breaker: pybreaker.CircuitBreaker) -> float:
    opened_at = breaker._state_storage.opened_at
    waited = (datetime.now(UTC) - opened_at).total_seconds() if opened_at else 0.0
    return max(1.0, breaker.reset_timeout - waited)


def states() -> Mapping[str, str]:
    """`closed`, `open` or `half-open` by dependency, of this process."""
    with _lock:
        return {name: breaker.current_state for name, breaker in _breakers.items()}
