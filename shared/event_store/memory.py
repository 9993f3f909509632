"""The event store and its log in memory, for tests and `scripts/dev --memory`: the same rules and
errors, no persistence."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from threading import RLock
from uuid import UUID

from shared.domain.aggregate import Place, Placement, Remove
from shared.event_store import protocol as p
from shared.event_store.aggregates import announcement
from shared.messaging.memory import MemoryOutbox
from shared.messaging.outbox import AfterCommit, Traffic, added_up
from shared.postgres.slices import Slice
from shared.resilience import clock


class MemoryEventStore:
    """`keys_kept`: how long an idempotency key is known."""

    def __init__(
        self,
        outbox: MemoryOutbox | None = None,
        after_commit: AfterCommit | None = None,
        keys_kept: timedelta = p.KEYS_KEPT,
    ) -> None:
        self._lock = RLock()
        self._log: list[p.EventRecord] = []
        self._streams: dict[str, list[p.EventRecord]] = {}
        self._snapshots: dict[str, p.Snapshot] = {}
        self._records: dict[str, tuple[datetime, p.IdempotencyRecord]] = {}
        self._places: dict[str, Place] = {}
        self._outbox, self._after_commit, self._keys_kept = outbox or MemoryOutbox(), after_commit, keys_kept

    def append(self, append: p.Append) -> None:
        with self._lock:
            if append.record and self.recorded(append.record.key):
                raise p.violation("idempotency_pkey")
            events = sorted(append.events, key=lambda event: (event.stream, event.version))
            self._require_expected_versions(events)
            self._places = _places_after(self._places, append.placements)
            for event in events:
                self._streams.setdefault(event.stream, []).append(event)
            self._log.extend(events)
            if append.record:
                self._records[append.record.key] = clock.now(), append.record
            announcements = [announcement(event) for event in append.events]
            self._outbox.add(announcements)
        if self._after_commit:
            self._after_commit(announcements)

    def _require_expected_versions(self, events: Iterable[p.EventRecord]) -> None:
        versions: dict[str, int] = {}
        for event in events:
            head = versions.get(event.stream, len(self._streams.get(event.stream, ())))
            if event.version != head + 1 and event.stream in versions:
                raise ValueError(f"{event.stream}: version {event.version} does not follow {head}")
            if event.version != head + 1:
                raise p.violation("events_stream_version")
            versions[event.stream] = event.version

    def read(self, streams: Sequence[str], after: dict[str, int] | None = None) -> dict[str, list[p.EventRecord]]:
        with self._lock:
            return {stream: self._streams.get(stream, [])[(after or {}).get(stream, 0) :] for stream in streams}

    def read_all(self, after: p.Checkpoint, limit: int) -> list[p.LogEntry]:
        with self._lock:
            events = self._log[after.position : after.position + limit]
            return [p.LogEntry(p.Checkpoint(1, n, n), event) for n, event in enumerate(events, after.position + 1)]

    def end(self) -> p.Checkpoint:
        with self._lock:
            return p.Checkpoint(1, len(self._log), len(self._log)) if self._log else p.Checkpoint()

    def read_stream(self, stream: str, after: int, limit: int) -> list[p.LogEntry]:
        with self._lock:
            wanted = {event.id for event in self._streams.get(stream, [])[after : after + limit]}
            positioned = [(n, event) for n, event in enumerate(self._log, 1) if event.id in wanted]
            return [p.LogEntry(p.Checkpoint(1, n, n), event) for n, event in positioned]

    def snapshots(self, streams: Sequence[str], schema_version: int) -> dict[str, p.Snapshot]:
        with self._lock:
            existing = [self._snapshots[stream] for stream in streams if stream in self._snapshots]
            return {snapshot.stream: snapshot for snapshot in existing if snapshot.schema_version == schema_version}

    def save_snapshot(self, snapshot: p.Snapshot) -> None:
        with self._lock:
            present = self._snapshots.get(snapshot.stream)
            version = (snapshot.schema_version, snapshot.version)
            if present is None or (present.schema_version, present.version) < version:
                self._snapshots[snapshot.stream] = snapshot

    def recorded(self, *keys: str) -> p.IdempotencyRecord | None:
        with self._lock:
            found = [self._records[key] for key in keys if key in self._records]
            return next((record for at, record in found if clock.now() - at < self._keys_kept), None)

    def forget_keys(self, before: datetime, limit: int) -> int:
        with self._lock:
            old = [key for key, (recorded_at, _) in self._records.items() if recorded_at < before][:limit]
            for key in old:
                del self._records[key]
            return len(old)


def _places_after(places: dict[str, Place], placements: Sequence[Placement]) -> dict[str, Place]:
    """Return the tree after the placements. Raise the error of the first that breaks a rule."""
    after = dict(places)
    for placement in placements:
        match placement:
            case Place():
                _require_free(after, placement)
                after[placement.stream] = placement
            case Remove(stream):
                if any(place.parent == stream for place in after.values()):
                    raise p.violation("placements_children")
                after.pop(stream, None)
    return after


def _require_free(places: dict[str, Place], new: Place) -> None:
    if new.parent == new.stream:
        raise p.violation("placements_no_circle")
    if new.parent is not None and new.parent not in places:
        raise p.violation("placements_parent")
    siblings = (place for place in places.values() if place.parent == new.parent and place.stream != new.stream)
    if new.name is not None and any(sibling.name == new.name for sibling in siblings):
        raise p.violation("placements_sibling_name")
    above = new.parent
    while above is not None:
        if above == new.stream:
            raise p.violation("placements_no_circle")
        above = places[above].parent


class MemoryEventLog:
    def __init__(self, store: MemoryEventStore) -> None:
        self._store = store

    def of_streams(
        self, streams: Sequence[str], types: Sequence[str], after: int, limit: int
    ) -> list[p.PositionedEvent]:
        events = (seen for seen in self._after(after, types) if seen.event.stream in streams)
        return list(events)[:limit]

    def of_ids(self, ids: Sequence[UUID]) -> list[p.PositionedEvent]:
        return [seen for seen in self._after(0) if seen.event.id in ids]

    def of_places(self, places: Sequence[tuple[str, int]]) -> list[p.PositionedEvent]:
        return [seen for seen in self._after(0) if (seen.event.stream, seen.event.version) in places]

    def last_of(self, streams: Sequence[str], until: p.Checkpoint) -> list[p.PositionedEvent]:
        events = [seen for seen in self._after(0) if seen.event.stream in streams and seen.position <= until.position]
        return list({seen.event.stream: seen for seen in events}.values())

    def of_types(self, types: Sequence[str], after: int, limit: int) -> list[p.PositionedEvent]:
        return [seen for seen in self._after(after) if seen.event.type in types][:limit]

    def everything(self, after: int, limit: int) -> list[p.PositionedEvent]:
        return list(self._after(after))[:limit]

    def recent(self, limit: int, types: Sequence[str] = ()) -> list[p.PositionedEvent]:
        return list(self._after(0, types))[::-1][:limit]

    def by_time(self, types: Sequence[str], after: p.Moment | None, limit: int) -> list[p.PositionedEvent]:
        events = [seen for seen in self._after(0) if seen.event.type in types]
        events.sort(key=lambda seen: (seen.event.recorded_at, seen.position), reverse=after is None)
        return [seen for seen in events if after is None or (seen.event.recorded_at, seen.position) > after][:limit]

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        events = [(seen.event.stream.partition("-")[0], seen.event.recorded_at) for seen in self._after(0)]
        return added_up((name, Traffic(1, int(since < at <= until), at)) for name, at in events)

    def page(self, which: p.Events, part: Slice) -> list[p.LogEntry]:
        return part.of(self._matching(which), which.key)

    def count(self, which: p.Events) -> int:
        return len(self._matching(which))

    def _matching(self, which: p.Events) -> list[p.LogEntry]:
        return [
            entry
            for entry in self._store.read_all(p.Checkpoint(), 10**9)
            if which.stream in (None, entry.event.stream)
            and (which.types is None or entry.event.type in which.types)
            and which.correlation_id in (None, entry.event.metadata.correlation_id)
            and (which.recorded_after is None or which.recorded_after <= entry.event.recorded_at)
            and (which.recorded_before is None or entry.event.recorded_at < which.recorded_before)
        ]

    def counts(self) -> p.EventCounts:
        log = list(self._after(0))
        if not log:
            return p.EventCounts({}, 0, None)
        counts = Counter((seen.event.type, seen.event.stream.partition("-")[0]) for seen in log)
        now, minute = clock.now(), timedelta(minutes=1)
        last_minute = sum(now - minute < seen.event.recorded_at <= now for seen in log)
        return p.EventCounts(counts, log[-1].position, log[-1].event.recorded_at, log[-1].position, last_minute)

    def held_back(self) -> p.HeldBack:
        return p.HeldBack(0.0, 0)  # an append is visible to readers at once

    def _after(self, after: int, types: Sequence[str] = ()) -> Iterator[p.PositionedEvent]:
        for entry in self._store.read_all(p.Checkpoint(1, after, after), 10**9):
            if not types or entry.event.type in types:
                yield p.PositionedEvent(entry.checkpoint.position, entry.event)
