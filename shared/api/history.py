"""What happened, for those who watch the shop: the log of events, how many there are, and what was asked for."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from typing import Any

from pydantic.alias_generators import to_camel

from shared.api.context import Info, from_stores
from shared.api.queries import page_of, uuid
from shared.auth.permissions import Role
from shared.dead_letters.protocol import storable
from shared.domain.category import CATEGORY
from shared.domain.errors import Invalid
from shared.domain.events import OrderCreated
from shared.domain.order import ORDER
from shared.domain.product import PRODUCT
from shared.event_store.aggregates import CODEC
from shared.event_store.protocol import EventLog, PositionedEvent
from shared.monitoring.executions import Execution, ExecutionFilter, Kind
from shared.read_models.protocol import Fields
from shared.runtime.engines import Engines

AGGREGATES = {aggregate.name: aggregate for aggregate in (CATEGORY, PRODUCT, ORDER)}
PERSONAL = frozenset({"user_id", "payment_id", "shipping_id", "payment_method", "shipping_method", "reason"})
"""Fields of events that say who somebody is, or what they wrote."""
_MASKED = PERSONAL | {to_camel(name) for name in PERSONAL}  # commands have them in camel case
_KEPT = 10_000
"""Owners of orders."""
_MOST_EVENTS = 5
"""That one command records on one stream."""


async def events(
    _: Any,
    info: Info,
    aggregateId: str | None = None,
    aggregateType: str | None = None,
    eventType: str | None = None,
    limit: int | None = 100,
    afterId: int | None = None,
) -> Sequence[Fields]:
    """In the log's order; `afterId` is the id of the last one that was seen."""
    length, _offset = page_of({"limit": limit}, info.context.engines.settings, default=100)
    log, after, types = info.context.engines.event_log, max(0, afterId or 0), types_of(aggregateType, eventType)
    if length == 0 or types == []:
        return []
    if aggregateId is not None:
        streams = [f"{name}-{uuid(aggregateId, 'aggregateId')}" for name in _names(aggregateType)]
        found = await from_stores(log.of_streams, streams, types or [], after, length)
    elif types is not None:
        found = await from_stores(log.of_types, types, after, length)
    else:
        found = await from_stores(log.everything, after, length)
    return await shown(info, found)


async def recent_events(_: Any, info: Info, limit: int | None = 50) -> Sequence[Fields]:
    length, _offset = page_of({"limit": limit}, info.context.engines.settings, default=50)
    return await shown(info, await from_stores(info.context.engines.event_log.recent, length))


async def event_store_stats(_: Any, info: Info) -> Fields:
    counts = await from_stores(info.context.engines.event_log.counts)
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


def _names(aggregate_type: str | None) -> Sequence[str]:
    if aggregate_type is None:
        return list(AGGREGATES)
    if aggregate_type.lower() not in AGGREGATES:
        known = ", ".join(AGGREGATES)
        raise Invalid(f"aggregateType must be one of {known}, not {aggregate_type!r:.60}", ("aggregateType",))
    return [aggregate_type.lower()]


def types_of(aggregate_type: str | None, event_type: str | None) -> list[str] | None:
    """The types of events that are wanted; None for all, an empty list when nothing can be both."""
    known = [kind.__name__ for name in _names(aggregate_type) for kind in AGGREGATES[name].event_types]
    if event_type is not None:
        return [event_type] if event_type in known else []
    return known if aggregate_type is not None else None


async def shown(info: Info, found: Sequence[PositionedEvent]) -> Sequence[Fields]:
    """Events as this actor may see them: personal data is for admins and for the owner of the order."""
    personal = await seen_through({seen.event.stream for seen in found}, info)
    return [_fields(seen, seen.event.stream in personal) for seen in found]


async def seen_through(streams: Set[str], info: Info) -> Set[str]:
    """Those of the streams whose personal data this actor may see: all for admins, for others their own orders."""
    actor = info.context.actor
    if actor.role is Role.ADMIN:
        return streams
    if actor.uid is None:
        return set()
    orders = sorted(stream for stream in streams if stream.startswith(f"{ORDER.name}-"))
    owners = await _owners_known(info.context.engines).of(orders)
    return {stream for stream, owner in owners.items() if actor.may_see(owner)}


