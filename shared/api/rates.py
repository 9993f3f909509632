"""Limit how many requests a client may send in a minute."""

from functools import lru_cache
from math import ceil
from typing import Literal

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from shared.config.settings import Settings
from shared.runtime.engines import Engines


class Rates:
    """Counts each client's requests in this process against a limit per minute.

    The previous minute counts by the share of it that is less than a minute ago, so 60 seconds
    never see more than twice the limit. More than `max_clients` counters of a kind are all dropped,
    so that memory stays bounded. After a jump of the wall clock no client is refused for over two
    minutes.
    """

    def __init__(self, settings: Settings, max_clients: int = 10_000) -> None:
        self._limits = {"user": settings.rate_limit_signed_in, "address": settings.rate_limit_anonymous}
        self._max_clients = max_clients
        self._counters = {kind: MemoryStorage() for kind in self._limits}

    def seconds_until_allowed(self, kind: Literal["user", "address"], client: str) -> int:
        """Count a request. Return 0 if it is allowed, else the seconds until one will be."""
        limit = self._limits[kind]
        if len(self._counters[kind].expirations) > self._max_clients:
            self._counters[kind] = MemoryStorage()
        counters, rate = self._counters[kind], RateLimitItemPerMinute(limit)
        if limit == 0 or SlidingWindowCounterRateLimiter(counters).hit(rate, client):
            return 0
        return self._until_free(counters, rate.key_for(client), limit)

    def _until_free(self, counters: MemoryStorage, key: str, limit: int) -> int:
        """Return when the previous minute counts less; a full present minute must pass first."""
        before, before_left, now, now_left = counters.get_sliding_window(key, 60)
        seconds = before_left - (limit - now) * 60 / before if now < limit and before else now_left - 60
        return max(1, ceil(seconds + 0.001))


@lru_cache(maxsize=1)
def rates(engines: Engines) -> Rates:
    """Return the counters of this process."""
    return Rates(engines.settings)
