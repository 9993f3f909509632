"""The event store in memory, for tests and `scripts/dev --memory`: the same rules and errors, no
persistence."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from threading import RLock

from shared.domain.aggregate import Place, Placement, Remove
from shared.event_store import protocol as p
from shared.event_store.aggregates import announcement
from shared.messaging.memory import MemoryOutbox
from shared.messaging.outbox import AfterCommit
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
        self._log: list[p.LogEntry] = []
        self._streams: dict[str, list[p.LogEntry]] = {}
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
            for position, event in enumerate(events, len(self._log) + 1):
                entry = p.LogEntry(p.Checkpoint(1, position, position), event)
                self._streams.setdefault(event.stream, []).append(entry)
                self._log.append(entry)
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
            found = {stream: self._streams.get(stream, [])[(after or {}).get(stream, 0) :] for stream in streams}
            return {stream: [entry.event for entry in entries] for stream, entries in found.items()}

    def read_all(self, after: p.Checkpoint, limit: int) -> list[p.LogEntry]:
        with self._lock:
            return self._log[after.position : after.position + limit]

    def end(self) -> p.Checkpoint:
        with self._lock:
            return self._log[-1].checkpoint if self._log else p.Checkpoint()

    def read_stream(self, stream: str, after: int, limit: int) -> list[p.LogEntry]:
        with self._lock:
            return self._streams.get(stream, [])[after : after + limit]

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
