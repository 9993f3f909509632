"""The event store and its log behind the seals: no code above them ever sees an encrypted value,
and no code below them a personal one."""

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from shared.erasure.protocol import PersonKey, PersonKeys
from shared.erasure.seals import (
    is_order,
    is_personal,
    key_of_answer,
    keys_of,
    opened,
    opened_answer,
    sealed,
    sealed_answer,
)
from shared.event_store import protocol as p
from shared.messaging.outbox import Traffic
from shared.postgres.slices import Slice

_MAX_STREAMS = 10_000


class SealedEventStore:
    """Does what `store` does, which holds encrypted values only.

    The key of an order's stream is that of the user in its first event. An append knows its id from
    the read before it, which is almost always this process's own. Keys themselves are never kept:
    after an erasure no process can read on.
    """

    def __init__(self, store: p.EventStore, keys: Callable[[], PersonKeys]) -> None:
        self._store, self._keys = store, keys
        self._known: dict[str, UUID] = {}  # the key's id, by stream

    def append(self, append: p.Append) -> None:
        record = append.record if append.record and is_order(_stream(append.record)) else None
        streams = {event.stream for event in append.events if is_personal(event)}
        keys = self._keys_of(streams | ({_stream(record)} if record else set()), append.events)
        events = [sealed(event, keys[event.stream]) if is_personal(event) else event for event in append.events]
        answer = sealed_answer(record, keys[_stream(record)]) if record else append.record
        self._store.append(replace(append, events=events, record=answer))

    def _keys_of(self, streams: Set[str], events: Sequence[p.EventRecord]) -> dict[str, PersonKey]:
        """Return the key of each order's stream."""
        begun = {one.stream: one.data["user_id"] for one in events if one.stream in streams and one.version == 1}
        keys = {stream: self._keys().current(user_id) for stream, user_id in begun.items()}
        known = self._known  # another thread, or the next note, may begin it anew
        ids = {stream: known[stream] for stream in streams & known.keys() - keys.keys()}
        for stream in streams - known.keys() - keys.keys():
            (first,) = self._store.read_stream(stream, 0, 1)
            if "sealed" in first.event.data:
                ids |= self._note([first.event])
            else:  # not encrypted yet; later events are, all the same
                keys[stream] = self._keys().current(first.event.data["user_id"])
        found = self._keys().of({*ids.values()}) if ids else {}
        return keys | {stream: found[key_id] for stream, key_id in ids.items()}

    def _note(self, events: Sequence[p.EventRecord]) -> Mapping[str, UUID]:
        """Remember and return the ids of the events' keys, by stream."""
        keys = {one.stream: one.data["sealed"]["key"] for one in events if "sealed" in one.data}
        ids = {stream: UUID(key) for stream, key in keys.items()}
        self._known = {**(self._known if len(self._known) < _MAX_STREAMS else {}), **ids} if ids else self._known
        return ids

    def read(self, streams: Sequence[str], after: dict[str, int] | None = None) -> dict[str, list[p.EventRecord]]:
        found = self._store.read(streams, after)
        events = iter(self._opened([event for events in found.values() for event in events]))
        return {stream: [next(events) for _ in there] for stream, there in found.items()}

    def read_all(self, after: p.Checkpoint, limit: int) -> list[p.LogEntry]:
        return self._entries(self._store.read_all(after, limit))

    def read_stream(self, stream: str, after: int, limit: int) -> list[p.LogEntry]:
        return self._entries(self._store.read_stream(stream, after, limit))

    def _entries(self, entries: Sequence[p.LogEntry]) -> list[p.LogEntry]:
        events = self._opened([one.event for one in entries])
        return [p.LogEntry(one.checkpoint, event) for one, event in zip(entries, events, strict=True)]

    def _opened(self, events: Sequence[p.EventRecord]) -> list[p.EventRecord]:
        self._note(events)
        return all_opened(events, self._keys)

    def end(self) -> p.Checkpoint:
        return self._store.end()

    def snapshots(self, streams: Sequence[str], schema_version: int) -> dict[str, p.Snapshot]:
        return self._store.snapshots(streams, schema_version)

    def save_snapshot(self, snapshot: p.Snapshot) -> None:
        """Save it, unless it is of an order: that has about ten events, and personal values."""
        if not is_order(snapshot.stream):
            self._store.save_snapshot(snapshot)

    def recorded(self, *keys: str) -> p.IdempotencyRecord | None:
        record = self._store.recorded(*keys)
        key = key_of_answer(record) if record else None
        return opened_answer(record, self._keys().of([key])) if record and key else record

    def forget_keys(self, before: datetime, limit: int) -> int:
        return self._store.forget_keys(before, limit)


def _stream(record: p.IdempotencyRecord) -> str:
    """Return the stream that an answer is about, "" when it names none."""
    return str(json.loads(record.result).get("stream", ""))


def all_opened(events: Sequence[p.EventRecord], keys: Callable[[], PersonKeys]) -> list[p.EventRecord]:
    """Return the events readable, with one question for all keys, and none when none is needed."""
    ids = keys_of(events)
    return [opened(event, found) for event in events] if ids and (found := keys().of(ids)) else [*events]


class SealedEventLog:
    """Does what `log` does, whose events are encrypted."""

    def __init__(self, log: p.EventLog, keys: Callable[[], PersonKeys]) -> None:
        self._log, self._keys = log, keys

    def of_streams(
        self, streams: Sequence[str], types: Sequence[str], after: int, limit: int
    ) -> list[p.PositionedEvent]:
        return self._opened(self._log.of_streams(streams, types, after, limit))

    def of_ids(self, ids: Sequence[UUID]) -> list[p.PositionedEvent]:
        return self._opened(self._log.of_ids(ids))

    def of_places(self, places: Sequence[tuple[str, int]]) -> list[p.PositionedEvent]:
        return self._opened(self._log.of_places(places))

    def last_of(self, streams: Sequence[str], until: p.Checkpoint) -> list[p.PositionedEvent]:
        return self._opened(self._log.last_of(streams, until))

    def of_types(self, types: Sequence[str], after: int, limit: int) -> list[p.PositionedEvent]:
        return self._opened(self._log.of_types(types, after, limit))

    def everything(self, after: int, limit: int) -> list[p.PositionedEvent]:
        return self._opened(self._log.everything(after, limit))

    def recent(self, limit: int, types: Sequence[str] = ()) -> list[p.PositionedEvent]:
        return self._opened(self._log.recent(limit, types))

    def by_time(self, types: Sequence[str], after: p.Moment | None, limit: int) -> list[p.PositionedEvent]:
        return self._opened(self._log.by_time(types, after, limit))

    def _opened(self, found: Sequence[p.PositionedEvent]) -> list[p.PositionedEvent]:
        events = all_opened([one.event for one in found], self._keys)
        return [p.PositionedEvent(one.position, event) for one, event in zip(found, events, strict=True)]

    def page(self, which: p.Events, part: Slice) -> list[p.LogEntry]:
        found = self._log.page(which, part)
        events = all_opened([one.event for one in found], self._keys)
        return [p.LogEntry(one.checkpoint, event) for one, event in zip(found, events, strict=True)]

    def of_key(self, key: UUID, limit: int) -> list[str]:
        return self._log.of_key(key, limit)

    def has_unsealed(self, user_id: str) -> bool:
        return self._log.has_unsealed(user_id)

    def count(self, which: p.Events) -> int:
        return self._log.count(which)

    def counts(self) -> p.EventCounts:
        return self._log.counts()

    def held_back(self) -> p.HeldBack:
        return self._log.held_back()

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        return self._log.traffic(since, until)
