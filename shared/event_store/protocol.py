"""What an event store does, on every engine. One contract suite runs on every implementation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from shared.domain.aggregate import Placement
from shared.domain.errors import CircularParent, ConcurrencyError, NameTaken, ParentMissing, ShopError, StillInUse
from shared.messaging.outbox import Traffic
from shared.observability.context import Context
from shared.postgres.slices import Key, Slice


@dataclass(frozen=True)
class EventRecord:
    """`version`: 1, 2, 3, ... in its stream. `recorded_at`: UTC, by the writer's clock, for people
    only: nothing is ordered by it."""

    id: UUID
    stream: str
    version: int
    type: str
    schema_version: int
    data: dict[str, Any]
    metadata: Context
    recorded_at: datetime


class Checkpoint(NamedTuple):
    """A place in the log, up to which all has been read. Checkpoints compare in the log's order."""

    epoch: int = 0
    transaction_id: int = 0
    position: int = 0


class Moment(NamedTuple):
    """A place between messages that are ordered by time. `position`: of the last one of this time
    that counts as before it, by default of all."""

    at: datetime
    position: int = 2**63 - 1


@dataclass(frozen=True)
class LogEntry:
    checkpoint: Checkpoint
    event: EventRecord


@dataclass(frozen=True)
class Snapshot:
    """A state at a version. `created_at`, `updated_at`: of the stream's first and last event."""

    stream: str
    version: int
    schema_version: int
    state: Any
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class IdempotencyRecord:
    """`result`: the answer to every later request with the same `key` and `fingerprint`."""

    key: str
    fingerprint: str
    result: str


@dataclass(frozen=True)
class Append:
    """Events, placements and an idempotency record that are written together or not at all.
    The versions of `events` continue each stream: a stream's first version minus one is the version
    that the writer expects the stream to have.
    """

    events: Sequence[EventRecord]
    placements: Sequence[Placement] = ()
    record: IdempotencyRecord | None = None


KEYS_KEPT = timedelta(hours=24)
"""How long an idempotency key stands for its first request. An older key is like a new one."""


class AlreadyRecorded(ConcurrencyError):
    """The idempotency key has been used: return its recorded result instead of writing."""


class EventStore(Protocol):
    def append(self, append: Append) -> None:
        """Write everything and the outbox rows in one transaction, then publish the announcements.

        Raise ConcurrencyError when a stream isn't at the expected version, AlreadyRecorded for a
        used key, NameTaken, ParentMissing, StillInUse or CircularParent for a placement, and
        Unavailable when the outcome is unknown: repeat it with the same idempotency key.
        """

    def read(self, streams: Sequence[str], after: dict[str, int] | None = None) -> dict[str, list[EventRecord]]:
        """Return each stream's events in version order, those above `after[stream]` if given."""

    def read_all(self, after: Checkpoint, limit: int) -> list[LogEntry]:
        """Return the log after a checkpoint, in an order that never changes: however many processes
        write at once, no event ever appears before an event that has been read."""

    def end(self) -> Checkpoint:
        """Return the place of the last event that read_all shows now; Checkpoint() if empty."""

    def read_stream(self, stream: str, after: int, limit: int) -> list[LogEntry]:
        """Return a stream's events above the version `after`, each with its place in the log."""

    def snapshots(self, streams: Sequence[str], schema_version: int) -> dict[str, Snapshot]:
        """Return the latest snapshot of each stream that has a snapshot of this schema version."""

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Save the snapshot unless the stream has a newer one."""

    def recorded(self, *keys: str) -> IdempotencyRecord | None:
        """Return the record of the first of the keys that has one; none is older than KEYS_KEPT."""

    def forget_keys(self, before: datetime, limit: int) -> int:
        """Delete idempotency records that were made before a moment, and return how many."""


@dataclass(frozen=True)
class PositionedEvent:
    """`position`: the event's number in the log; rising within a stream, with gaps."""

    position: int
    event: EventRecord


@dataclass(frozen=True)
class EventCounts:
    """The number of events by type and aggregate, and the newest event's position and time.
    `counted_to`: the position of the last event that was counted, in the log's order.
    `last_minute`: how many events were recorded in the last 60 seconds."""

    events: Mapping[tuple[str, str], int]
    last_position: int
    last_recorded_at: datetime | None
    counted_to: int = 0
    last_minute: int = 0

    def of(self, aggregate: str) -> int:
        return sum(number for (_, name), number in self.events.items() if name == aggregate)


