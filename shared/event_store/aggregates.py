"""Between the domain and the event store: load aggregates by folding their events, turn new events
into records and messages, and read events of older schema versions."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar, cast

import structlog
from pydantic import AwareDatetime, Field, Strict, ValidationError

from shared.domain.aggregate import Ref, topic_of
from shared.domain.errors import Invalid
from shared.domain.events import Event
from shared.domain.faults import at, first_fault
from shared.domain.order import AGGREGATE_OF, ORDER
from shared.domain.personal import PERSONAL
from shared.domain.values import adapter, from_store
from shared.event_store.protocol import Checkpoint, EventRecord, EventStore, LogEntry, Snapshot
from shared.messaging.envelope import DATA, Message
from shared.observability.context import Context
from shared.resilience import clock

State = TypeVar("State")
_log = structlog.get_logger()

SNAPSHOT_EVERY = 100  # events; to read a hundred of them costs about as much as to read one snapshot
_PAGE = 500  # events of a history that are in memory at once
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Loaded(Generic[State]):
    """A state and its stream's version. `created_at`, `updated_at`: when its first and last event
    were recorded."""

    ref: Ref[State]
    state: State
    version: int = 0
    created_at: datetime = _EPOCH
    updated_at: datetime = _EPOCH

    def then(self, events: Sequence[EventRecord]) -> "Loaded[State]":
        """Return the state after further events of the same stream."""
        if not events:
            return self
        state = self.ref.aggregate.fold((CODEC.decode(event) for event in events), self.state)
        created_at = self.created_at if self.version else events[0].recorded_at
        return Loaded(self.ref, state, events[-1].version, created_at, events[-1].recorded_at)


def load(store: EventStore, refs: Sequence[Ref[State]]) -> list[Loaded[State]]:
    """Return aggregates of one type in the order of `refs`, in two round trips."""
    if not refs:
        return []
    aggregate = refs[0].aggregate
    streams = [ref.stream for ref in refs]
    snapshots = store.snapshots(streams, aggregate.snapshot_schema)
    tails = store.read(streams, {stream: snapshot.version for stream, snapshot in snapshots.items()})
    return [_from_snapshot(ref, snapshots.get(ref.stream)).then(tails[ref.stream]) for ref in refs]


def initial(ref: Ref[State]) -> Loaded[State]:
    """Return the state before the stream's first event."""
    return Loaded(ref, ref.aggregate.initial)


def history(store: EventStore, loaded: Loaded[State]) -> Iterator[tuple[LogEntry, Loaded[State]]]:
    """Yield each event after a state of its stream, with the state after it. Read page by page."""
    while page := store.read_stream(loaded.ref.stream, loaded.version, _PAGE):
        for entry in page:
            loaded = loaded.then([entry.event])
            yield entry, loaded


def snapshot_of(store: EventStore, ref: Ref[State]) -> Loaded[State] | None:
    """Return the state of the stream's snapshot."""
    snapshot = store.snapshots([ref.stream], ref.aggregate.snapshot_schema).get(ref.stream)
    return _from_snapshot(ref, snapshot) if snapshot else None


def state_by(store: EventStore, ref: Ref[State], seen: Checkpoint) -> Loaded[State]:
    """Return a state from which all later events of a stream follow that a reader up to `seen` has
    not seen: the state of its snapshot, or the initial one when the snapshot has more."""
    snapshot = snapshot_of(store, ref)
    last = store.read_stream(ref.stream, snapshot.version - 1, 1) if snapshot else []
    return snapshot if snapshot and last and last[0].checkpoint <= seen else initial(ref)


def states_at(
    store: EventStore, ref: Ref[State], moments: Sequence[datetime], spend: Callable[[], None]
) -> dict[datetime, Loaded[State] | None]:
    """Return the states before the first event that was recorded after each moment; None before the
    stream began.

    Fold once for all moments, from the snapshot unless it is newer than one of them. `spend`:
    called for each event.
    """
    left, states = sorted(set(moments)), dict[datetime, Loaded[State] | None]()
    snapshot = snapshot_of(store, ref)
    state = snapshot if snapshot and snapshot.updated_at <= left[0] else None
    for entry, loaded in history(store, state or initial(ref)):
        spend()
        while left and entry.event.recorded_at > left[0]:
            states[left.pop(0)] = state
        if not left:
            break
        state = loaded
    return states | dict.fromkeys(left, state)


def _from_snapshot(ref: Ref[State], snapshot: Snapshot | None) -> Loaded[State]:
    if snapshot is None:
        return initial(ref)
    state = from_store(type(ref.aggregate.initial), snapshot.state, f"the snapshot of {ref.stream}")
    return Loaded(ref, state, snapshot.version, snapshot.created_at, snapshot.updated_at)


