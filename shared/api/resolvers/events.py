"""Events: the log, the history of an aggregate, the live stream, masking of personal data."""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence, Set
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Any, NamedTuple
from uuid import UUID

from pydantic.alias_generators import to_camel

from shared.api.budget import COST_OF_EVENT, COST_OF_LINE
from shared.api.context import Info, LiveField, Number, Resolvers, SourceEvent, Text
from shared.api.limits import from_stores
from shared.api.resolvers.common import follow_log, is_admin, limit_of, uuid
from shared.domain.errors import Invalid, NotFound
from shared.domain.events import OrderCreated
from shared.domain.order import AGGREGATES, ORDER
from shared.event_store.aggregates import CODEC, Loaded, history, initial, snapshot_of
from shared.event_store.protocol import EventLog, EventStore, LogEntry, PositionedEvent
from shared.read_models.protocol import Fields
from shared.runtime.engines import Engines
from shared.runtime.execute import entity

_PERSONAL = frozenset({"user_id", "payment_id", "shipping_id", "payment_method", "shipping_method", "reason"})
"""Fields that identify a person or hold a person's own words."""
_MASKED = _PERSONAL | {to_camel(name) for name in _PERSONAL}  # commands have them in camel case
_TIMES = {"created_at", "updated_at"}
"""Fields of an entity that are times of its events, not parts of its state."""
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
    if length == 0 or types == []:
        return []
    if aggregateId is not None:
        streams = [f"{name}-{uuid(aggregateId, 'aggregateId')}" for name in _names(aggregateType)]
        found = await rows(log.of_streams, streams, types or [], after, length)
    elif types is not None:
        found = await rows(log.of_types, types, after, length)
    else:
        found = await rows(log.everything, after, length)
    return await _events_for_actor(info, found)


async def recent_events(_: Any, info: Info, limit: Number = 50) -> Sequence[Fields]:
    length = limit_of(info, limit, default=50)
    found = await info.context.loaders.budget.rows(info.context.engines.event_log.recent, length)
    return await _events_for_actor(info, found)


def _names(aggregate_type: Text) -> Sequence[str]:
    if aggregate_type is None:
        return list(AGGREGATES)
    if aggregate_type.lower() not in AGGREGATES:
        known = ", ".join(AGGREGATES)
        raise Invalid(f"aggregateType must be one of {known}; got {aggregate_type!r:.60}", ("aggregateType",))
    return [aggregate_type.lower()]


def _types(aggregate_type: Text, event_type: Text) -> list[str] | None:
    """Return the wanted event types: None for all, [] when no type satisfies both arguments."""
    known = [kind.__name__ for name in _names(aggregate_type) for kind in AGGREGATES[name].event_types]
    if event_type is not None:
        return [event_type] if event_type in known else []
    return known if aggregate_type is not None else None


async def event_stream(info: Info, aggregateType: Text = None, eventType: Text = None) -> AsyncGenerator[SourceEvent]:
    types = _types(aggregateType, eventType)
    if types == []:
        raise Invalid(f"eventType {eventType!r:.60} is no event of {aggregateType or 'this shop'}", ("eventType",))
    engines, wanted_types = info.context.engines, frozenset(types or ())

    def wanted(entry: LogEntry) -> bool:
        return not wanted_types or entry.event.type in wanted_types

    return await follow_log(info, engines.event_store.end, engines.tail, wanted)


async def _event_for_actor(entry: LogEntry, info: Info, **_: Any) -> Fields:
    (event,) = await _events_for_actor(info, [PositionedEvent(entry.checkpoint.position, entry.event)])
    return event


async def _events_for_actor(info: Info, found: Sequence[PositionedEvent]) -> Sequence[Fields]:
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
    """Return the streams whose personal data the actor may see: an admin all, others their orders."""
    actor = info.context.actor
    if is_admin(info):
        return streams
    if actor.uid is None:
        return set()
    orders = sorted(stream for stream in streams if stream.startswith(f"{ORDER.name}-"))
    owners = await _owners(info.context.engines).of(orders)
    return {stream for stream, owner in owners.items() if actor.may_see(owner)}


