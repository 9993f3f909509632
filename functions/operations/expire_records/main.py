"""Delete what nobody will ask for any more: old idempotency keys, noted failures, settled dead letters, sagas' histories."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from shared.resilience import clock
from shared.runtime.engines import Engines
from shared.runtime.push_functions import scheduled

_BATCH, _SECONDS = 1000, 10.0  # for each kind, so that none keeps the others waiting

_log = structlog.get_logger()


@scheduled
def expire_records(engines: Engines) -> int:
    now, history = clock.now(), timedelta(days=engines.settings.keep_history_days)
    done, failures = 0, list[Exception]()
    for forget, age in (
        (engines.event_store.forget_keys, timedelta(hours=24)),
        (engines.dead_letters.forget_failures, timedelta(days=14)),
        (engines.dead_letters.forget_settled, history),
        (engines.sagas.forget_histories, history),
        (engines.executions.expire, timedelta(days=engines.settings.keep_executions_days)),
        (engines.counts.forget_minutes, timedelta(days=1)),
    ):
        try:
            done += _all(forget, now - age)
        except Exception as error:
            _log.warning("could not delete what has expired", what=forget.__qualname__, reason=repr(error))
            failures.append(error)
    if failures:
        raise failures[0]
    return done


def _all(forget: Callable[[datetime, int], int], before: datetime) -> int:
    """Batch by batch, so that no transaction is long."""
    done, until = 0, clock.monotonic() + _SECONDS
    while clock.monotonic() < until:
        deleted = forget(before, _BATCH)
        done += deleted
        if deleted < _BATCH:
            break
    return done