def masked(data: Fields) -> Fields:
    """An event's or a command's, without what is personal."""
    return data | dict.fromkeys(_MASKED & data.keys(), "***")


class Owners:
    """Who ordered what. It never changes, so it is kept; and it is read where it was written, for a read model may not
    know yet."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._known: dict[str, str] = {}

    async def of(self, streams: Sequence[str]) -> Mapping[str, str]:
        known = {stream: self._known[stream] for stream in streams if stream in self._known}
        unknown = [stream for stream in streams if stream not in known]
        if unknown:
            first = await from_stores(self._log.of_streams, unknown, [OrderCreated.__name__], 0, len(unknown))
            found = {seen.event.stream: CODEC.decode(seen.event) for seen in first}
            known |= {stream: event.user_id for stream, event in found.items() if isinstance(event, OrderCreated)}
            if len(self._known) > _KEPT:
                self._known.clear()
            self._known |= known
        return known


@lru_cache(maxsize=1)
def _owners_known(engines: Engines) -> Owners:
    return Owners(engines.event_log)


def _fields(seen: PositionedEvent, personal: bool) -> Fields:
    event = seen.event
    aggregate, _, aggregate_id = event.stream.partition("-")
    return {
        "id": seen.position,
        "aggregate_id": aggregate_id,
        "aggregate_type": aggregate,
        "event_type": event.type,
        "event_data": event.data if personal else masked(event.data),
        "event_version": event.version,
        "global_sequence": seen.position,
        "metadata": vars(event.metadata) if personal else None,
        "inserted_at": event.recorded_at.isoformat().replace("+00:00", "Z"),
    }


async def query_executions(
    _: Any, info: Info, queryType: str | None = None, status: str | None = None, **page: Any
) -> list[Fields]:
    found = await _executions(info, "query", queryType, status, page)
    return [
        _execution(one, info)
        | {
            "query_type": one.name,
            "query_params": one.data.get("asked") if _admin(info) else None,
            "result_count": one.data.get("results"),
        }
        for one in found
    ]


async def command_executions(
    _: Any, info: Info, commandType: str | None = None, status: str | None = None, **page: Any
) -> list[Fields]:
    found = await _executions(info, "command", commandType, status, page)
    generated = await from_stores(_generated, info, found)
    return [
        _execution(one, info)
        | {
            "command_type": one.name,
            "command_data": one.data.get("asked") if _admin(info) else None,
            "aggregate_type": (one.subject or "").partition("-")[0] or None,
            "aggregate_id": (one.subject or "").partition("-")[2] or None,
            "events_generated": generated.get(one.data.get("causationId", ""), []),
        }
        for one in found
    ]


async def _executions(
    info: Info, kind: Kind, name: str | None, status: str | None, page: Mapping[str, Any]
) -> list[Execution]:
    limit, _offset = page_of({"limit": page.get("limit")}, info.context.engines.settings, default=100)
    after = page.get("afterTimestamp")
    wanted = ExecutionFilter(kind, storable(name) if name else None, storable(status) if status else None, after, limit)
    return await from_stores(info.context.engines.executions.find, wanted) if limit else []


def _execution(one: Execution, info: Info) -> Fields:
    return {
        "id": str(one.id),
        "execution_time_ms": one.milliseconds,
        "status": one.status,
        "error_message": one.error if _admin(info) else None,
        "timestamp": one.recorded_at,
    }


def _generated(info: Info, found: Sequence[Execution]) -> dict[str, list[str]]:
    """The types of the events that each command made, by its causation id, in one read for all: they are the last before the
    version that it left."""
    left = {(one.subject, one.data["version"]) for one in found if one.subject and one.data.get("version")}
    places = {(stream, version - back) for stream, version in left for back in range(min(version, _MOST_EVENTS))}
    made: dict[str, list[str]] = {}
    for seen in info.context.engines.event_log.of_places(sorted(places)) if places else ():
        made.setdefault(seen.event.metadata.causation_id, []).append(seen.event.type)
    return made


def _admin(info: Info) -> bool:
    return info.context.actor.role is Role.ADMIN
