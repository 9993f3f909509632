"""Projections: how far each has got and, for admins, rebuilding its read model; queue sizes of all
functions."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog

from shared.api.context import Info, Resolver, Resolvers, Text
from shared.api.limits import from_stores
from shared.api.resolvers import rebuilds
from shared.api.resolvers.common import is_admin
from shared.api.resolvers.operators import admin_command
from shared.auth.identity import in_the_cloud
from shared.config.manifest import Function, manifest
from shared.config.settings import Settings
from shared.dead_letters.failures import Trouble
from shared.domain.errors import ShopError, TimedOut
from shared.event_store.protocol import EventCounts, PositionedEvent
from shared.monitoring.counts import ExecutionTotals, Tally
from shared.monitoring.lag import LOOKED_AT, Lag, at_most, lag
from shared.monitoring.reports import EVENT_TYPES, monitoring_client, monitoring_errors
from shared.read_models.documents import READ_MODELS, sources_of
from shared.read_models.generations import Generations
from shared.read_models.protocol import Fields, Queries
from shared.read_models.stop import Stop
from shared.resilience import clock
from shared.resilience.calls import deadline, time_left
from shared.runtime.engines import Engines

_CACHE_SECONDS = 2.0
_QUEUES_CLOUD_SECONDS, _QUEUES_LOCAL_SECONDS = 15.0, 1.0  # Cloud Monitoring has a new value every minute
_UNDELIVERED = "pubsub.googleapis.com/subscription/num_undelivered_messages"
_LAGGING_SECONDS = 10.0
"""A projection that is behind for a shorter time is RUNNING."""
_CLOCK_SKEW = timedelta(seconds=1)
"""Events are dated by the clock of the process that recorded them, failures by the database's."""
_NEVER = datetime.min.replace(tzinfo=UTC)

_log = structlog.get_logger()


async def projection_status(_: Any, info: Info) -> Sequence[Fields]:
    engines, queries = info.context.engines, info.context.queries
    found = await (projections(engines) if queries is engines.queries else _read(engines, queries))
    if is_admin(info):
        return found
    return [
        one
        | {"last_error": None, "generations": one["generations"] | {"incomplete": []}}
        | {"stop": one["stop"] and one["stop"] | {"by": None}}
        for one in found
    ]


async def projections(engines: Engines) -> Sequence[Fields]:
    """Return all projections, read once for all clients of this process within two seconds."""
    return await engines.cache.get("the projections", _CACHE_SECONDS, partial(_read, engines, engines.queries))


async def lags(engines: Engines, seconds: float) -> Mapping[str, Lag]:
    """Return how far each read model is behind or ahead, as it was at most `seconds` ago."""
    return await engines.cache.get("the lags", seconds, partial(_read_lags, engines, engines.queries))


def _change(action: str) -> Resolver:
    """Return the resolver of a mutation that answers with the projection after the action."""

    async def change(_: Any, info: Info, name: str, reason: Text = None, **arguments: int | None) -> Fields:
        given = {key: value for key, value in arguments.items() if value is not None}
        await admin_command(info, "rebuild_projection", {"name": name, "action": action, **given}, reason)
        return await projection_now(info, name)

    return change


async def projection_now(info: Info, name: str) -> Fields:
    """Read one projection anew."""
    engines = info.context.engines
    (projection,) = [one for one in await _read(engines, engines.queries) if one["name"] == name]
    return projection


async def _read(engines: Engines, queries: Queries) -> Sequence[Fields]:
    functions = [function for function in manifest().functions.values() if function.group == "projections"]
    subscriptions = [name for function in functions for name in _subscriptions(function)]
    events, executions, troubles, generations = await asyncio.gather(
        from_stores(engines.event_log.counts),
        from_stores(engines.counts.executions),
        from_stores(engines.dead_letters.troubles, subscriptions),
        engines.queries.generations(),
    )
    behind = await _lags_behind(engines, queries, events)
    sizes = await rebuilds.sizes(engines.queries.queries, generations)
    return [
        _projection(function, behind[function.read_model], executions, troubles)
        | {"generations": _generations(function.read_model, generations, events, sizes.get(function.read_model))}
        | _stopped(generations[function.read_model].stop)
        for function in functions
    ]


def _stopped(stop: Stop | None) -> Fields:
    """Return the fields of a projection that differ while it is stopped."""
    return {"stop": vars(stop), "status": "STOPPED"} if stop else {"stop": None}


async def _read_lags(engines: Engines, queries: Queries) -> Mapping[str, Lag]:
    return await _lags_behind(engines, queries, await from_stores(engines.event_log.counts))


async def _lags_behind(engines: Engines, queries: Queries, events: EventCounts) -> Mapping[str, Lag]:
    """`events`: counted before this call, so that what is recorded and applied meanwhile is no
    backlog."""

    def newest(source: str) -> Coroutine[Any, Any, Sequence[PositionedEvent]]:
        return from_stores(engines.event_log.recent, LOOKED_AT, EVENT_TYPES[source])

    most = partial(from_stores, at_most, engines.event_log)
    found = await asyncio.gather(*(lag(queries, name, events, newest, most) for name in READ_MODELS))
    return dict(zip(READ_MODELS, found, strict=True))


