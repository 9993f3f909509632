"""The history of gauges is the same on both engines."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.monitoring.gauges import GaugeHistory, Gauges, gauges
from shared.monitoring.memory import MemoryGaugeHistory
from shared.monitoring.metrics import Sample
from shared.monitoring.postgres import PostgresGaugeHistory
from shared.postgres.pool import Pool
from shared.read_models.documents import READ_MODELS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["memory", "postgres"])
def history(request: pytest.FixtureRequest) -> GaugeHistory:
    if request.param == "memory":
        return MemoryGaugeHistory()
    pool: Pool = request.getfixturevalue("command_pool")
    return PostgresGaugeHistory(pool)


def test_what_was_kept_is_read_in_the_order_of_time(history: GaugeHistory) -> None:
    first = Gauges(NOON, 1.25, 2, 3, 4, 5, 6)
    later = Gauges(NOON + 2 * MINUTE, lag_seconds=0.0)
    for one in (later, first):
        history.keep(one)
    assert list(history.since(NOON - MINUTE)) == list(history.since(NOON)) == [first, later]
    assert list(history.since(NOON + MINUTE)) == [later]
    assert list(history.since(NOON + 3 * MINUTE)) == []


def test_a_minute_that_is_kept_twice_keeps_its_first_gauges(history: GaugeHistory) -> None:
    first = Gauges(NOON, outbox_waiting=1)
    for one in (first, replace(first, outbox_waiting=2), first):
        history.keep(one)
    assert list(history.since(NOON)) == [first]


def test_the_oldest_minutes_are_forgotten(history: GaugeHistory) -> None:
    minutes = [Gauges(NOON + n * MINUTE, outbox_waiting=n) for n in range(5)]
    for one in reversed(minutes):
        history.keep(one)
    assert history.forget(NOON + 3 * MINUTE, 2) == 2
    assert list(history.since(NOON)) == minutes[2:]
    assert history.forget(NOON + 3 * MINUTE, 2) == 1
    assert history.forget(NOON + 3 * MINUTE, 2) == 0
    assert list(history.since(NOON)) == minutes[3:]


def test_the_gauges_are_the_largest_lag_the_sum_of_the_outboxes_and_the_sagas_by_status() -> None:
    lags = [
        Sample(metric, (name,), float(number))
        for metric in ("shop_projection_lag_seconds", "shop_projection_lag_streams")
        for number, name in enumerate(READ_MODELS)
    ]
    outboxes = [Sample("shop_outbox_messages", (name,), 2.0) for name in ("events", "sagas")]
    statuses = ["STARTED", "COMPENSATING", "STUCK", "COMPLETED"]
    sagas = [Sample("shop_sagas", (status,), float(number)) for number, status in enumerate(statuses)]
    at, most = NOON + timedelta(seconds=59.9), len(READ_MODELS) - 1
    assert gauges(at, [*lags, *outboxes, *sagas]) == Gauges(NOON, float(most), most, 4, 0, 1, 2)
    assert gauges(at, [*lags[1:], *outboxes[1:], *sagas[1:]]) == Gauges(NOON, None, most, None, None, 1, 2)
    assert gauges(at, []) == Gauges(NOON)
