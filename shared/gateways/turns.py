"""Let calls that hang take turns, so that they leave the threads to other orders' calls."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from shared.domain.errors import TimedOut
from shared.resilience.calls import NotCalled

_SECONDS = 3.0
"""A call that hangs takes so long; then it is another's turn."""
_MAX_KEYS = 10_000


class Turns:
    """Of the keys whose last call timed out, one at a time is called. Other keys never wait."""

    def __init__(self, dependency: str) -> None:
        self._dependency, self._turn = dependency, Lock()
        self._hung: dict[str, None] = {}

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        """Run one call inside the block. Raise NotCalled at once when it is not this key's turn."""
        waits = key in self._hung
        if waits and not self._turn.acquire(blocking=False):
            raise NotCalled(self._dependency, "has not answered in time for this and another order", _SECONDS)
        try:
            yield
        except TimedOut:
            if len(self._hung) >= _MAX_KEYS:
                self._hung.clear()
            self._hung[key] = None
            raise
        finally:
            if waits:
                self._turn.release()
        self._hung.pop(key, None)
