"""After a long outage, gRPC connects again within seconds of Firestore's and Pub/Sub's return."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from shared.config.settings import Settings
from shared.domain.errors import TimedOut, Unavailable
from shared.resilience.calls import awaited
from shared.runtime.engines import Engines
from tests.failure.proxy import Proxy

OUTAGE = 28.0
"""Seconds. Without a bound, gRPC would have waited 16 seconds more before its next attempt."""
SOON = 25.0
"""Seconds: the bound of five, its jitter, and two calls of three seconds on a busy machine."""


@pytest.fixture
def proxies(firestore: str, pubsub: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Proxy]]:
    with closing(Proxy(firestore)) as first, closing(Proxy(pubsub)) as second:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", first.address)
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", second.address)
        yield [first, second]


@pytest.fixture
def calls(proxies: list[Proxy]) -> Iterator[list[Callable[[], object]]]:
    """Yield a call of each client: a projection's, a query's, a publisher's."""
    with closing(Engines(Settings(profile="engines", project_id="reconnects", breaker_fail_max=1_000_000))) as engines:
        yield [
            lambda: engines.read_models.update("health", "probe", lambda _: None),
            lambda: awaited(engines.queries.generations(), 15),
            lambda: engines.publisher.has_topic("probe"),
        ]


def works(call: Callable[[], object]) -> bool:
    try:
        call()
    except (Unavailable, TimedOut, TimeoutError):
        return False
    return True


def until_it_works(call: Callable[[], object], seconds: float) -> float:
    """Call again and again; return after how many seconds it worked, or `seconds`."""
    began = time.monotonic()
    while (took := time.monotonic() - began) < seconds and not works(call):
        time.sleep(0.2)
    return took


def test_grpc_connects_again_within_seconds(proxies: list[Proxy], calls: list[Callable[[], object]]) -> None:
    assert max(until_it_works(call, 60) for call in calls) < 60  # the first takes long on a busy machine
    with ThreadPoolExecutor(len(calls)) as pool:
        for proxy in proxies:
            proxy.cut()
        assert list(pool.map(lambda call: until_it_works(call, OUTAGE) < OUTAGE, calls)) == [False] * len(calls)
        for proxy in proxies:
            proxy.restore()
        took = list(pool.map(lambda call: until_it_works(call, 30), calls))
    assert max(took) < SOON, took
