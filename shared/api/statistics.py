"""Resolvers that tell how much there is, how much is going on, and how far the projections have got: numbers of the whole
shop, from its stores, found out once for all who ask this process within a second or two."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from shared.api.context import Info, from_stores
from shared.api.monitoring import of_the_shop
from shared.auth.permissions import Permission
from shared.config.manifest import Function, manifest
from shared.dead_letters.protocol import Trouble
from shared.domain.errors import ShopError
from shared.event_store.protocol import EventCounts, PositionedEvent
from shared.monitoring.counts import ExecutionTotals, RecordTotals, Tally
from shared.monitoring.lag import LOOKED_AT, Lag, lag
from shared.monitoring.reports import EVENT_TYPES
from shared.read_models.documents import READ_MODELS, sources_of
from shared.read_models.generations import Generations
from shared.read_models.protocol import Extent, Fields, Queries
from shared.runtime.engines import Engines

_KEPT, _PROJECTIONS_KEPT = 1.0, 2.0
"""Seconds."""
_LATE = 10.0
"""Seconds that a projection may be behind while all is well."""
_SKEW = timedelta(seconds=1)
"""Between the clock of who recorded an event and the database's, which dates failures."""
_NEVER = datetime.min.replace(tzinfo=UTC)


async def system_statistics(_: Any, info: Info) -> Fields:
    engines, queries = info.context.engines, info.context.queries
    if queries is not engines.queries:  # which wait for what the client has written
        return await _statistics(engines, queries)
    return await engines.cache.get("the statistics", _KEPT, partial(_statistics, engines, queries))


async def _statistics(engines: Engines, queries: Queries) -> Fields:
    events, records, extents = await asyncio.gather(
        from_stores(engines.event_log.counts),
        from_stores(engines.counts.records),
        asyncio.gather(*(queries.extent(name) for name in READ_MODELS)),
    )
    held = {"sagas": sum(records.sagas.values()), **records.others}
    return {
        "event_store": _database({"events": sum(events.events.values())}, events.last_recorded_at),
        "command_db": _database(held, records.updated_at),
        "query_db": _read_models(dict(zip(READ_MODELS, extents, strict=True))),
        "sagas": _sagas(records),
    }


def _database(held: Mapping[str, int], updated_at: datetime | None) -> Fields:
    parts = [{"name": name, "count": number} for name, number in sorted(held.items()) if number]
    return {"total_records": sum(held.values()), "last_updated": _told(updated_at), "records": parts}


def _read_models(extents: Mapping[str, Extent]) -> Fields:
    newest = max((one.updated_at for one in extents.values() if one.updated_at), default=None)
    return {name: extent.documents for name, extent in extents.items()} | {"last_updated": _told(newest)}


def _sagas(records: RecordTotals) -> Fields:
    of = {status: records.sagas.get(status, 0) for status in ("COMPLETED", "FAILED", "COMPENSATED")}
    return {
        "active": records.unfinished,
        "completed": of["COMPLETED"],
        "failed": of["FAILED"] + of["COMPENSATED"],
        "compensated": of["COMPENSATED"],
        "total": records.unfinished + sum(of.values()),
    }


