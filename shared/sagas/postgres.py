"""The histories of all sagas as one log, to be followed without a gap; and the commands in it, which are messages, by when
they were sent.

It reaches as far back as histories are kept; what was sent is counted for good.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow
from pydantic import TypeAdapter

from shared.domain.errors import ConcurrencyError
from shared.event_store.protocol import Checkpoint
from shared.messaging.envelope import Message, decode_stored, encode_stored
from shared.messaging.outbox import LEASE_SECONDS, AfterCommit, OutboxTable, Traffic
from shared.postgres.pool import Pool
from shared.resilience import clock
from shared.sagas.definition import Progress, SagaStatus
from shared.sagas.store import (
    ALL,
    ENTRIES,
    HistoryEntry,
    ListedSaga,
    SagaBacklog,
    SagaCount,
    SagaEntry,
    Sagas,
    StoredSaga,
)

_PROGRESS = TypeAdapter(Progress)


# See SETTLED in event_store/postgres.py for why it reads no further.
_SETTLED: LiteralString = """
(h.epoch < (SELECT max(epoch) FROM epochs) OR h.transaction_id < pg_snapshot_xmin(pg_current_snapshot()))
"""
_ENTRY: LiteralString = """
SELECT h.epoch, h.transaction_id::text::bigint AS transaction, h.position, h.saga_id, h.recorded_at, h.kind, h.name,
    CASE h.kind WHEN 'event' THEN '{}' ELSE h.data END AS data, h.message
