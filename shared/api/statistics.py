"""Resolvers that tell how much there is, how much is going on, and how far the projections have got: numbers of the whole
shop, from its stores, found out once for all who ask this process within a second or two."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from shared.api.context import Info, from_stores
from shared.api.monitoring import of_the_shop
from shared.auth.permissions import Permission
from shared.domain.errors import ShopError
from shared.event_store.log import Counts as EventCounts
from shared.event_store.log import Seen
from shared.messaging.dead_letter_store import Trouble
from shared.observability.report import EVENT_TYPES
from shared.read_models.project import FED_BY, not_yet_in
from shared.read_models.protocol import Extent, Fields
from shared.runtime.counts import Asked, Records, Tally
from shared.runtime.engines import Engines
from shared.runtime.manifest import Function, manifest

_KEPT, _PROJECTIONS_KEPT = 1.0, 2.0
"""Seconds."""
_NEWEST = 500
"""Events of each kind that are looked at when a projection is behind."""
_LATE = 10.0
"""Seconds that a projection may be behind while all is well."""
_NEVER = datetime.min.replace(tzinfo=UTC)


async def system_statistics(_: Any, info: Info) -> Fields:
    engines = info.context.engines
    return await engines.kept.get("the statistics", _KEPT, partial(_statistics, engines))


async def _statistics(engines: Engines) -> Fields:
    events, records, extents = await asyncio.gather(
        from_stores(engines.event_log.counts),
        from_stores(engines.counts.records),
        asyncio.gather(*(engines.queries.extent(name) for name in FED_BY)),
    )
    held = {"sagas": sum(records.sagas.values()), **records.others}
    return {
        "event_store": _database({"events": sum(events.events.values())}, events.last_recorded_at),
        "command_db": _database(held, records.updated_at),
        "query_db": _read_models(dict(zip(FED_BY, extents, strict=True))),
        "sagas": _sagas(records),
    }


def _database(held: Mapping[str, int], updated_at: datetime | None) -> Fields:
    parts = [{"name": name, "count": number} for name, number in sorted(held.items()) if number]
    return {"total_records": sum(held.values()), "last_updated": _told(updated_at), "records": parts}


def _read_models(extents: Mapping[str, Extent]) -> Fields:
    newest = max((one.updated_at for one in extents.values() if one.updated_at), default=None)
    return {name: extent.documents for name, extent in extents.items()} | {"last_updated": _told(newest)}


def _sagas(records: Records) -> Fields:
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
    async with engines.tail.seat():
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
    return await engines.kept.get("the dashboard", _KEPT, partial(_looked_at, engines))


async def _looked_at(engines: Engines) -> Fields:
    events, records, asked, health = await asyncio.gather(
        from_stores(engines.event_log.counts),
        from_stores(engines.counts.records),
        from_stores(engines.counts.asked),
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
    hidden = {} if info.context.actor.may(Permission.ADMIN) else {"last_error": None}
    return [one | hidden for one in await projections(info.context.engines)]


async def projections(engines: Engines) -> Sequence[Fields]:
    return await engines.kept.get("the projections", _PROJECTIONS_KEPT, partial(_projections, engines))


async def _projections(engines: Engines) -> Sequence[Fields]:
    """The events are counted first: what is recorded and applied meanwhile is not taken for a backlog."""
    functions = [one for one in manifest().functions.values() if one.group == "projections"]
    names = [name for one in functions for name in _subscriptions(one)]
    events, asked, troubles = await asyncio.gather(
        from_stores(engines.event_log.counts),
        from_stores(engines.counts.asked),
        from_stores(engines.dead_letters.troubles, names),
    )
    behind = await asyncio.gather(*(_behind(engines, _read_model(one), events) for one in functions))
    return [_projection(one, lag, asked, troubles) for one, lag in zip(functions, behind, strict=True)]


def _read_model(projection: Function) -> str:
    return projection.name.removeprefix("project_")


def _subscriptions(projection: Function) -> list[str]:
    return [one.name for one in manifest().all_subscriptions if one.endpoint == projection.name]


@dataclass(frozen=True)
class _Lag:
    """`events`: that it has not applied. `since`: when the oldest of them that is known was recorded. `position`: up to
    which it has applied everything, None when that is further back than was looked."""

    applied: int
    events: int = 0
    since: datetime | None = None
    position: int | None = None

    @property
    def seconds(self) -> float | None:
        if not self.events:
            return 0.0
        return max(0.0, (datetime.now(UTC) - self.since).total_seconds()) if self.since else None


async def _behind(engines: Engines, read_model: str, events: EventCounts) -> _Lag:
    """Every event of a stream adds one to the version that its document has when it is applied, so what is missing in the
    sum of all versions is the number of events that have not been applied, however many there are."""
    found = [await _behind_with(engines, source, collection, events) for source, collection in FED_BY[read_model]]
    positions = [one.position for one in found]
    return _Lag(
        sum(one.applied for one in found),
        sum(one.events for one in found),
        min((one.since for one in found if one.since), default=None),
        None if None in positions else min(position for position in positions if position is not None),
    )


async def _behind_with(engines: Engines, source: str, collection: str, events: EventCounts) -> _Lag:
    applied = (await engines.queries.extent(collection)).events
    missing = max(0, events.of(source) - applied)
    if not missing:
        return _Lag(applied, position=events.counted_to)
    newest = await from_stores(engines.event_log.recent, _NEWEST, EVENT_TYPES[source])
    late = {one.id for one in await not_yet_in(engines.queries, collection, [seen.event for seen in newest])}
    since = min((seen.event.recorded_at for seen in newest if seen.event.id in late), default=None)
    return _Lag(applied, missing, since, _before(newest, late) if len(late) >= missing else None)


def _before(newest: Sequence[Seen], late: set[Any]) -> int | None:
    """The number of the event before the first that is late, 0 when that is the first of all."""
    first = max(index for index, seen in enumerate(newest) if seen.event.id in late)
    if first + 1 < len(newest):
        return newest[first + 1].position
    return None if len(newest) == _NEWEST else 0


def _projection(function: Function, lag: _Lag, asked: Asked, troubles: Mapping[str, Trouble]) -> Fields:
    names = _subscriptions(function)
    delivered = sum((asked.ever.get(("delivery", name), Tally()) for name in names), Tally())
    last = max((troubles[name] for name in names), key=lambda trouble: trouble.at or _NEVER)
    return {
        "name": function.name,
        "read_model": _read_model(function),
        "status": _status(lag, last.at),
        "position": lag.position,
        "lag_events": lag.events,
        "lag_seconds": lag.seconds,
        "processed_count": lag.applied,
        "last_processed_at": delivered.succeeded_at,
        "deliveries": delivered.count,
        "failed_deliveries": delivered.errors,
        "dead_letters": sum(troubles[name].pending for name in names),
        "last_error": last.error,
        "last_error_at": last.at,
    }


def _status(lag: _Lag, failed_at: datetime | None) -> str:
    if lag.events and failed_at and (lag.since is None or failed_at >= lag.since - timedelta(seconds=1)):
        return "FAILING"
    return "LAGGING" if lag.events and (lag.seconds is None or lag.seconds >= _LATE) else "RUNNING"