def _told(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


async def dashboard_stats(_: Any, info: Info) -> Fields:
    return await _dashboard(info.context.engines)


async def dashboard_changes(engines: Engines) -> AsyncGenerator[Fields]:
    """As it is, then as it is each time that it has changed. While it can't be found out, nothing comes."""
    shown = await _dashboard(engines)
    yield shown
    while True:
        await asyncio.sleep(engines.settings.dashboard_seconds)
        try:
            present = await _dashboard(engines)
        except ShopError:  # which has been logged, once for all who are subscribed
            continue
        if present != shown:
            shown = present
            yield shown


async def _dashboard(engines: Engines) -> Fields:
    return await engines.cache.get("the dashboard", _KEPT, partial(_looked_at, engines))


async def _looked_at(engines: Engines) -> Fields:
    events, records, asked, health = await asyncio.gather(
        from_stores(engines.event_log.counts),
        from_stores(engines.counts.records),
        from_stores(engines.counts.executions),
        of_the_shop(engines),
    )
    lately = asked.lately.get("command", Tally()) + asked.lately.get("query", Tally())
    return {
        "total_events": sum(events.events.values()),
        "events_per_minute": float(events.last_minute),
        "active_sagas": records.unfinished,
        "total_commands": asked.ever_of("command").count,
        "total_queries": asked.ever_of("query").count,
        "system_health": health.status.name,
        "error_rate": lately.errors / max(1, lately.count),
        "average_latency_ms": round(lately.milliseconds / max(1, lately.count)),
    }


async def projection_status(_: Any, info: Info) -> Sequence[Fields]:
    engines, queries = info.context.engines, info.context.queries
    found = await (projections(engines) if queries is engines.queries else _projections(engines, queries))
    hidden = {} if info.context.actor.may(Permission.ADMIN) else {"last_error": None}
    return [one | hidden for one in found]


async def projection_named(info: Info, name: str) -> Fields:
    """As it is now. There is one of that name."""
    engines = info.context.engines
    (found,) = [one for one in await _projections(engines, engines.queries) if one["name"] == name]
    return found


async def projections(engines: Engines) -> Sequence[Fields]:
    return await engines.cache.get(
        "the projections", _PROJECTIONS_KEPT, partial(_projections, engines, engines.queries)
    )


async def _projections(engines: Engines, queries: Queries) -> Sequence[Fields]:
    """The events are counted first: what is recorded and applied meanwhile is not taken for a backlog."""
    functions = [one for one in manifest().functions.values() if one.group == "projections"]
    names = [name for one in functions for name in _subscriptions(one)]
    events, asked, troubles, generations = await asyncio.gather(
        from_stores(engines.event_log.counts),
        from_stores(engines.counts.executions),
        from_stores(engines.dead_letters.troubles, names),
        engines.queries.generations(),
    )

    def newest(source: str) -> Coroutine[Any, Any, Sequence[PositionedEvent]]:
        return from_stores(engines.event_log.recent, LOOKED_AT, EVENT_TYPES[source])

    behind = await asyncio.gather(*(lag(queries, one.read_model, events, newest) for one in functions))
    return [
        _projection(one, far, asked, troubles) | {"generations": _generations(one.read_model, generations, events)}
        for one, far in zip(functions, behind, strict=True)
    ]


def _subscriptions(projection: Function) -> list[str]:
    return [one.name for one in manifest().all_subscriptions if one.endpoint == projection.name]


def _projection(function: Function, behind: Lag, asked: ExecutionTotals, troubles: Mapping[str, Trouble]) -> Fields:
    names = _subscriptions(function)
    delivered = sum((asked.ever.get(("delivery", name), Tally()) for name in names), Tally())
    last = max((troubles[name] for name in names), key=lambda trouble: trouble.at or _NEVER)
    return {
        "name": function.name,
        "read_model": function.read_model,
        "status": _status(behind, last.at),
        "position": behind.position,
        "lag_events": behind.events,
        "lag_seconds": behind.seconds,
        "processed_count": behind.applied,
        "last_processed_at": delivered.succeeded_at,
        "deliveries": delivered.count,
        "failed_deliveries": delivered.errors,
        "dead_letters": sum(troubles[name].pending for name in names),
        "last_error": last.error,
        "last_error_at": last.at,
    }


def _generations(read_model: str, known: Mapping[str, Generations], events: EventCounts) -> Fields:
    streams = sum(events.events.get((one.first_event, one.aggregate.name), 0) for one in sources_of(read_model))
    return vars(known[read_model]) | {"streams": streams}


def _status(behind: Lag, failed_at: datetime | None) -> str:
    if not behind.events:
        return "RUNNING"
    if failed_at and (behind.since is None or failed_at >= behind.since - _SKEW):
        return "FAILING"
    return "LAGGING" if behind.seconds is None or behind.seconds >= _LATE else "RUNNING"