"""
READ_ALL: LiteralString = f"""
{_ENTRY}, h.version, h.progress, s.type, s.correlation_id, s.created_at, CASE WHEN h.progress IS NOT NULL THEN (
    SELECT json_agg(json_build_array(p.recorded_at, json_build_object(
        'kind', p.kind, 'name', p.name, 'data', CASE p.kind WHEN 'event' THEN '{{}}' ELSE p.data END, 'message', p.message
    )) ORDER BY p.version, p.entry) FROM saga_history p WHERE p.saga_id = h.saga_id AND p.version <= h.version
) END
FROM (
    SELECT * FROM saga_history h
    WHERE (h.epoch, h.transaction_id, h.position) > (%(epoch)s, %(transaction)s::text::xid8, %(position)s) AND {_SETTLED}
    ORDER BY h.epoch, h.transaction_id, h.position LIMIT %(limit)s
) AS h JOIN sagas s ON s.id = h.saga_id
ORDER BY h.epoch, h.transaction_id, h.position
"""  # noqa: S608 - put together of constants only
# Where the last entries have been forgotten, the end is not before them: what is forgotten was counted.
_END: LiteralString = f"""
SELECT epoch, transaction_id::text::bigint, position FROM (
    (SELECT epoch, transaction_id, position FROM saga_history h WHERE {_SETTLED}
    ORDER BY h.epoch DESC, h.transaction_id DESC, h.position DESC LIMIT 1)
    UNION ALL SELECT epoch, transaction_id, position FROM saga_commands_counted
) AS place
ORDER BY place.epoch DESC, place.transaction_id DESC, place.position DESC LIMIT 1
"""  # noqa: S608 - put together of constants only
LAST_SENT: LiteralString = f"""
SELECT found.* FROM unnest(%(commands)s::text[]) AS wanted (name) CROSS JOIN LATERAL (
    {_ENTRY} FROM saga_history h WHERE h.name = wanted.name AND message IS NOT NULL
    ORDER BY h.recorded_at DESC, h.position DESC LIMIT %(limit)s
) AS found
ORDER BY recorded_at DESC, position DESC LIMIT %(limit)s
"""  # noqa: S608 - put together of constants only
SENT_AFTER: LiteralString = f"""
SELECT found.* FROM unnest(%(commands)s::text[]) AS wanted (name) CROSS JOIN LATERAL (
    {_ENTRY} FROM saga_history h WHERE h.name = wanted.name AND message IS NOT NULL AND h.recorded_at > %(after)s
    ORDER BY h.recorded_at, h.position LIMIT %(limit)s
) AS found
ORDER BY recorded_at, position LIMIT %(limit)s
"""  # noqa: S608 - put together of constants only
LATELY: LiteralString = """
SELECT name, count, (
    SELECT count(*) FROM saga_history h
    WHERE h.name = c.name AND message IS NOT NULL AND recorded_at > %(since)s AND recorded_at <= %(until)s
), last_at
FROM saga_command_counts c
"""


class PostgresSagaLog:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def read_all(self, after: Checkpoint, limit: int) -> list[SagaEntry]:
        place = {"epoch": after.epoch, "transaction": str(after.transaction_id), "position": after.position}
        return self._find(READ_ALL, limit=limit, **place)

    def end(self) -> Checkpoint:
        with self._pool.use("the saga store") as connection:
            return Checkpoint(*(connection.execute(_END).fetchone() or ()))

    def sent(self, commands: Sequence[str], after: datetime | None, limit: int) -> list[SagaEntry]:
        query = LAST_SENT if after is None else SENT_AFTER
        return self._find(query, commands=list(commands), after=after, limit=limit)

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        with self._pool.use("the saga store") as connection:
            count_commands(connection)
            found = connection.execute(LATELY, {"since": since, "until": until})
            return {name: Traffic(*traffic) for name, *traffic in found}

    def _find(self, query: LiteralString, **values: object) -> list[SagaEntry]:
        with self._pool.use("the saga store") as connection:
            return [_entry(row) for row in connection.execute(query, values)]


def _entry(row: TupleRow) -> SagaEntry:
    place, saga_id, at, entry = Checkpoint(*row[:3]), row[3], row[4], HistoryEntry(*row[5:9])
    if len(row) == 9 or row[10] is None:
        return SagaEntry(place, saga_id, at, entry)
    version, progress, kind, correlation_id, created_at, history = row[9:]
    saga = StoredSaga(kind, _PROGRESS.validate_python(progress), version, correlation_id)
    return SagaEntry(place, saga_id, at, entry, ListedSaga(saga, created_at, at, ENTRIES.validate_python(history)))


_LISTED: LiteralString = """
SELECT type, progress, version, correlation_id, created_at, updated_at, (
    SELECT json_agg(json_build_array(h.recorded_at, json_build_object(
        'kind', kind, 'name', name, 'data', CASE kind WHEN 'event' THEN '{}' ELSE data END, 'message', message
    )) ORDER BY h.version, entry) FROM saga_history h WHERE saga_id = s.id
)
"""


_FORGET = """
DELETE FROM saga_history WHERE (saga_id, version, entry) IN (
    SELECT saga_id, h.version, entry FROM saga_history h JOIN sagas s ON s.id = saga_id
    WHERE h.recorded_at AT TIME ZONE 'UTC' < %(before)s AT TIME ZONE 'UTC'
      AND s.updated_at < %(before)s AND s.status IN ('COMPLETED', 'FAILED')
      AND (h.epoch, h.transaction_id, h.position) <= (SELECT epoch, transaction_id, position FROM saga_commands_counted)
    ORDER BY h.recorded_at AT TIME ZONE 'UTC', h.position LIMIT %(limit)s
)
"""


_BATCH = 20_000


_COUNTING = 3.0  # seconds


COUNTS: LiteralString = "SELECT status, count(*), min(created_at) FROM sagas GROUP BY status"


class PostgresSagaStore:
    def __init__(self, pool: Pool, after_commit: AfterCommit | None = None) -> None:
        self._pool = pool
        self._after_commit = after_commit

    def load(self, saga_id: UUID) -> StoredSaga | None:
        query = "SELECT type, progress, version, correlation_id FROM sagas WHERE id = %s"
        with self._pool.use("the saga store") as connection:
            row = connection.execute(query, (saga_id,)).fetchone()
        return StoredSaga(row[0], _PROGRESS.validate_python(row[1]), row[2], row[3]) if row else None

    def save(self, saga: StoredSaga, history: Sequence[HistoryEntry], messages: Sequence[Message]) -> None:
        progress = _PROGRESS.dump_python(saga.progress, mode="json")
        row = {
            "id": progress["saga_id"],
            "type": saga.type,
            "status": progress["status"],
            "deadline_at": progress["deadline_at"],
            "progress": progress,
            "correlation_id": saga.correlation_id,
        }
        entries = json.dumps([vars(entry) for entry in history], default=str)
        outgoing = "[" + ",".join(encode_stored(message) for message in messages) + "]"
        try:
            with self._pool.use("the saga store") as connection:
                values = (json.dumps(row), saga.version, entries, outgoing, LEASE_SECONDS)
                connection.execute("SELECT save_saga(%s, %s, %s, %s, %s)", values)
        except UniqueViolation as error:
            raise ConcurrencyError("the saga moved at the same moment") from error
        if self._after_commit:
            self._after_commit(messages)

    def due(self, now: datetime, limit: int) -> list[UUID]:
        query = "SELECT id FROM sagas WHERE deadline_at <= %s ORDER BY deadline_at LIMIT %s"
        with self._pool.use("the saga store") as connection:
            return [row[0] for row in connection.execute(query, (now, limit))]

    def backlog(self, since: datetime) -> SagaBacklog:
        query = """SELECT (SELECT count(*) FROM sagas WHERE deadline_at <= %s),
                          (SELECT count(*) FROM sagas WHERE status = 'STUCK')"""
        with self._pool.use("the saga store") as connection:
            return SagaBacklog(*(connection.execute(query, (since,)).fetchone() or (0, 0)))

    def counts(self) -> Mapping[SagaStatus, SagaCount]:
        with self._pool.use("the saga store") as connection:
            return {SagaStatus(row[0]): SagaCount(row[1], row[2]) for row in connection.execute(COUNTS)}

    def history(self, saga_id: UUID) -> list[HistoryEntry]:
        query = "SELECT kind, name, data, message FROM saga_history WHERE saga_id = %s ORDER BY version, entry"
        with self._pool.use("the saga store") as connection:
            return [HistoryEntry(*row) for row in connection.execute(query, (saga_id,))]

    def newest(self, limit: int, offset: int = 0, which: Sagas = ALL) -> list[ListedSaga]:
        wanted = {"status": which.status.value if which.status else None, "type": which.type}
        return self._listed(newest(which), wanted | {"limit": limit, "offset": offset})

    def listed(self, saga_id: UUID) -> ListedSaga | None:
        return next(iter(self._listed(f"{_LISTED} FROM sagas s WHERE id = %(id)s", {"id": saga_id})), None)

    def _listed(self, query: LiteralString, values: Mapping[str, Any]) -> list[ListedSaga]:
        with self._pool.use("the saga store") as connection:
            return [_listed_saga(row) for row in connection.execute(query, values)]

    def forget_histories(self, before: datetime, limit: int) -> int:
        """What has not been counted yet stays."""
        with self._pool.use("the saga store") as connection:
            count_commands(connection)
            return connection.execute(_FORGET, {"before": before, "limit": limit}).rowcount


def newest(which: Sagas) -> LiteralString:
    """Only what is wanted is in the query, or one plan would have to serve a rare status and a frequent one alike."""
    conditions: list[LiteralString] = ["status = %(status)s"] if which.status else []
    conditions += ["type = %(type)s"] if which.type else []
    where: LiteralString = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"""{_LISTED}
