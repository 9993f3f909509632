"""The event store on PostgreSQL: every append is one statement."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import errors
from psycopg.rows import TupleRow
from psycopg.types.json import Json
from pydantic_core import to_json

from shared.domain.aggregate import Place, Placement, Remove
from shared.domain.errors import (
    CircularParent,
    ConcurrencyError,
    NameTaken,
    ParentMissing,
    Rejected,
    ShopError,
    StillInUse,
)
from shared.event_store.aggregates import announcement
from shared.event_store.protocol import (
    KEYS_KEPT,
    AlreadyRecorded,
    Append,
    Checkpoint,
    EventRecord,
    IdempotencyRecord,
    LogEntry,
    Snapshot,
)
from shared.messaging.outbox import AfterCommit
from shared.observability.context import stored_context
from shared.postgres.pool import Pool, Session

_READ = """
SELECT id, stream, version, type, schema_version, data, metadata, recorded_at
FROM unnest(%s::text[], %s::int[]) AS wanted (name, seen)
JOIN events ON stream = name AND version > seen
ORDER BY stream, version
"""

# An append takes its transaction id when it starts and becomes visible when it commits, so a later id may show first.
# Below the oldest id still running, nothing can appear any more; that is as far as the log may be read. Positions alone
# can't say that: they are drawn in any order, and reading "after position N" loses what was drawn earlier and committed
# later. Epochs before the last are closed.
_READ_ALL = """
SELECT epoch, transaction_id::text::bigint, position,
    id, stream, version, type, schema_version, data, metadata, recorded_at
FROM events
WHERE (epoch, transaction_id, position) > (%s, %s::text::xid8, %s)
  AND (epoch < (SELECT max(epoch) FROM epochs) OR transaction_id < pg_snapshot_xmin(pg_current_snapshot()))
ORDER BY epoch, transaction_id, position
LIMIT %s
"""

_END = """
SELECT epoch, transaction_id::text::bigint, position FROM events
WHERE epoch < (SELECT max(epoch) FROM epochs) OR transaction_id < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY epoch DESC, transaction_id DESC, position DESC LIMIT 1
"""

_READ_STREAM = """
SELECT epoch, transaction_id::text::bigint, position,
    id, stream, version, type, schema_version, data, metadata, recorded_at
FROM events WHERE stream = %s AND version > %s ORDER BY version LIMIT %s
"""

# The same as `append_events` in sql/ does, for a single event without rules: half as long without the function's detour.
# No row is written when the version before it is missing.
_APPEND_ONE = b"""
WITH inserted AS (
    INSERT INTO events (id, stream, version, type, schema_version, data, metadata, recorded_at)
    SELECT * FROM (VALUES (%s, %s, %s, %s, %s::smallint, %s::jsonb, %s::jsonb, %s)) AS e (id, stream, version)
    WHERE version = 1 OR EXISTS (SELECT FROM events x WHERE x.stream = e.stream AND x.version = e.version - 1)
    RETURNING position
)
INSERT INTO outbox (position, leased_until) SELECT position, clock_timestamp() + interval '15 seconds' FROM inserted
"""

_RECORDED = """
SELECT key, fingerprint, result FROM idempotency
WHERE key = %s AND recorded_at > clock_timestamp() - make_interval(secs => %s)
"""

_FORGET_KEYS = """
DELETE FROM idempotency WHERE recorded_at < %(before)s AND key IN (
    SELECT key FROM idempotency WHERE recorded_at < %(before)s ORDER BY recorded_at LIMIT %(limit)s
)
"""

_SAVE_SNAPSHOT = """
INSERT INTO snapshots (stream, version, schema_version, state, created_at, updated_at)
VALUES (%(stream)s, %(version)s, %(schema_version)s, %(state)s, %(created_at)s, %(updated_at)s)
ON CONFLICT (stream) DO UPDATE
SET version = excluded.version, schema_version = excluded.schema_version, state = excluded.state,
    updated_at = excluded.updated_at
