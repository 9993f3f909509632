"""Statistics of the whole shop, and the dashboard."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, TypeVar

from shared.api.context import Info, LiveField, Resolvers, SourceEvent
from shared.api.limits import from_stores
from shared.api.resolvers.common import bounded
from shared.api.resolvers.health import shop_report
from shared.domain.errors import ShopError
from shared.monitoring.counts import RecordTotals, Tally
from shared.monitoring.gauges import Gauges
from shared.read_models.protocol import Extent, Fields, Queries
from shared.resilience import clock
from shared.runtime.engines import Engines

T = TypeVar("T")

_MAX_MINUTES = 1440  # as long as the counts of minutes are kept
_PART_SECONDS = 5.0  # for each store
_OF_STREAMS = ("categories", "products", "orders")
"""The read models with one document for each stream; the sales are totals of streams."""
_REPEATED_SECONDS = 5.0
"""After which an unchanged dashboard is sent again: a client that gets none knows that it cannot be
read."""
_CACHE_SECONDS = 1.0  # one reading serves all clients of this process meanwhile


async def system_statistics(_: Any, info: Info) -> Fields:
    engines, queries = info.context.engines, info.context.queries
    if queries is not engines.queries:  # these wait for the client's own writes, so no cached answer will do
        return await _statistics(engines, queries)
    return await engines.cache.get("the statistics", _CACHE_SECONDS, partial(_statistics, engines, queries))


async def _statistics(engines: Engines, queries: Queries) -> Fields:
    """Ask each store for itself: one that does not answer leaves the others' numbers as they
    are."""

    async def read_models() -> Fields:
        extents = asyncio.gather(*(queries.extent(name) for name in _OF_STREAMS))
        found, sales = await asyncio.gather(extents, queries.count("sales", ()))
        return _read_models(found, sales)

    async def event_store() -> Fields:
        events = await from_stores(engines.event_log.counts)
        return _database({"events": sum(events.events.values())}, events.last_recorded_at)

    async def records() -> RecordTotals:
        return await from_stores(engines.counts.records)

    wait = _PART_SECONDS + (0 if queries is engines.queries else engines.settings.consistency_wait_seconds)
    (events, events_error), (totals, totals_error), (models, models_error) = await asyncio.gather(
        _part(engines, "events", event_store, _database({}, None), wait),
        _part(engines, "records", records, RecordTotals({}, {}, None), wait),
        _part(engines, "read models", read_models, _read_models([Extent(0, 0, None)] * len(_OF_STREAMS), 0), wait),
    )
    command_records = {"sagas": sum(totals.sagas.values()), **totals.others}
    return {
        "event_store": events | {"error": events_error},
        "command_db": _database(command_records, totals.updated_at) | {"error": totals_error},
        "query_db": models | {"error": models_error},
        "sagas": _sagas(totals) | {"error": totals_error},
    }


async def _part(
    engines: Engines, name: str, read: Callable[[], Awaitable[T]], nothing: T, seconds: float
) -> tuple[T, str | None]:
    """Return what `read` does, or the last known answer, by default `nothing`, and why there is no
    new one."""
    known = _known(engines)
    try:
        async with asyncio.timeout(seconds):
            known[name] = answer = await read()
        return answer, None
    except (ShopError, TimeoutError) as error:
        return known.get(name, nothing), error.message if isinstance(error, ShopError) else "no answer in time"


@lru_cache(maxsize=1)
def _known(_engines: Engines) -> dict[str, Any]:
    """The last answer of each store."""
    return {}


def _database(counts: Mapping[str, int], updated_at: datetime | None) -> Fields:
    records = [{"name": name, "count": count} for name, count in sorted(counts.items()) if count]
    return {"total_records": sum(counts.values()), "last_updated": _rfc3339(updated_at), "records": records}


def _read_models(extents: Sequence[Extent], sales: int) -> Fields:
    newest = max((extent.updated_at for extent in extents if extent.updated_at), default=None)
    documents = {name: extent.documents for name, extent in zip(_OF_STREAMS, extents, strict=True)}
    return documents | {"sales": sales, "last_updated": _rfc3339(newest)}


def _sagas(records: RecordTotals) -> Fields:
    completed, failed, compensated = (records.sagas.get(name, 0) for name in ("COMPLETED", "FAILED", "COMPENSATED"))
    return {
        "active": records.unfinished,
        "completed": completed,
        "failed": failed + compensated,
        "compensated": compensated,
        "total": records.unfinished + completed + failed + compensated,
    }


def _rfc3339(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None


async def event_store_stats(_: Any, info: Info) -> Fields:
    counts = await info.context.loaders.once("counts", partial(from_stores, info.context.engines.event_log.counts))
    by_type, by_aggregate = Counter[str](), Counter[str]()
    for (kind, aggregate), count in counts.events.items():
        by_type[kind] += count
        by_aggregate[aggregate] += count
    return {
        "total_events": by_type.total(),
        "events_by_type": [{"event_type": kind, "count": n} for kind, n in sorted(by_type.items())],
        "events_by_aggregate": [{"aggregate_type": name, "count": n} for name, n in sorted(by_aggregate.items())],
        "latest_sequence": counts.last_position,
    }


async def dashboard_stats(_: Any, info: Info) -> Fields:
    return await _dashboard(info.context.engines)


async def dashboard_stats_stream(info: Info) -> AsyncGenerator[SourceEvent]:
    """Ignore the resume point: the stream has no history and begins with the present."""
    return _dashboard_changes(info.context.engines)


async def _dashboard_changes(engines: Engines) -> AsyncGenerator[SourceEvent]:
    """Yield the dashboard, then each changed one, and an unchanged one after _REPEATED_SECONDS.
    While a store is down, nothing is sent."""
    sent, repeated_at = await _dashboard(engines), clock.monotonic() + _REPEATED_SECONDS
    yield SourceEvent(None, sent)
    while True:
        await asyncio.sleep(engines.settings.dashboard_seconds)
        try:
            present = await _dashboard(engines)
        except ShopError:  # the cache has logged it, once for all subscribers
            continue
        if present | {"at": sent["at"]} != sent or clock.monotonic() >= repeated_at:
            sent, repeated_at = present, clock.monotonic() + _REPEATED_SECONDS
            yield SourceEvent(None, sent)


async def _dashboard(engines: Engines) -> Fields:
    return await engines.cache.get("the dashboard", _CACHE_SECONDS, partial(_read_dashboard, engines))


async def _read_dashboard(engines: Engines) -> Fields:
    at = clock.now()
    events, records, executions, health = await asyncio.gather(
        from_stores(engines.event_log.counts),
        from_stores(engines.counts.records),
        from_stores(engines.counts.executions),
        shop_report(engines),
    )
    recent = executions.lately.get("command", Tally()) + executions.lately.get("query", Tally())
    return {
        "at": at,
        "total_events": sum(events.events.values()),
        "events_per_minute": float(events.last_minute),
        "active_sagas": records.unfinished,
        "total_commands": executions.ever_of("command").count,
        "total_queries": executions.ever_of("query").count,
        "system_health": health.status.name.lower(),
        "error_rate": recent.errors / max(1, recent.count),
        "average_latency_ms": round(recent.milliseconds / max(1, recent.count)),
    }


async def dashboard_history(_: Any, info: Info, minutes: int | None = None) -> list[Fields]:
    """Return an entry for each minute, also for those in which nothing was executed or measured."""
    length = bounded("minutes", minutes, 60, _MAX_MINUTES)
    now = clock.now().replace(second=0, microsecond=0)
    since = now - timedelta(minutes=length - 1)
    tallies: dict[datetime, dict[str, Tally]] = {since + timedelta(minutes=n): {} for n in range(length)}
    info.context.loaders.budget.spend(length)
    engines = info.context.engines
    counted, kept = await asyncio.gather(
        from_stores(engines.counts.minutes, since), from_stores(engines.gauges.since, since)
    )
    for one in counted:
        tallies.setdefault(one.minute.astimezone(UTC), {})[one.kind] = one.tally
    gauges = {one.minute: one for one in kept}
    return [{"at": at} | _minute(tally) | vars(gauges.get(at, Gauges(at))) for at, tally in sorted(tallies.items())]


def _minute(tallies: Mapping[str, Tally]) -> Fields:
    commands, queries, deliveries = (tallies.get(kind, Tally()) for kind in ("command", "query", "delivery"))
    asked = commands + queries
    return {
        "commands": commands.count,
        "queries": queries.count,
        "deliveries": deliveries.count,
        "errors": asked.errors,
        "failed_deliveries": deliveries.errors,
        "average_latency_ms": round(asked.milliseconds / asked.count) if asked.count else None,
    }


RESOLVERS: Resolvers = {
    "Query": {
        "systemStatistics": system_statistics,
        "eventStoreStats": event_store_stats,
        "dashboardStats": dashboard_stats,
        "dashboardHistory": dashboard_history,
    },
    "Subscription": {"dashboardStatsStream": LiveField(dashboard_stats_stream)},
}