FROM (SELECT * FROM sagas {where} ORDER BY created_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s) AS s
ORDER BY created_at DESC, id DESC
"""  # noqa: S608 - put together of constants only


def count_commands(connection: Connection[TupleRow]) -> None:
    """Count the commands that were sent since this was last done, for as long as there is time for it."""
    until = clock.monotonic() + _COUNTING
    while connection.execute("SELECT count_saga_commands(%s)", (_BATCH,)).fetchone() == (_BATCH,):
        if clock.monotonic() > until:
            break


def _listed_saga(row: TupleRow) -> ListedSaga:
    saga = StoredSaga(row[0], _PROGRESS.validate_python(row[1]), row[2], row[3])
    return ListedSaga(saga, row[4], row[5], ENTRIES.validate_python(row[6] or []))


# The lease is its own short transaction, as the event store's.
SAGA_OUTBOX = OutboxTable(
    claim="""
UPDATE saga_outbox SET leased_until = clock_timestamp() + make_interval(secs => %s)
WHERE id IN (
    SELECT id FROM saga_outbox WHERE leased_until < clock_timestamp() ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
)
RETURNING message
""",
    delete="DELETE FROM saga_outbox WHERE id = ANY(%s)",
    backlog="SELECT count(*), min((message ->> 'time')::timestamptz) FROM saga_outbox",
    message=lambda row: decode_stored(row[0]),
)
