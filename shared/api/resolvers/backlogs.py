"""The checks of the whole shop's health: what waits, is late or is lost."""

import asyncio
from collections.abc import Callable, Mapping

from shared.api.resolvers.projections import lags
from shared.messaging.outbox import Outbox
from shared.monitoring.health import Check, Finding, HealthStatus
from shared.monitoring.lag import Lag
from shared.monitoring.reports import EVENT_TYPES, age, read_saga_backlog
from shared.monitoring.stuck import is_late, open_breakers
from shared.observability.sentences import Sentence, joined, said
from shared.resilience.calls import awaited
from shared.runtime.engines import Engines

_OUTBOX_LATE, _OUTBOX_LOST, _LOG_LATE = 60, 600, 60  # seconds
_NAMED = 3  # unknown events in a message
LAG_SECONDS = 10.0  # for which the comparison, which reads all documents' versions, is reused


def backlogs(engines: Engines, loop: asyncio.AbstractEventLoop) -> list[Check]:
    """`loop`: to which the client of the query database belongs."""
    checks: Mapping[str, Callable[[], Finding]] = {
        "event_outbox": lambda: _outbox(engines.outboxes[0]),
        "saga_outbox": lambda: _outbox(engines.outboxes[1]),
        "sagas": lambda: _sagas(engines),
        "dead_letters": lambda: _dead_letters(engines),
        "providers": lambda: _providers(engines),
        "event_log": lambda: _event_log(engines),
        "read_models": lambda: _read_models(engines, loop),
        "projections": lambda: _projections(engines, loop),
    }
    return [Check(name, check, engines.settings.health_check_seconds) for name, check in checks.items()]


def _outbox(outbox: Outbox) -> Finding:
    backlog = outbox.backlog()
    oldest_seconds = age(backlog.oldest)
    details = {"waiting": backlog.waiting, "oldestSeconds": round(oldest_seconds)}
    if oldest_seconds >= _OUTBOX_LOST:
        return Finding(HealthStatus.UNHEALTHY, said("UNPUBLISHED_FOR_TEN_MINUTES"), details)
    if oldest_seconds >= _OUTBOX_LATE:
        return Finding(HealthStatus.DEGRADED, said("UNPUBLISHED_FOR_A_MINUTE"), details)
    return Finding(HealthStatus.HEALTHY, said("PUBLISHED_IN_TIME"), details)


def _sagas(engines: Engines) -> Finding:
    backlog = read_saga_backlog(engines.sagas)
    details = {"overdue": backlog.overdue, "stuck": backlog.stuck}
    if backlog.stuck:
        return Finding(HealthStatus.DEGRADED, said("SAGAS_STUCK"), details)
    if backlog.overdue:
        return Finding(HealthStatus.DEGRADED, said("SAGAS_OVERDUE"), details)
    return Finding(HealthStatus.HEALTHY, said("NO_SAGA_STUCK"), details)


def _dead_letters(engines: Engines) -> Finding:
    pending = engines.dead_letters.pending()
    if pending:
        return Finding(HealthStatus.DEGRADED, said("LETTERS_WAIT"), {"pending": pending})
    return Finding(HealthStatus.HEALTHY, said("NO_LETTER_WAITS"), {"pending": 0})


def _providers(engines: Engines) -> Finding:
    """Name what the messages of all functions wait for: this process does not call a provider
    itself."""
    waiting = {one.dependency: one for one in open_breakers(engines.dead_letters, engines.counts.executions())}
    if not waiting:
        return Finding(HealthStatus.HEALTHY, said("NO_MESSAGE_WAITS"), {"waiting": {}})
    message = joined(
        "AND",
        [said("PROVIDER_DOES_NOT_ANSWER", dependency=name, messages=one.messages) for name, one in waiting.items()],
    )
    return Finding(HealthStatus.DEGRADED, message, {"waiting": {name: one.error for name, one in waiting.items()}})


def _event_log(engines: Engines) -> Finding:
    seconds, events = engines.event_log.held_back()
    details = {"oldestTransactionSeconds": round(seconds), "eventsHeldBack": events}
    if seconds < _LOG_LATE:
        return Finding(HealthStatus.HEALTHY, said("LOG_IN_TIME"), details)
    return Finding(HealthStatus.DEGRADED, said("LOG_HELD_BACK", seconds=round(seconds), events=events), details)


def _read_models(engines: Engines, loop: asyncio.AbstractEventLoop) -> Finding:
    """Compare in the event loop, to which the client of the query database belongs."""
    found = awaited(lags(engines, LAG_SECONDS), 60, loop)
    details = {
        "ahead": {name: lag.ahead for name, lag in found.items()},
        "behind": {name: {"events": lag.events, "seconds": lag.seconds} for name, lag in found.items()},
    }
    if any(lag.ahead for lag in found.values()):
        ahead = {name: lag.ahead for name, lag in found.items() if lag.ahead}
        named = joined("ALSO", [said("MODEL_AHEAD", name=name, events=n) for name, n in ahead.items()])
        return Finding(HealthStatus.UNHEALTHY, named + said("RESTORE_OR_REBUILD"), details)
    late = [_behind(name, lag) for name, lag in found.items() if is_late(lag)]
    if late and (unknown := _unknown_events(engines)):
        message = joined("ALSO", late) + said("UNKNOWN_EVENTS", events=", ".join(unknown))
        return Finding(HealthStatus.DEGRADED, message, details)
    if late:
        return Finding(HealthStatus.DEGRADED, joined("ALSO", late) + said("QUERY_SERVICE_UP"), details)
    return Finding(HealthStatus.HEALTHY, said("MODELS_IN_TIME"), details)


def _unknown_events(engines: Engines) -> list[str]:
    """Name the oldest events of types that this release does not know, each with its stream."""
    known = {kind for kinds in EVENT_TYPES.values() for kind in kinds}
    unknown = sorted({kind for kind, _ in engines.event_log.counts().events} - known)
    found = engines.event_log.of_types(unknown, 0, _NAMED) if unknown else []
    return [f"{one.event.type} of {one.event.stream}" for one in found]


def _projections(engines: Engines, loop: asyncio.AbstractEventLoop) -> Finding:
    found = awaited(engines.queries.stops(), 60, loop)
    if not found:
        return Finding(HealthStatus.HEALTHY, said("NONE_STOPPED"), {"stopped": {}})
    named = joined("ALSO", [said("UNTIL", projection=f"project_{name}", at=one.until) for name, one in found.items()])
    details = {"stopped": {name: str(one) for name, one in found.items()}}
    return Finding(HealthStatus.DEGRADED, said("ADMIN_HAS_STOPPED") + named + said("START_ENDS_IT"), details)


def _behind(name: str, lag: Lag) -> Sentence:
    if lag.seconds is None:
        return said("MODEL_BEHIND_FOR_UNKNOWN", name=name, events=lag.events)
    return said("MODEL_BEHIND", name=name, seconds=round(lag.seconds), events=lag.events)