def _subscriptions(function: Function) -> list[str]:
    return [one.name for one in manifest().all_subscriptions if one.endpoint == function.name]


def _projection(
    function: Function, behind: Lag, executions: ExecutionTotals, troubles: Mapping[str, Trouble]
) -> Fields:
    names = _subscriptions(function)
    delivered = sum((executions.ever.get(("delivery", name), Tally()) for name in names), Tally())
    last = max((troubles[name] for name in names), key=lambda trouble: trouble.at or _NEVER)
    return {
        "name": function.name,
        "read_model": function.read_model,
        "status": _status(behind, last.at),
        "position": behind.position,
        "lag_events": behind.events,
        "lag_seconds": behind.seconds,
        "ahead_events": behind.ahead,
        "processed_count": behind.applied,
        "last_processed_at": delivered.succeeded_at,
        "deliveries": delivered.count,
        "failed_deliveries": delivered.errors,
        "dead_letters": sum(troubles[name].pending for name in names),
        "last_error": last.error,
        "last_error_at": last.at,
    }


def _generations(
    read_model: str, known: Mapping[str, Generations], events: EventCounts, size: rebuilds.Size | None
) -> Fields:
    streams = sum(events.events.get((one.first_event, one.aggregate.name), 0) for one in sources_of(read_model))
    return rebuilds.shown(known[read_model], streams, size)


def _status(behind: Lag, failed_at: datetime | None) -> str:
    if behind.ahead:
        return "AHEAD"
    if not behind.events:
        return "RUNNING"
    if failed_at and (behind.since is None or failed_at >= behind.since - _CLOCK_SKEW):
        return "FAILING"
    return "LAGGING" if behind.seconds is None or behind.seconds >= _LAGGING_SECONDS else "RUNNING"


async def queue_sizes(engines: Engines) -> Mapping[str, int]:
    """Return how many messages wait for each function for which this is known in time."""
    seconds = _QUEUES_CLOUD_SECONDS if in_the_cloud() else _QUEUES_LOCAL_SECONDS
    try:
        with deadline(engines.settings.health_check_seconds):
            return await engines.cache.get("the queues", seconds, partial(_read_queues, engines))
    except TimedOut:
        return {}


async def _read_queues(engines: Engines) -> Mapping[str, int]:
    undelivered, applying, unpublished = await asyncio.gather(
        from_stores(_undelivered, engines), projections(engines), from_stores(_unpublished, engines),
        return_exceptions=True,
    )  # fmt: skip
    queues: dict[str, int] = {}
    if not isinstance(applying, BaseException):
        queues |= {projection["name"]: projection["lag_events"] for projection in applying}
    if not isinstance(unpublished, BaseException):
        queues["relay_outbox"] = unpublished
    if not isinstance(undelivered, BaseException) and undelivered is not None:
        queues |= _by_function(undelivered)
    return queues


def _by_function(undelivered: Mapping[str, int]) -> dict[str, int]:
    """Add up the subscriptions of each function, of functions whose subscriptions are all known."""
    counts: dict[str, list[int | None]] = {}
    for subscription in manifest().all_subscriptions:
        counts.setdefault(subscription.endpoint, []).append(undelivered.get(subscription.name))
    return {name: sum(filter(None, numbers)) for name, numbers in counts.items() if None not in numbers}


def _unpublished(engines: Engines) -> int:
    return sum(outbox.backlog().waiting for outbox in engines.outboxes)


def _undelivered(engines: Engines) -> Mapping[str, int] | None:
    settings = engines.settings
    if in_the_cloud() or settings.monitoring_endpoint:
        try:
            return _from_cloud_monitoring(settings)
        except ShopError as error:
            _log.warning("could not read the queue sizes", reason=error.message)
            return None
    return None if settings.profile == "engines" else engines.broker.undelivered()  # Pub/Sub itself does not say


def _from_cloud_monitoring(settings: Settings) -> Mapping[str, int]:
    """Return each subscription's undelivered messages, minutes late. Raise Unavailable."""
    now = int(clock.now().timestamp())
    request = {
        "name": f"projects/{settings.project_id}",
        "filter": f'metric.type = "{_UNDELIVERED}"',
        "interval": {"start_time": {"seconds": now - 300}, "end_time": {"seconds": now}},
    }
    with monitoring_errors("read", "graphql", "roles/monitoring.viewer"):
        client = monitoring_client(settings.monitoring_endpoint)
        found = client.list_time_series(request, retry=None, timeout=time_left(3))
        return {one.resource.labels["subscription_id"]: one.points[0].value.int64_value for one in found if one.points}


RESOLVERS: Resolvers = {
    "Query": {"projectionStatus": projection_status},
    "Mutation": {
        "rebuildProjection": _change("REBUILD"),
        "switchProjection": _change("SWITCH"),
        "cancelRebuild": _change("CANCEL"),
        "compareProjection": _change("COMPARE"),
        "dropProjectionGeneration": _change("DROP"),
    },
}
