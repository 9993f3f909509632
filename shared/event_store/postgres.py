"""The event store on PostgreSQL: every append is one statement. Its functions are in
sql/always_functions.sql."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import errors
from psycopg.rows import TupleRow
from pydantic_core import to_json

from shared.domain.aggregate import Place, Placement, Remove
from shared.domain.errors import ConcurrencyError
from shared.event_store import protocol as p
from shared.event_store.aggregates import announcement
from shared.messaging.outbox import LEASE_SECONDS, AfterCommit
from shared.messaging.postgres import OutboxTable
from shared.observability.context import stored_context
from shared.postgres.pool import Pool

COLUMNS: LiteralString = "id, stream, version, type, schema_version, data, metadata, recorded_at"
"""The columns that event_from expects."""

# An append takes its transaction id when it starts and becomes visible when it commits, so a later
# id may show first. Below the oldest id still running, nothing can appear any more; that is as far
# as the log may be read. Positions alone can't say that: they are drawn in any order, and reading
# "after position N" loses what was drawn earlier and committed later. Epochs before the last are
# closed.
SETTLED: LiteralString = """
(epoch < (SELECT max(epoch) FROM epochs) OR transaction_id < pg_snapshot_xmin(pg_current_snapshot()))
"""
_ENTRY: LiteralString = f"SELECT epoch, transaction_id::text::bigint, position, {COLUMNS} FROM events"  # noqa: S608 - constants only, as below

_READ: LiteralString = f"""
SELECT {COLUMNS} FROM unnest(%s::text[], %s::int[]) AS wanted (name, seen)
JOIN events ON stream = name AND version > seen ORDER BY stream, version
"""  # noqa: S608
_READ_ALL: LiteralString = f"""
{_ENTRY} WHERE (epoch, transaction_id, position) > (%s, %s::text::xid8, %s) AND {SETTLED}
ORDER BY epoch, transaction_id, position LIMIT %s
"""
_END: LiteralString = f"""
SELECT epoch, transaction_id::text::bigint, position FROM events WHERE {SETTLED}
ORDER BY epoch DESC, transaction_id DESC, position DESC LIMIT 1
"""  # noqa: S608
_READ_STREAM: LiteralString = f"{_ENTRY} WHERE stream = %s AND version > %s ORDER BY version LIMIT %s"

# What append_events does, for a single event without rules: in half the time, without the
# function's overhead. No row is written when the version before it is missing.
_APPEND_ONE = b"""
WITH inserted AS (
    INSERT INTO events (id, stream, version, type, schema_version, data, metadata, recorded_at)
    SELECT * FROM (VALUES (%s, %s, %s, %s, %s::smallint, %s::jsonb, %s::jsonb, %s)) AS e (id, stream, version)
    WHERE version = 1 OR EXISTS (SELECT FROM events x WHERE x.stream = e.stream AND x.version = e.version - 1)
    RETURNING position
)
INSERT INTO event_outbox (position, leased_until)
SELECT position, clock_timestamp() + make_interval(secs => %s) FROM inserted
"""

_RECORDED = """
SELECT key, fingerprint, result FROM idempotency
WHERE key = ANY(%(keys)s) AND recorded_at > clock_timestamp() - make_interval(secs => %(kept)s)
ORDER BY array_position(%(keys)s, key) LIMIT 1
"""
_SNAPSHOTS = """
SELECT stream, version, schema_version, state, created_at, updated_at FROM snapshots
WHERE stream = ANY(%s) AND schema_version = %s
"""


class PostgresEventStore:
    """`pool`: connections in autocommit mode. `after_commit`: publishes an append's messages within
    `lease_seconds`; without it they wait for the relay. `keys_kept`: how long an idempotency key is
    known."""

    def __init__(
        self,
        pool: Pool,
        after_commit: AfterCommit | None = None,
        keys_kept: timedelta = p.KEYS_KEPT,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._pool, self._after_commit = pool, after_commit
        self._keys_kept, self._lease_seconds = keys_kept.total_seconds(), lease_seconds

    def append(self, append: p.Append) -> None:
        simple = len(append.events) == 1 and not append.placements and append.record is None
        statement, values = _append_one(append.events[0]) if simple else _append_many(append, self._keys_kept)
        with self._pool.use("the event store") as connection:
            try:
                written = connection.writer.execute(statement, (*values, self._lease_seconds)).rowcount
            except (errors.IntegrityError, errors.DeadlockDetected, errors.SerializationFailure) as error:
                raise _shop_error(error, append) from error
        if written == 0:
            raise p.violation("events_stream_version")
        if self._after_commit:
            self._after_commit([announcement(event) for event in append.events])

    def read(self, streams: Sequence[str], after: dict[str, int] | None = None) -> dict[str, list[p.EventRecord]]:
        events: dict[str, list[p.EventRecord]] = {stream: [] for stream in streams}
        seen = [(after or {}).get(stream, 0) for stream in events]
        for row in self._rows(_READ, list(events), seen):
            events[row[1]].append(event_from(row))
        return events

    def read_all(self, after: p.Checkpoint, limit: int) -> list[p.LogEntry]:
        return self._entries(_READ_ALL, after.epoch, str(after.transaction_id), after.position, limit)

    def end(self) -> p.Checkpoint:
        return p.Checkpoint(*next(iter(self._rows(_END)), ()))

    def read_stream(self, stream: str, after: int, limit: int) -> list[p.LogEntry]:
        return self._entries(_READ_STREAM, stream, after, limit)

    def snapshots(self, streams: Sequence[str], schema_version: int) -> dict[str, p.Snapshot]:
        return {row[0]: p.Snapshot(*row) for row in self._rows(_SNAPSHOTS, list(streams), schema_version)}

    def save_snapshot(self, snapshot: p.Snapshot) -> None:
        self._rows("SELECT save_snapshot(%s)", to_json(vars(snapshot)).decode())

    def recorded(self, *keys: str) -> p.IdempotencyRecord | None:
        values = {"keys": [*keys], "kept": self._keys_kept}
        rows = self._pool.rows("the event store", _RECORDED, values)
        return p.IdempotencyRecord(*rows[0]) if rows else None

    def forget_keys(self, before: datetime, limit: int) -> int:
        return int(self._rows("SELECT forget_keys(%s, %s)", before, limit)[0][0])

    def _entries(self, query: LiteralString, *values: object) -> list[p.LogEntry]:
        return [p.LogEntry(p.Checkpoint(*row[:3]), event_from(row[3:])) for row in self._rows(query, *values)]

    def _rows(self, query: LiteralString, *values: object) -> list[TupleRow]:
        return self._pool.rows("the event store", query, values)


def _shop_error(error: psycopg.Error, append: p.Append) -> Exception:
    """Return the error of the rule whose constraint was violated; the error itself when it is none
    of these."""
    if not isinstance(error, errors.IntegrityError):
        return ConcurrencyError("two changes got in each other's way; try again")
    constraint = error.diag.constraint_name or ""
    if constraint == "placements_parent" and any(isinstance(placement, Remove) for placement in append.placements):
        constraint = "placements_children"  # the same foreign key, violated from its other side
    try:
        return p.violation(constraint)
    except KeyError:
        return error


def _append_one(event: p.EventRecord) -> tuple[psycopg.abc.QueryNoTemplate, Sequence[Any]]:
    data, metadata = to_json(event.data).decode(), to_json(vars(event.metadata)).decode()
    head = (event.id, event.stream, event.version, event.type, event.schema_version)
    return _APPEND_ONE, (*head, data, metadata, event.recorded_at)


def _append_many(append: p.Append, keys_kept: float) -> tuple[psycopg.abc.QueryNoTemplate, Sequence[Any]]:
    placements = [_placement_row(placement) for placement in append.placements]
    record = json.dumps(vars(append.record) | {"kept_seconds": keys_kept}) if append.record else None
    values = (_events_json(append.events), json.dumps(placements) if placements else None, record)
    return "SELECT append_events(%s, %s, %s, %s)", values


def _events_json(events: Sequence[p.EventRecord]) -> str:
    rows = []
    expected: dict[str, int] = {}
    for event in sorted(events, key=lambda e: (e.stream, e.version)):
        first = event.stream not in expected
        if not first and expected[event.stream] != event.version:
            raise ValueError(f"{event.stream}: version {event.version} does not follow {expected[event.stream] - 1}")
        expected[event.stream] = event.version + 1
        texts = {"id": str(event.id), "metadata": vars(event.metadata), "recorded_at": event.recorded_at.isoformat()}
        rows.append(vars(event) | texts | {"first": first})
    return json.dumps(rows)


def _placement_row(placement: Placement) -> dict[str, Any]:
    match placement:
        case Place(stream, parent, name):
            return {"stream": stream, "parent": parent, "name": name, "removed": False}
        case Remove(stream):
            return {"stream": stream, "removed": True}


def event_from(row: TupleRow) -> p.EventRecord:
    """Return the event of a row of COLUMNS."""
    event_id, stream, version, kind, schema_version, data, metadata, recorded_at = row
    return p.EventRecord(event_id, stream, version, kind, schema_version, data, stored_context(metadata), recorded_at)


EVENT_OUTBOX = OutboxTable(
    claim=f"SELECT {COLUMNS} FROM claim_events(%s, %s)",  # noqa: S608
    delete="DELETE FROM event_outbox o USING events e WHERE o.position = e.position AND e.id = ANY(%s)",
    backlog="SELECT count(*), min(recorded_at) FROM event_outbox JOIN events USING (position)",
    about=f"SELECT {COLUMNS} FROM events JOIN event_outbox USING (position) WHERE stream = %s ORDER BY version",  # noqa: S608
    message=lambda row: announcement(event_from(row)),
)
