"""Limit how many requests a client may send in a minute.

Not with the package `limits`: it starts a thread at most requests, to let counters expire, and
takes more processor time than a small query.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Literal

from shared.config.settings import Settings
from shared.resilience import clock
from shared.runtime.engines import Engines

_SECONDS = 60.0


@dataclass(slots=True)
class _Counter:
    """A client's requests in this minute and in the one before it."""

    minute: int
    now: int = 0
    before: int = 0


class Rates:
    """Counts each client's requests in this process against a limit per minute, in one thread.

    The previous minute counts by the share of it that is less than a minute ago, so 60 seconds
    never see more than twice the limit. More than `max_clients` counters of a kind are all dropped,
    so that memory stays bounded.
    """

    def __init__(self, settings: Settings, max_clients: int = 10_000) -> None:
        self._limits = {"user": settings.rate_limit_signed_in, "address": settings.rate_limit_anonymous}
        self._max_clients = max_clients
        self._counters: dict[str, dict[str, _Counter]] = {kind: {} for kind in self._limits}

    def seconds_until_allowed(self, kind: Literal["user", "address"], client: str) -> int:
        """Count a request. Return 0 if it is allowed, else the seconds until one will be."""
        limit = self._limits[kind]
        if limit == 0:
            return 0
        minute, passed = divmod(clock.monotonic(), _SECONDS)
        counter, left = self._counter(kind, client, int(minute)), _SECONDS - passed
        if int(counter.before * left / _SECONDS) + counter.now < limit:
            counter.now += 1
            return 0
        return self._until_free(counter, left, limit)

    def _counter(self, kind: str, client: str, minute: int) -> _Counter:
        counters = self._counters[kind]
        found = counters.get(client)
        if found is None:
            if len(counters) >= self._max_clients:
                counters.clear()
            found = counters[client] = _Counter(minute)
        if found.minute != minute:
            found.before = found.now if found.minute == minute - 1 else 0
            found.minute, found.now = minute, 0
        return found

    def _until_free(self, counter: _Counter, left: float, limit: int) -> int:
        """Return when the previous minute counts less; a full present minute must pass first."""
        now, before = counter.now, counter.before
        seconds = left - (limit - now) * _SECONDS / before if now < limit and before else left
        return max(1, ceil(seconds + 0.001))


@lru_cache(maxsize=1)
def rates(engines: Engines) -> Rates:
    """Return the counters of this process."""
    return Rates(engines.settings)
