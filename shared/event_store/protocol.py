"""What an event store does, whichever engine is below it. One contract suite runs on every implementation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from shared.domain.aggregate import Placement
from shared.domain.errors import ConcurrencyError
from shared.messaging.outbox import Traffic
from shared.observability.context import Context


@dataclass(frozen=True)
class EventRecord:
    """An event as it is stored. `version`: 1, 2, 3, ... in its stream. `recorded_at`: UTC, by the writer's clock, for
    people only: nothing is ordered by it."""

    id: UUID
    stream: str
    version: int
    type: str
    schema_version: int
    data: dict[str, Any]
    metadata: Context
    recorded_at: datetime


class Checkpoint(NamedTuple):
    """A place in the log: everything up to it has been read. Compares in the log's order."""

    epoch: int = 0
    transaction_id: int = 0
    position: int = 0


@dataclass(frozen=True)
class LogEntry:
    checkpoint: Checkpoint
    event: EventRecord


@dataclass(frozen=True)
class Snapshot:
    """A state at a version. `created_at`, `updated_at`: when the stream's first and this version's event were recorded."""

    stream: str
    version: int
    schema_version: int
    state: Any
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class IdempotencyRecord:
    """`result`: what to answer when `key` comes again with the same `fingerprint`."""

    key: str
    fingerprint: str
    result: str


@dataclass(frozen=True)
class Append:
    """All or nothing. `events`: their versions continue each stream; a stream's first version minus one is the version
    the writer expects it to have."""

    events: Sequence[EventRecord]
    placements: Sequence[Placement] = ()
    record: IdempotencyRecord | None = None


KEYS_KEPT = timedelta(hours=24)
"""How long an idempotency key stands for its first request. After that it is like new."""


class AlreadyRecorded(ConcurrencyError):
    """The idempotency key has been used: look its result up instead of writing."""


class EventStore(Protocol):
    def append(self, append: Append) -> None:
        """Write in one transaction, together with the outbox; then hand the events' announcements over for publishing.

        Raises ConcurrencyError when a stream isn't at the expected version, AlreadyRecorded for a used key, NameTaken,
        ParentMissing, StillInUse or CircularParent for a placement, Unavailable when the engine doesn't answer (the
        append may have happened: repeat it with the same idempotency key).
        """

    def read(self, streams: Sequence[str], after: dict[str, int] | None = None) -> dict[str, list[EventRecord]]:
        """The events of each stream in version order, only those above `after[stream]` where it is given."""

    def read_all(self, after: Checkpoint, limit: int) -> list[LogEntry]:
        """The log after a checkpoint, in an order that never changes and to which nothing is ever added behind what has
        been read, however many write at once."""

    def end(self) -> Checkpoint:
        """The place of the last event that read_all gives at this moment; where nothing was written, before all."""

    def read_stream(self, stream: str, after: int, limit: int) -> list[LogEntry]:
        """A stream's events above the version `after`, in version order, each with its place in the log."""

    def snapshots(self, streams: Sequence[str], schema_version: int) -> dict[str, Snapshot]:
        """The latest snapshot of each stream that has one of this schema version."""

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep it unless a newer one is there."""

    def recorded(self, key: str) -> IdempotencyRecord | None:
        """Of the last 24 hours."""

    def forget_keys(self, before: datetime, limit: int) -> int:
        """Delete idempotency records made before; how many."""


@dataclass(frozen=True)
class PositionedEvent:
    """`position`: the event's number in the whole log. Numbers go up within a stream; not every number is used."""

    position: int
    event: EventRecord


@dataclass(frozen=True)
class EventCounts:
    """How many events there are, by type and aggregate, and the newest one's number and time. `counted_to`: the number of
    the last that was counted, in the log's order. `last_minute`: how many were recorded in the last 60 seconds."""

    events: Mapping[tuple[str, str], int]
    last_position: int
    last_recorded_at: datetime | None
    counted_to: int = 0
    last_minute: int = 0

    def of(self, aggregate: str) -> int:
        return sum(number for (_, name), number in self.events.items() if name == aggregate)


class EventLog(Protocol):
    """All in the log's order. `after`: the number of the event after which to begin. Raise Unavailable and TimedOut."""

    def of_streams(self, streams: Sequence[str], types: Sequence[str], after: int, limit: int) -> list[PositionedEvent]:
        """Only those of `types`, where any are given."""

    def of_ids(self, ids: Sequence[UUID]) -> list[PositionedEvent]: ...

    def of_places(self, places: Sequence[tuple[str, int]]) -> list[PositionedEvent]:
        """By stream and version."""

    def last_of(self, streams: Sequence[str], before: datetime) -> list[PositionedEvent]:
        """The last event of each stream that was recorded before a moment."""

    def of_types(self, types: Sequence[str], after: int, limit: int) -> list[PositionedEvent]: ...

    def everything(self, after: int, limit: int) -> list[PositionedEvent]: ...

    def recent(self, limit: int, types: Sequence[str] = ()) -> list[PositionedEvent]:
        """The newest first; only those of `types`, where any are given."""

    def by_time(self, types: Sequence[str], after: datetime | None, limit: int) -> list[PositionedEvent]:
        """Of these types by when they were recorded: the newest first, or after a moment the oldest first."""

    def counts(self) -> EventCounts:
        """Of all there is, or of none: raises Unavailable while so many have never been counted that it takes longer."""

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        """By aggregate. Lately is after `since`, up to `until`."""