WHERE (snapshots.schema_version, snapshots.version) < (excluded.schema_version, excluded.version)
"""


class PostgresEventStore:
    """`pool`: connections in autocommit mode. `after_commit`: publishes what an append left in the
    outbox; without it that waits for the relay. `keys_kept`: how long an idempotency key is known."""

    def __init__(self, pool: Pool, after_commit: AfterCommit | None = None, keys_kept: timedelta = KEYS_KEPT) -> None:
        self._pool = pool
        self._after_commit = after_commit
        self._keys_kept = keys_kept.total_seconds()

    def append(self, append: Append) -> None:
        simple = len(append.events) == 1 and not append.placements and append.record is None
        statement, values = _append_one(append.events[0]) if simple else _append_many(append, self._keys_kept)
        with self._connection() as connection:
            try:
                written = connection.writer.execute(statement, values).rowcount
            except (errors.IntegrityError, errors.DeadlockDetected, errors.SerializationFailure) as error:
                raise _as_ours(error, append) from error
        if written == 0:
            raise ConcurrencyError("somebody else changed it at the same moment; try again")
        if self._after_commit:
            self._after_commit([announcement(event) for event in append.events])

    def read(self, streams: Sequence[str], after: dict[str, int] | None = None) -> dict[str, list[EventRecord]]:
        found: dict[str, list[EventRecord]] = {stream: [] for stream in streams}
        seen = [(after or {}).get(stream, 0) for stream in found]
        with self._connection() as connection:
            for row in connection.execute(_READ, (list(found), seen)):
                found[row[1]].append(event_from(row))
        return found

    def read_all(self, after: Checkpoint, limit: int) -> list[LogEntry]:
        with self._connection() as connection:
            rows = connection.execute(_READ_ALL, (after.epoch, str(after.transaction_id), after.position, limit))
            return [LogEntry(Checkpoint(*row[:3]), event_from(row[3:])) for row in rows]

    def end(self) -> Checkpoint:
        with self._connection() as connection:
            return Checkpoint(*(connection.execute(_END).fetchone() or ()))

    def read_stream(self, stream: str, after: int, limit: int) -> list[LogEntry]:
        with self._connection() as connection:
            rows = connection.execute(_READ_STREAM, (stream, after, limit))
            return [LogEntry(Checkpoint(*row[:3]), event_from(row[3:])) for row in rows]

    def snapshots(self, streams: Sequence[str], schema_version: int) -> dict[str, Snapshot]:
        query = """SELECT stream, version, schema_version, state, created_at, updated_at FROM snapshots
                   WHERE stream = ANY(%s) AND schema_version = %s"""
        with self._connection() as connection:
            return {row[0]: Snapshot(*row) for row in connection.execute(query, (list(streams), schema_version))}

    def save_snapshot(self, snapshot: Snapshot) -> None:
        values = {**vars(snapshot), "state": Json(snapshot.state)}
        with self._connection() as connection:
            connection.execute(_SAVE_SNAPSHOT, values)

    def recorded(self, key: str) -> IdempotencyRecord | None:
        with self._connection() as connection:
            row = connection.execute(_RECORDED, (key, self._keys_kept)).fetchone()
            return IdempotencyRecord(*row) if row else None

    def forget_keys(self, before: datetime, limit: int) -> int:
        with self._connection() as connection:
            return connection.execute(_FORGET_KEYS, {"before": before, "limit": limit}).rowcount

    def _connection(self) -> AbstractContextManager[Session]:
        return self._pool.use("the event store")


_OURS: dict[str, Callable[[Append], ShopError]] = {
    "events_stream_version": lambda _: ConcurrencyError("somebody else changed it at the same moment; try again"),
    "events_id": lambda _: ConcurrencyError("the event has been recorded already"),
    "idempotency_pkey": lambda _: AlreadyRecorded("the command has been carried out already"),
    "placements_sibling_name": lambda _: NameTaken("the name is taken by another category there", ("name",)),
    "placements_no_circle": lambda _: CircularParent("a category can't be moved below itself", ("parentId",)),
    "placements_parent": lambda append: _parent_error(append.placements),
}


def _as_ours(error: psycopg.Error, append: Append) -> Exception:
    """A broken rule is recognised by the name of the constraint that holds it; what breaks none stays as it is."""
    if not isinstance(error, errors.IntegrityError):
        return ConcurrencyError("two changes got in each other's way; try again")
    ours = _OURS.get(error.diag.constraint_name or "")
    return ours(append) if ours else error


def _parent_error(placements: Sequence[Placement]) -> Rejected:
    if any(isinstance(placement, Remove) for placement in placements):
        return StillInUse("the category still has products or subcategories; move or delete them first", ("id",))
    return ParentMissing("the category it would belong to has just been deleted")


def _append_one(event: EventRecord) -> tuple[psycopg.abc.QueryNoTemplate, Sequence[Any]]:
    data, metadata = to_json(event.data).decode(), to_json(vars(event.metadata)).decode()
    head = (event.id, event.stream, event.version, event.type, event.schema_version)
    return _APPEND_ONE, (*head, data, metadata, event.recorded_at)


def _append_many(append: Append, keys_kept: float) -> tuple[psycopg.abc.QueryNoTemplate, Sequence[Any]]:
    rules = (_placements_json(append.placements), _record_json(append.record, keys_kept))
    return "SELECT append_events(%s, %s, %s)", (_events_json(append.events), *rules)


def _events_json(events: Sequence[EventRecord]) -> str:
    rows = []
    expected: dict[str, int] = {}
    for event in sorted(events, key=lambda e: (e.stream, e.version)):
        first = expected.get(event.stream) is None
        if not first and expected[event.stream] != event.version:
            raise ValueError(f"{event.stream}: version {event.version} does not follow {expected[event.stream] - 1}")
        expected[event.stream] = event.version + 1
        rows.append(_event_row(event) | {"first": first})
    return json.dumps(rows)


def _event_row(event: EventRecord) -> dict[str, Any]:
    return {
        "id": str(event.id),
        "stream": event.stream,
        "version": event.version,
        "type": event.type,
        "schema_version": event.schema_version,
        "data": event.data,
        "metadata": vars(event.metadata),
        "recorded_at": event.recorded_at.isoformat(),
    }


def event_from(row: TupleRow) -> EventRecord:
    """Of the columns from `id` to `recorded_at`."""
    event_id, stream, version, event_type, schema_version, data, metadata, recorded_at = row
    return EventRecord(
        event_id, stream, version, event_type, schema_version, data, stored_context(metadata), recorded_at
    )


def _placements_json(placements: Sequence[Placement]) -> str | None:
    return json.dumps([_placement_row(placement) for placement in placements]) if placements else None


def _placement_row(placement: Placement) -> dict[str, Any]:
    match placement:
        case Place(stream, parent, name):
            return {"stream": stream, "parent": parent, "name": name, "removed": False}
        case Remove(stream):
            return {"stream": stream, "removed": True}


def _record_json(record: IdempotencyRecord | None, keys_kept: float) -> str | None:
    return json.dumps(vars(record) | {"kept_seconds": keys_kept}) if record else None
