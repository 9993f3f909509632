"""Events: the log, the history of an aggregate, the live stream, masking of personal data."""

from collections.abc import AsyncGenerator, Mapping, Sequence, Set
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from shared.api.connections import AT, NUMBER, Connection, Listing, connect
from shared.api.context import Info, LiveField, Number, Resolvers, SourceEvent, Text
from shared.api.inputs import trace_id, uuid
from shared.api.limits import from_stores
from shared.api.resolvers.common import follow_log, is_admin, limit_of, one_of, require_admin
from shared.api.resolvers.listings import is_descending
from shared.domain.events import OrderCreated
from shared.domain.order import AGGREGATES, ORDER
from shared.domain.personal import masked
from shared.event_store.aggregates import CODEC
from shared.event_store.protocol import EventLog, Events, LogEntry, PositionedEvent
from shared.postgres.slices import Slice
from shared.postgres.text import storable
from shared.read_models.protocol import Fields
from shared.runtime.engines import Engines

_MAX_OWNERS = 10_000


async def events(
    _: Any,
    info: Info,
    aggregateId: Text = None,
    aggregateType: Text = None,
    eventType: Text = None,
    limit: Number = 100,
    afterId: Number = None,
) -> Sequence[Fields]:
    """Return events in the log's order, after the event whose id is `afterId`."""
    length, types = limit_of(info, limit, default=100), _types(aggregateType, eventType)
    log, after = info.context.engines.event_log, max(0, afterId or 0)
    rows = info.context.loaders.budget.rows
    if length == 0:
        return []
    if aggregateId is not None:
        streams = [f"{name}-{uuid(aggregateId, 'aggregateId')}" for name in _names(aggregateType)]
        found = await rows(log.of_streams, streams, types or [], after, length)
    elif types is not None:
        found = await rows(log.of_types, types, after, length)
    else:
        found = await rows(log.everything, after, length)
    return await events_for_actor(info, found)


async def recent_events(_: Any, info: Info, limit: Number = 50) -> Sequence[Fields]:
    length = limit_of(info, limit, default=50)
    found = await info.context.loaders.budget.rows(info.context.engines.event_log.recent, length)
    return await events_for_actor(info, found)


async def events_connection(_: Any, info: Info, filter: Fields | None = None, **page: Any) -> Connection[LogEntry]:
    which, engines = await _wanted(info, filter or {}), info.context.engines

    async def read(part: Slice) -> Sequence[LogEntry]:
        return await info.context.loaders.budget.rows(engines.event_log.page, which, part)

    async def count() -> tuple[int, int]:
        if which == Events(types=which.types):
            kept = (await info.context.loaders.once("counts", partial(from_stores, engines.event_log.counts))).events
            return sum(number for (kind, _), number in kept.items() if kind in (which.types or [kind])), 0
        number = await from_stores(engines.event_log.count, which)
        return number, number

    async def show(found: Sequence[LogEntry]) -> Sequence[Fields]:
        return await events_for_actor(info, [PositionedEvent(one.checkpoint.position, one.event) for one in found])

    kind = {"version": tuple[NUMBER], "time": tuple[AT, NUMBER], "log": tuple[NUMBER, NUMBER, NUMBER]}[which.order]
    listing = Listing(which.order.upper(), kind, which.key, read, count, show, is_descending(page))
    return await connect(info, listing, page)


async def _wanted(info: Info, filter: Fields) -> Events:
    """Return what a filter selects. Raise Invalid; Unauthenticated or Forbidden for a correlation,
    causation or trace id, which is masked."""
    aggregate_id = filter.get("aggregateId")
    correlation_id, causation_id = (
        text and storable(text) for text in map(filter.get, ("correlationId", "causationId"))
    )
    origin = Events(correlation_id=correlation_id, trace_id=trace_id(filter.get("traceId")), causation_id=causation_id)
    if origin.is_of_one_origin:
        require_admin(info)
    types = _types(filter.get("aggregateType"), filter.get("eventType"), "filter")
    period = filter.get("recordedAfter"), filter.get("recordedBefore")
    if aggregate_id is None:
        every = [kind.__name__ for aggregate in AGGREGATES.values() for kind in aggregate.event_types]
        timed = any(period) and not origin.is_of_one_origin
        kinds = types or (every if timed else None)
        return replace(origin, types=kinds, recorded_after=period[0], recorded_before=period[1])
    aggregate_id = uuid(aggregate_id, "filter", "aggregateId")
    streams = [f"{name}-{aggregate_id}" for name in _names(filter.get("aggregateType"), "filter")]
    first = await from_stores(info.context.engines.event_log.of_places, [(stream, 1) for stream in streams])
    stream = next((one.event.stream for one in first), streams[0])
    return replace(origin, stream=stream, types=types, recorded_after=period[0], recorded_before=period[1])


