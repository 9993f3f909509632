"""The checks of the whole shop's health: what waits, is late or is lost."""

import asyncio
from collections.abc import Callable, Mapping

from shared.api.resolvers.projections import lags
from shared.messaging.outbox import Outbox
from shared.monitoring.health import Check, Finding, HealthStatus
from shared.monitoring.lag import Lag
from shared.monitoring.reports import EVENT_TYPES, age, read_saga_backlog
from shared.monitoring.stuck import is_late, open_breakers
from shared.read_models.stops import stops
from shared.resilience.calls import time_left
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
        return Finding(HealthStatus.UNHEALTHY, "messages have not been published for 10 minutes or more", details)
    if oldest_seconds >= _OUTBOX_LATE:
        return Finding(HealthStatus.DEGRADED, "messages have not been published for a minute or more", details)
    return Finding(HealthStatus.HEALTHY, "messages are published in time", details)


def _sagas(engines: Engines) -> Finding:
    backlog = read_saga_backlog(engines.sagas)
    details = {"overdue": backlog.overdue, "stuck": backlog.stuck}
    if backlog.stuck:
        return Finding(HealthStatus.DEGRADED, "some sagas are stuck: a step could not be undone", details)
    if backlog.overdue:
        message = "deadlines of sagas passed two minutes ago and have not been fired"
        return Finding(HealthStatus.DEGRADED, message, details)
    return Finding(HealthStatus.HEALTHY, "no saga is stuck or overdue", details)


def _dead_letters(engines: Engines) -> Finding:
    pending = engines.dead_letters.pending()
    if pending:
        return Finding(HealthStatus.DEGRADED, "dead letters wait for an admin", {"pending": pending})
    return Finding(HealthStatus.HEALTHY, "no dead letters wait", {"pending": 0})


def _providers(engines: Engines) -> Finding:
    """Name what the messages of all functions wait for: this process does not call a provider
    itself."""
    waiting = {one.dependency: one for one in open_breakers(engines.dead_letters, engines.counts.executions())}
    if not waiting:
        return Finding(HealthStatus.HEALTHY, "no message waits for a provider", {"waiting": {}})
    message = "; ".join(f"{name} does not answer: {one.messages} message(s) wait" for name, one in waiting.items())
    return Finding(HealthStatus.DEGRADED, message, {"waiting": {name: one.error for name, one in waiting.items()}})


def _event_log(engines: Engines) -> Finding:
    seconds, events = engines.event_log.held_back()
    details = {"oldestTransactionSeconds": round(seconds), "eventsHeldBack": events}
    if seconds < _LOG_LATE:
        return Finding(HealthStatus.HEALTHY, "readers of the log see what is committed", details)
    message = (
        f"a transaction that began {seconds:.0f} seconds ago holds back {events} events: live updates and counts wait "
        "for it; end it, as shared/monitoring/README.md says"
    )
    return Finding(HealthStatus.DEGRADED, message, details)


def _read_models(engines: Engines, loop: asyncio.AbstractEventLoop) -> Finding:
    """Compare in the event loop, to which the client of the query database belongs."""
    found = asyncio.run_coroutine_threadsafe(lags(engines, LAG_SECONDS), loop).result(time_left(60))
    details = {
        "ahead": {name: lag.ahead for name, lag in found.items()},
        "behind": {name: {"events": lag.events, "seconds": lag.seconds} for name, lag in found.items()},
    }
    if any(lag.ahead for lag in found.values()):
        ahead = {name: lag.ahead for name, lag in found.items() if lag.ahead}
        named = ", ".join(f"read model {name} is ahead of the event store by {n} events" for name, n in ahead.items())
        message = f"{named}: restore them or rebuild; see shared/monitoring/README.md"
        return Finding(HealthStatus.UNHEALTHY, message, details)
    late = [_behind(name, lag) for name, lag in found.items() if is_late(lag)]
    if late and (unknown := _unknown_events(engines)):
        message = f"{', '.join(late)}: this release does not know {', '.join(unknown)}"
        return Finding(HealthStatus.DEGRADED, message, details)
    if late:
        return Finding(HealthStatus.DEGRADED, f"{', '.join(late)}: is the query service up?", details)
    return Finding(HealthStatus.HEALTHY, "none is a minute behind the event store, none is ahead of it", details)


def _unknown_events(engines: Engines) -> list[str]:
    """Name the oldest events of types that this release does not know, each with its stream."""
    known = {kind for kinds in EVENT_TYPES.values() for kind in kinds}
    unknown = sorted({kind for kind, _ in engines.event_log.counts().events} - known)
    found = engines.event_log.of_types(unknown, 0, _NAMED) if unknown else []
    return [f"{one.event.type} of {one.event.stream}" for one in found]


def _projections(engines: Engines, loop: asyncio.AbstractEventLoop) -> Finding:
    found = asyncio.run_coroutine_threadsafe(stops(engines.queries), loop).result(time_left(60))
    if not found:
        return Finding(HealthStatus.HEALTHY, "none is stopped", {"stopped": {}})
    named = ", ".join(f"project_{name} until {one.until:%H:%M:%S} UTC" for name, one in found.items())
    details = {"stopped": {name: str(one) for name, one in found.items()}}
    return Finding(HealthStatus.DEGRADED, f"an admin has stopped {named}: startProjection ends it", details)


def _behind(name: str, lag: Lag) -> str:
    since = "an unknown time" if lag.seconds is None else f"{lag.seconds:.0f} seconds"
    return f"read model {name} has been behind for {since} by {lag.events} events"
