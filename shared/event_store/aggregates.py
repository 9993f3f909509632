"""Aggregates to and from the event store: load by folding, record by appending."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import structlog
from uuid_utils.compat import uuid7

from shared.domain.aggregate import Ref
from shared.domain.decoding import adapter
from shared.event_store.codec import CODEC
from shared.event_store.protocol import EventRecord, EventStore, Snapshot
from shared.observability.context import Context

State = TypeVar("State")

_log = structlog.get_logger()

SNAPSHOT_EVERY = 100
"""Events. Reading a hundred of them costs about what one snapshot does, so fewer would save nothing."""

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Loaded(Generic[State]):
    """A state and the version of its stream; `created_at`, `updated_at`: when its first and last event were recorded."""

    ref: Ref[State]
    state: State
    version: int = 0
    created_at: datetime = _EPOCH
    updated_at: datetime = _EPOCH

    def then(self, events: Sequence[EventRecord]) -> "Loaded[State]":
        """The state after further events of the same stream."""
        if not events:
            return self
        state = self.ref.aggregate.fold((CODEC.decode(event) for event in events), self.state)
        created_at = self.created_at if self.version else events[0].recorded_at
        return Loaded(self.ref, state, events[-1].version, created_at, events[-1].recorded_at)


def load(store: EventStore, refs: Sequence[Ref[State]]) -> list[Loaded[State]]:
    """All of one aggregate type, in the order asked for, in two round trips."""
    if not refs:
        return []
    aggregate = refs[0].aggregate
    streams = [ref.stream for ref in refs]
    snapshots = store.snapshots(streams, aggregate.snapshot_schema)
    tails = store.read(streams, {stream: snapshot.version for stream, snapshot in snapshots.items()})
    return [_from_snapshot(ref, snapshots.get(ref.stream)).then(tails[ref.stream]) for ref in refs]


def _from_snapshot(ref: Ref[State], snapshot: Snapshot | None) -> Loaded[State]:
    if snapshot is None:
        return Loaded(ref, ref.aggregate.initial)
    state = adapter(type(ref.aggregate.initial)).validate_python(snapshot.state)
    return Loaded(ref, state, snapshot.version, snapshot.created_at, snapshot.updated_at)


def snapshot_if_due(store: EventStore, before: int, after: Loaded[Any]) -> None:
    """Keep the state every SNAPSHOT_EVERY events. The append has happened; a snapshot that fails costs only time."""
    if before // SNAPSHOT_EVERY == after.version // SNAPSHOT_EVERY:
        return
    try:
        store.save_snapshot(_snapshot(after))
    except Exception:
        _log.exception("a snapshot was not kept", stream=after.ref.stream, version=after.version)


def _snapshot(after: Loaded[Any]) -> Snapshot:
    aggregate = after.ref.aggregate
    state = adapter(type(aggregate.initial)).dump_python(after.state, mode="json")
    return Snapshot(
        after.ref.stream, after.version, aggregate.snapshot_schema, state, after.created_at, after.updated_at
    )


def records(loaded: Sequence[Loaded[Any]], events: Sequence[Any], context: Context) -> list[EventRecord]:
    """Give new events their place: each at the end of its own stream among `loaded`."""
    versions = {one.ref.stream: one.version for one in loaded}
    aggregates = {kind: one.ref.aggregate for one in loaded for kind in one.ref.aggregate.event_types}
    now = datetime.now(UTC)
    placed = []
    for event in events:
        stream = aggregates[type(event)].stream_of(event)
        versions[stream] += 1
        name, schema_version, data = CODEC.encode(event)
        placed.append(EventRecord(uuid7(), stream, versions[stream], name, schema_version, data, context, now))
    return placed