def _names(aggregate_type: Text, *within: str) -> Sequence[str]:
    name = one_of(AGGREGATES, aggregate_type, *within, "aggregateType")
    return [name] if name else list(AGGREGATES)


def _types(aggregate_type: Text, event_type: Text, *within: str) -> list[str] | None:
    """Return the wanted event types, None for all. Raise Invalid for one that the aggregate does
    not have."""
    known = [kind.__name__ for name in _names(aggregate_type, *within) for kind in AGGREGATES[name].event_types]
    kind = one_of(known, event_type, *within, "eventType")
    return [kind] if kind else known if aggregate_type is not None else None


async def event_stream(info: Info, aggregateType: Text = None, eventType: Text = None) -> AsyncGenerator[SourceEvent]:
    types = _types(aggregateType, eventType)
    engines, wanted_types = info.context.engines, frozenset(types or ())

    def wanted(entry: LogEntry) -> bool:
        return not wanted_types or entry.event.type in wanted_types

    return await follow_log(info, engines.event_store.end, engines.tail, wanted)


async def _event_for_actor(entry: LogEntry, info: Info, **_: Any) -> Fields:
    (event,) = await events_for_actor(info, [PositionedEvent(entry.checkpoint.position, entry.event)])
    return event


async def events_for_actor(info: Info, found: Sequence[PositionedEvent]) -> Sequence[Fields]:
    visible = await visible_streams(info, {positioned.event.stream for positioned in found})
    return [_fields(positioned, positioned.event.stream in visible) for positioned in found]


def _fields(positioned: PositionedEvent, personal: bool) -> Fields:
    event = positioned.event
    aggregate, _, aggregate_id = event.stream.partition("-")
    return {
        "id": positioned.position,
        "aggregate_id": aggregate_id,
        "aggregate_type": aggregate,
        "event_type": event.type,
        "event_data": event.data if personal else masked(event.data),
        "event_version": event.version,
        "global_sequence": positioned.position,
        "metadata": vars(event.metadata) if personal else None,
        "inserted_at": event.recorded_at.isoformat().replace("+00:00", "Z"),
    }


async def visible_streams(info: Info, streams: Set[str]) -> Set[str]:
    """Return the streams whose personal data the actor may see: an admin all, others their
    orders."""
    actor = info.context.actor
    if is_admin(info):
        return streams
    if actor.uid is None:
        return set()
    orders = sorted(stream for stream in streams if stream.startswith(f"{ORDER.name}-"))
    owners = await _owners(info.context.engines).of(orders)
    return {stream for stream, owner in owners.items() if actor.may_see(owner)}


class _Owners:
    """The user of each order, which never changes: of an erased order there is nothing left to
    hide. Read from the log: read models lag behind it."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._cached: dict[str, str] = {}

    async def of(self, streams: Sequence[str]) -> Mapping[str, str]:
        known = {stream: self._cached[stream] for stream in streams if stream in self._cached}
        unknown = [stream for stream in streams if stream not in known]
        if unknown:
            first = await from_stores(self._log.of_streams, unknown, [OrderCreated.__name__], 0, len(unknown))
            created = {positioned.event.stream: CODEC.decode(positioned.event) for positioned in first}
            known |= {stream: event.user_id for stream, event in created.items() if isinstance(event, OrderCreated)}
            if len(self._cached) > _MAX_OWNERS:
                self._cached.clear()
            self._cached |= known
        return known


@lru_cache(maxsize=1)
def _owners(engines: Engines) -> _Owners:
    return _Owners(engines.event_log)


RESOLVERS: Resolvers = {
    "Query": {"events": events, "eventsConnection": events_connection, "recentEvents": recent_events},
    "Subscription": {"eventStream": LiveField(event_stream, _event_for_actor)},
}
