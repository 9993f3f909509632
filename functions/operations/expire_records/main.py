"""Delete records that have expired: idempotency keys, noted failures, settled dead letters,
histories, old counts and gauges."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from shared.resilience import clock
from shared.resilience.calls import attempt_all
from shared.runtime.engines import Engines
from shared.runtime.push_functions import scheduled

_BATCH, _SECONDS = 1000, 10.0  # for each kind, so that one kind does not delay the others


@scheduled
def expire_records(engines: Engines) -> int:
    now, settings = clock.now(), engines.settings
    ages = {
        engines.event_store.forget_keys: timedelta(hours=24),
        engines.dead_letters.forget_failures: timedelta(days=14),
        engines.dead_letters.forget_settled: timedelta(days=settings.keep_history_days),
        engines.sagas.forget_histories: timedelta(days=settings.keep_history_days),
        engines.executions.expire: timedelta(days=settings.keep_executions_days),
        engines.counts.forget_minutes: timedelta(days=1),
        engines.gauges.forget: timedelta(days=1),
    }
    return attempt_all(
        "records", {forget.__qualname__: partial(_all, forget, now - age) for forget, age in ages.items()}
    )


def _all(forget: Callable[[datetime, int], int], before: datetime) -> int:
    """Delete batch by batch, so that no transaction is long. Return how many records were
    deleted."""
    done, until = 0, clock.monotonic() + _SECONDS
    while clock.monotonic() < until:
        deleted = forget(before, _BATCH)
        done += deleted
        if deleted < _BATCH:
            break
    return done