@dataclass(frozen=True)
class Events:
    """The events to list; None matches everything. `recorded_before`: exclusive."""

    stream: str | None = None
    types: Sequence[str] | None = None
    correlation_id: str | None = None
    recorded_after: datetime | None = None
    recorded_before: datetime | None = None
    trace_id: str | None = None
    causation_id: str | None = None

    @property
    def is_of_one_origin(self) -> bool:
        """Return whether a request, a trace or a cause is wanted, which have few events."""
        return (self.correlation_id, self.trace_id, self.causation_id) != (None, None, None)

    @property
    def order(self) -> Literal["version", "time", "log"]:
        """Return what they are sorted by, so that an index finds each page."""
        timed = (self.recorded_after, self.recorded_before) != (None, None) and not self.is_of_one_origin
        return "version" if self.stream is not None else "time" if timed else "log"

    def key(self, entry: LogEntry) -> Key:
        timed = entry.event.recorded_at, entry.checkpoint.position
        return {"version": (entry.event.version,), "time": timed, "log": entry.checkpoint}[self.order]


class HeldBack(NamedTuple):
    """What readers of the log wait for: the oldest running transaction, in any database of the
    server, 0 seconds without one. `events`: committed events that it hides, at most 100,000."""

    oldest_transaction_seconds: float
    events: int


class EventLog(Protocol):
    """What people look up in the log. Events come in its order unless a method says otherwise.

    `after`: the position of the event after which to begin. All raise Unavailable and TimedOut.
    """

    def of_streams(self, streams: Sequence[str], types: Sequence[str], after: int, limit: int) -> list[PositionedEvent]:
        """Return events of these streams. No type stands for all types."""

    def of_ids(self, ids: Sequence[UUID]) -> list[PositionedEvent]: ...

    def of_places(self, places: Sequence[tuple[str, int]]) -> list[PositionedEvent]:
        """Return the events at these streams and versions."""

    def last_of(self, streams: Sequence[str], until: Checkpoint) -> list[PositionedEvent]:
        """Return the last event of each stream up to a place in the log."""

    def of_types(self, types: Sequence[str], after: int, limit: int) -> list[PositionedEvent]: ...

    def everything(self, after: int, limit: int) -> list[PositionedEvent]: ...
    def recent(self, limit: int, types: Sequence[str] = ()) -> list[PositionedEvent]:
        """Return the newest events, newest first. No type stands for all types."""

    def by_time(self, types: Sequence[str], after: Moment | None, limit: int) -> list[PositionedEvent]:
        """Return events by recording time: the newest first, or the oldest after a moment."""

    def of_key(self, key: UUID, limit: int) -> list[str]:
        """Return streams of orders that are encrypted with a key and have no OrderErased."""

    def has_unsealed(self, user_id: str) -> bool: ...  # whether the user has orders that are not encrypted

    def page(self, which: Events, part: Slice) -> list[LogEntry]:
        """Return a slice of the events by `which.key`. Sorting by time needs `types`."""

    def count(self, which: Events) -> int: ...

    def counts(self) -> EventCounts:
        """Return the whole log's counts. Raise Unavailable while too much is uncounted."""

    def held_back(self) -> HeldBack:
        """Return how far the log is behind the commits. Live updates and counts wait for it."""

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        """Return each aggregate's traffic; `lately` counts the time after `since` up to `until`."""


_VIOLATIONS: Mapping[str, Callable[[], ShopError]] = {
    "events_stream_version": lambda: ConcurrencyError("another request changed it at the same moment; try again"),
    "events_id": lambda: ConcurrencyError("the event has been recorded already"),
    "idempotency_pkey": lambda: AlreadyRecorded("the command has been carried out already"),
    "placements_sibling_name": lambda: NameTaken("another category there has this name already", ("name",)),
    "placements_no_circle": lambda: CircularParent("a category can't be moved below itself", ("parentId",)),
    "placements_parent": lambda: ParentMissing("the category that should contain it has just been deleted"),
    "placements_children": lambda: StillInUse(
        "the category still has products or subcategories; move or delete them first", ("id",)
    ),
}


def violation(constraint: str) -> ShopError:
    """Return the error of a rule by its PostgreSQL constraint. Raise KeyError for others."""
    return _VIOLATIONS[constraint]()
