"""The event store in memory: for tests and for `scripts/dev --memory`. Same rules, same errors, nothing survives."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from threading import RLock
from uuid import UUID

from shared.domain.aggregate import Place, Placement, Remove
from shared.domain.errors import CircularParent, ConcurrencyError, NameTaken, ParentMissing, StillInUse
from shared.event_store.aggregates import announcement
from shared.event_store.protocol import (
    KEYS_KEPT,
    AlreadyRecorded,
    Append,
    Checkpoint,
    EventCounts,
    EventRecord,
    IdempotencyRecord,
    LogEntry,
    PositionedEvent,
    Snapshot,
)
from shared.messaging.memory import MemoryOutbox
from shared.messaging.outbox import AfterCommit, Traffic, added_up
from shared.resilience import clock


class MemoryEventStore:
    """`keys_kept`: how long an idempotency key is known."""

    def __init__(
        self,
        outbox: MemoryOutbox | None = None,
        after_commit: AfterCommit | None = None,
        keys_kept: timedelta = KEYS_KEPT,
    ) -> None:
        self._lock = RLock()
        self._log: list[EventRecord] = []
        self._streams: dict[str, list[EventRecord]] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._records: dict[str, tuple[datetime, IdempotencyRecord]] = {}
        self._keys_kept = keys_kept
        self._placements: dict[str, Place] = {}
        self._outbox = outbox or MemoryOutbox()
        self._after_commit = after_commit

    def append(self, append: Append) -> None:
        with self._lock:
            if append.record and self.recorded(append.record.key):
                raise AlreadyRecorded("the command has been carried out already")
            events = sorted(append.events, key=lambda event: (event.stream, event.version))
            self._require_expected_versions(events)
            self._placements = placed(self._placements, append.placements)
            for event in events:
                self._streams.setdefault(event.stream, []).append(event)
            self._log.extend(events)
            if append.record:
                self._records[append.record.key] = clock.now(), append.record
            announcements = [announcement(event) for event in append.events]
            self._outbox.add(announcements)
        if self._after_commit:
            self._after_commit(announcements)

    def _require_expected_versions(self, events: Iterable[EventRecord]) -> None:
        versions: dict[str, int] = {}
        for event in events:
            head = versions.get(event.stream, len(self._streams.get(event.stream, ())))
            if event.version != head + 1 and event.stream in versions:
                raise ValueError(f"{event.stream}: version {event.version} does not follow {head}")
            if event.version != head + 1:
                raise ConcurrencyError("somebody else changed it at the same moment; try again")
            versions[event.stream] = event.version

    def read(self, streams: Sequence[str], after: dict[str, int] | None = None) -> dict[str, list[EventRecord]]:
        with self._lock:
            return {stream: self._streams.get(stream, [])[(after or {}).get(stream, 0) :] for stream in streams}

    def read_all(self, after: Checkpoint, limit: int) -> list[LogEntry]:
        with self._lock:
            start = after.position
            events = self._log[start : start + limit]
            return [LogEntry(Checkpoint(1, n, n), event) for n, event in enumerate(events, start + 1)]

    def end(self) -> Checkpoint:
        with self._lock:
            return Checkpoint(1, len(self._log), len(self._log)) if self._log else Checkpoint()

    def read_stream(self, stream: str, after: int, limit: int) -> list[LogEntry]:
        with self._lock:
            wanted = {event.id for event in self._streams.get(stream, [])[after : after + limit]}
            found = [(n, event) for n, event in enumerate(self._log, 1) if event.id in wanted]
            return [LogEntry(Checkpoint(1, n, n), event) for n, event in found]

    def snapshots(self, streams: Sequence[str], schema_version: int) -> dict[str, Snapshot]:
        with self._lock:
            found = {stream: self._snapshots[stream] for stream in streams if stream in self._snapshots}
            return {stream: snapshot for stream, snapshot in found.items() if snapshot.schema_version == schema_version}

    def save_snapshot(self, snapshot: Snapshot) -> None:
        with self._lock:
            there = self._snapshots.get(snapshot.stream)
            newer = (snapshot.schema_version, snapshot.version)
            if there is None or (there.schema_version, there.version) < newer:
                self._snapshots[snapshot.stream] = snapshot

    def recorded(self, key: str) -> IdempotencyRecord | None:
        with self._lock:
            recorded_at, record = self._records.get(key, (datetime.min.replace(tzinfo=UTC), None))
            return record if clock.now() - recorded_at < self._keys_kept else None

    def forget_keys(self, before: datetime, limit: int) -> int:
        with self._lock:
            old = [key for key, (recorded_at, _) in self._records.items() if recorded_at < before][:limit]
            for key in old:
                del self._records[key]
            return len(old)


def placed(tree: dict[str, Place], placements: Sequence[Placement]) -> dict[str, Place]:
    """The tree after the placements, which hold together or not at all."""
    after = dict(tree)
    for placement in placements:
        match placement:
            case Place():
                _require_place(after, placement)
                after[placement.stream] = placement
            case Remove(stream):
                if any(place.parent == stream for place in after.values()):
                    raise StillInUse(
                        "the category still has products or subcategories; move or delete them first", ("id",)
                    )
                after.pop(stream, None)
    return after


def _require_place(tree: dict[str, Place], new: Place) -> None:
    if new.parent is not None and new.parent not in tree:
        raise ParentMissing("the category it would belong to has just been deleted")
    siblings = (place for place in tree.values() if place.parent == new.parent and place.stream != new.stream)
    if new.name is not None and any(sibling.name == new.name for sibling in siblings):
        raise NameTaken("the name is taken by another category there", ("name",))
    above = new.parent
    while above is not None:
        if above == new.stream:
            raise CircularParent("a category can't be moved below itself", ("parentId",))
        above = tree[above].parent


class MemoryEventLog:
    def __init__(self, store: MemoryEventStore) -> None:
        self._store = store

    def of_streams(self, streams: Sequence[str], types: Sequence[str], after: int, limit: int) -> list[PositionedEvent]:
        wanted = (one for one in self._after(after) if one.event.stream in streams)
        return [one for one in wanted if not types or one.event.type in types][:limit]

    def of_ids(self, ids: Sequence[UUID]) -> list[PositionedEvent]:
        return [one for one in self._after(0) if one.event.id in ids]

    def of_places(self, places: Sequence[tuple[str, int]]) -> list[PositionedEvent]:
        return [one for one in self._after(0) if (one.event.stream, one.event.version) in places]

    def last_of(self, streams: Sequence[str], before: datetime) -> list[PositionedEvent]:
        settled = [one for one in self._after(0) if one.event.stream in streams and one.event.recorded_at < before]
        return list({one.event.stream: one for one in settled}.values())

    def of_types(self, types: Sequence[str], after: int, limit: int) -> list[PositionedEvent]:
        return [one for one in self._after(after) if one.event.type in types][:limit]

    def everything(self, after: int, limit: int) -> list[PositionedEvent]:
        return list(self._after(after))[:limit]

    def recent(self, limit: int, types: Sequence[str] = ()) -> list[PositionedEvent]:
        return [one for one in list(self._after(0))[::-1] if not types or one.event.type in types][:limit]

    def by_time(self, types: Sequence[str], after: datetime | None, limit: int) -> list[PositionedEvent]:
        wanted = [one for one in self._after(0) if one.event.type in types]
        wanted.sort(key=lambda one: (one.event.recorded_at, one.position), reverse=after is None)
        return [one for one in wanted if after is None or one.event.recorded_at > after][:limit]

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        events = [seen.event for seen in self._after(0)]
        return added_up((e.stream.partition("-")[0], Traffic.of_one(e.recorded_at, since, until)) for e in events)

    def counts(self) -> EventCounts:
        log = list(self._after(0))
        counted = Counter((one.event.type, one.event.stream.partition("-")[0]) for one in log)
        now, minute = clock.now(), timedelta(minutes=1)
        lately = sum(now - minute < one.event.recorded_at <= now for one in log)
        if not log:
            return EventCounts({}, 0, None)
        return EventCounts(counted, log[-1].position, log[-1].event.recorded_at, log[-1].position, lately)

    def _after(self, after: int) -> Iterable[PositionedEvent]:
        entries = self._store.read_all(Checkpoint(1, after, after), 10**9)
        return (PositionedEvent(entry.checkpoint.position, entry.event) for entry in entries)