def snapshot_if_due(store: EventStore, before: int, after: Loaded[Any]) -> None:
    """Save the state when it has passed a multiple of SNAPSHOT_EVERY events since the version
    `before`.

    A failure is only logged: the append has happened, and without the snapshot the next load takes
    longer.
    """
    if before // SNAPSHOT_EVERY == after.version // SNAPSHOT_EVERY:
        return
    aggregate, stream = after.ref.aggregate, after.ref.stream
    try:
        state = adapter(type(aggregate.initial)).dump_python(after.state, mode="json")
        times = after.created_at, after.updated_at
        store.save_snapshot(Snapshot(stream, after.version, aggregate.snapshot_schema, state, *times))
    except Exception:
        _log.exception("a snapshot was not saved", stream=stream, version=after.version)


def records(loaded: Sequence[Loaded[Any]], events: Sequence[Any], context: Context) -> list[EventRecord]:
    """Return a record of each new event, at the end of its stream. Each stream must be among
    `loaded`."""
    versions = {aggregate.ref.stream: aggregate.version for aggregate in loaded}
    now = clock.now()
    new = []
    for event in events:
        stream = AGGREGATE_OF[type(event)].stream_of(event)
        versions[stream] += 1
        name, schema_version, data = CODEC.encode(event)
        new.append(EventRecord(clock.new_id(), stream, versions[stream], name, schema_version, data, context, now))
    return new


Data = dict[str, Any]
Upcaster = Callable[[Data], Data]

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""By event type and schema version: the function that turns data of this version into data of the
next.

With `schema_version = 2` on `ProductCreated`, this makes every stored event of version 1 readable
as version 2:

    UPCASTERS = {("ProductCreated", 1): lambda data: data | {"tax_class": "standard"}}

Stored events are never rewritten.
"""


class UnknownEvent(Exception):
    """This code can't read the event type or schema version: the code is older than the data, or an
    upcaster is missing."""


class Codec:
    """`types`: the event classes. A class without the attribute `schema_version` has schema version
    1."""

    def __init__(self, types: Iterable[type[Any]], upcasters: Mapping[tuple[str, int], Upcaster]) -> None:
        self._types = {event_type.__name__: event_type for event_type in types}
        self._upcasters = upcasters

    def encode(self, event: object) -> tuple[str, int, Data]:
        """Return an event's name, schema version and JSON data."""
        name = type(event).__name__
        data: Data = adapter(type(event)).dump_python(event, mode="json")
        return name, _schema_version(type(event)), data

    def decode(self, record: EventRecord) -> Event:
        """Return the event of a record, upcast to its current schema version. Raise UnknownEvent
        and MalformedData."""
        if record.type not in self._types:
            raise UnknownEvent(f"no event is called {record.type} ({record.stream}, version {record.version})")
        current = _schema_version(self._types[record.type])
        data = record.data
        for version in range(record.schema_version, current):
            if (record.type, version) not in self._upcasters:
                raise UnknownEvent(f"no upcaster for {record.type} from schema version {version} to {version + 1}")
            data = self._upcasters[record.type, version](data)
        if record.schema_version > current:
            raise UnknownEvent(f"{record.type} has schema version {record.schema_version}; this code knows {current}")
        what = f"{record.type}, version {record.version} of {record.stream},"
        return cast(Event, from_store(self._types[record.type], data, what))


def _schema_version(event_type: type[Any]) -> int:
    return getattr(event_type, "schema_version", 1)


CODEC = Codec(AGGREGATE_OF, UPCASTERS)


def announcement(event: EventRecord) -> Message:
    """Return the message that announces an event: on the topic of its aggregate, with the event's
    own id.

    It is a hint, whose consumers read the event from the store. So it has nothing personal in it,
    encrypted or not, that would be left in topics and dead letters after an erasure.
    """
    hidden = (PERSONAL | {"sealed"}) if event.stream.startswith(f"{ORDER.name}-") else frozenset()
    content = {name: value for name, value in event.data.items() if name not in hidden}
    context = event.metadata if content.keys() == event.data.keys() else replace(event.metadata, actor="system")
    data = {"version": event.version, "schema_version": event.schema_version, "data": content}
    data |= {"recorded_at": event.recorded_at.isoformat()}
    about = topic_of(event.stream), event.type, event.stream
    return Message(*about, data, context, id=event.id, time=event.recorded_at)


@dataclass(frozen=True)
class _Announced:
    version: Annotated[int, Strict(), Field(ge=1)]
    schema_version: Annotated[int, Strict(), Field(ge=1)]
    data: Data
    recorded_at: AwareDatetime


def announced(message: Message) -> EventRecord:
    """Return the event that a message announces. Raise Invalid when it announces none."""
    try:
        body = adapter(_Announced).validate_python(message.data)
    except ValidationError as error:
        path, fault = first_fault(error)
        raise Invalid(f"the message announces no event: {at(path or ('the data',), fault)}", (*DATA, *path)) from error
    head = message.id, message.subject, body.version, message.type, body.schema_version
    return EventRecord(*head, body.data, message.context, body.recorded_at)