def masked(data: Fields) -> Fields:
    """Replace personal data in an event's or a command's data."""
    return data | dict.fromkeys(_MASKED & data.keys(), "***")


class _Owners:
    """The user of each order, which never changes. Read from the log: read models lag behind it."""

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


class _Step(NamedTuple):
    event: PositionedEvent
    before: Loaded[Any]
    after: Loaded[Any]


async def event_history(
    _: Any, info: Info, aggregateId: str, limit: Number = 100, afterVersion: Number = None
) -> Sequence[Fields]:
    """Return each event of an aggregate with the states before and after it and their differences."""
    aggregate_id, after = UUID(uuid(aggregateId, "aggregateId")), afterVersion or 0
    length = limit_of(info, limit, default=100)
    if after < 0:
        raise Invalid(f"afterVersion must be 0 or the version of an event; got {after}", ("afterVersion",))
    budget = info.context.loaders.budget
    spend = partial(budget.spend, COST_OF_EVENT)
    steps = await budget.rows(_steps, info.context.engines.event_store, aggregate_id, (after, length), spend)
    budget.spend(sum(map(_cost_of_states, steps)))
    events = await _events_for_actor(info, [step.event for step in steps])
    return [_history_entry(info, step, event) for step, event in zip(steps, events, strict=True)]


def _cost_of_states(step: _Step) -> int:
    """Return the cost of an entry's states: the lines of an order are in the event, both states and their changes."""
    return 4 * COST_OF_LINE * len(getattr(step.after.state, "items", ()))


def _steps(store: EventStore, aggregate_id: UUID, page: tuple[int, int], spend: Callable[[], None]) -> Sequence[_Step]:
    """Return a page of steps, folded from the snapshot unless it is newer. Raise NotFound for an unknown id."""
    after, length = page
    for aggregate in AGGREGATES.values():
        ref = aggregate.ref(aggregate_id)
        snapshot = snapshot_of(store, ref)
        steps = _steps_since(store, snapshot if snapshot and snapshot.version <= after else initial(ref), spend)
        first = next(steps, None)
        if first or snapshot:
            return list(islice((step for step in chain([first], steps) if step and step.after.version > after), length))
    raise NotFound(f"no aggregate has the id {aggregate_id}", ("aggregateId",))


def _steps_since(store: EventStore, before: Loaded[Any], spend: Callable[[], None]) -> Iterator[_Step]:
    for entry, loaded in history(store, before):
        spend()
        yield _Step(PositionedEvent(entry.checkpoint.position, entry.event), before, loaded)
        before = loaded


def _state(loaded: Loaded[Any]) -> Fields:
    return {} if loaded.version == 0 else {name: value for name, value in entity(loaded).items() if name not in _TIMES}


def _history_entry(info: Info, step: _Step, event: Fields) -> Fields:
    was, became = _state(step.before), _state(step.after)
    visible = info.context.actor.may_see(became.get("user_id", ""))
    before, after = (state if visible else _masked_state(state) for state in (was, became))
    changed = [name for name, value in became.items() if name not in was or was[name] != value]
    return {
        "event": event,
        "before": _in_camel_case(before) if before else None,
        "after": _in_camel_case(after),
        "changes": [
            {
                "field": to_camel(name),
                "before": _in_camel_case(before.get(name)),
                "after": _in_camel_case(after[name]),
            }
            for name in changed
        ],
    }


def _masked_state(state: Fields) -> Fields:
    return {name: "***" if name in _PERSONAL and value is not None else value for name, value in state.items()}


def _in_camel_case(value: Any) -> Any:
    """Rename the keys of a state, at every depth, to the names that the API uses."""
    if isinstance(value, Mapping):
        return {to_camel(name): _in_camel_case(inner) for name, inner in value.items()}
    return [_in_camel_case(inner) for inner in value] if isinstance(value, list) else value


RESOLVERS: Resolvers = {
    "Query": {"events": events, "recentEvents": recent_events, "eventHistory": event_history},
    "Subscription": {"eventStream": LiveField(event_stream, _event_for_actor)},
}
