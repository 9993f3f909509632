"""Sagas in PostgreSQL: the store, and the histories of all sagas as one log.

Histories are kept for a limited time; the counts of sent commands are kept for good.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow

from shared.domain.errors import ConcurrencyError
from shared.domain.values import adapter
from shared.event_store.protocol import Checkpoint, Moment
from shared.messaging.envelope import Message, encode_stored
from shared.messaging.outbox import LEASE_SECONDS, AfterCommit, Traffic
from shared.postgres.pool import Pool
from shared.postgres.slices import Slice
from shared.resilience import clock
from shared.sagas.definition import Progress
from shared.sagas.outbox import POSTPONE
from shared.sagas.postgres_lists import (
    AT_STEPS,
    COUNT_HELD_UP,
    HELD_UP,
    LISTED,
    SHOWN,
    counted,
    listed_saga,
    newest,
    stored_saga,
)
from shared.sagas.status import SagaStatus
from shared.sagas.store import (
    ALL,
    HeldUp,
    HistoryEntry,
    ListedSaga,
    SagaBacklog,
    SagaCount,
    SagaEntry,
    Sagas,
    StepCount,
    StoredSaga,
)

_BATCH = 20_000
_COUNTING_SECONDS = 3.0

COUNTS: LiteralString = "SELECT status, count(*), min(created_at) FROM sagas GROUP BY status"
_FORGET = """
DELETE FROM saga_history WHERE (saga_id, version, entry) IN (
    SELECT saga_id, h.version, entry FROM saga_history h JOIN sagas s ON s.id = saga_id
    WHERE h.recorded_at AT TIME ZONE 'UTC' < %(before)s AT TIME ZONE 'UTC'
      AND s.updated_at < %(before)s AND s.status IN ('COMPLETED', 'FAILED')
      AND (h.epoch, h.transaction_id, h.position) <= (SELECT epoch, transaction_id, position FROM saga_commands_counted)
    ORDER BY h.recorded_at AT TIME ZONE 'UTC', h.position LIMIT %(limit)s
)
"""


class PostgresSagaStore:
    def __init__(self, pool: Pool, after_commit: AfterCommit | None = None) -> None:
        self._pool = pool
        self._after_commit = after_commit

    def load(self, saga_id: UUID) -> StoredSaga | None:
        return self.load_many([saga_id]).get(saga_id)

    def load_many(self, saga_ids: Collection[UUID]) -> Mapping[UUID, StoredSaga]:
        if not saga_ids:
            return {}
        query: LiteralString = "SELECT type, progress, version, correlation_id FROM sagas WHERE id = ANY(%(ids)s)"
        found = map(stored_saga, _rows(self._pool, query, ids=[*saga_ids]))
        return {saga.progress.saga_id: saga for saga in found}

    def save(self, saga: StoredSaga, history: Sequence[HistoryEntry], messages: Sequence[Message]) -> None:
        progress = adapter(Progress).dump_python(saga.progress, mode="json")
        columns = {"id": progress["saga_id"], "type": saga.type, "correlation_id": saga.correlation_id}
        row = columns | {name: progress[name] for name in ("status", "deadline_at")} | {"progress": progress}
        entries = json.dumps([vars(entry) for entry in history], default=str)
        outgoing = "[" + ",".join(encode_stored(message) for message in messages) + "]"
        values = (json.dumps(row), saga.version, entries, outgoing, LEASE_SECONDS)
        try:
            with self._pool.use("the saga store") as connection:
                connection.execute("SELECT save_saga(%s, %s, %s, %s, %s)", values)
        except UniqueViolation as error:
            raise ConcurrencyError("another process moved the saga at the same moment") from error
        if self._after_commit:
            self._after_commit(messages)

    def postpone(self, message: Message, seconds: float) -> None:
        values = {
            "id": message.id,
            "topic": message.topic,
            "message": encode_stored(message),
            "place": message.postponed.place if message.postponed else None,
            "seconds": seconds,
        }
        with self._pool.use("the saga store") as connection:
            connection.execute(POSTPONE, values)

    def due(self, now: datetime, limit: int) -> list[UUID]:
        query: LiteralString = "SELECT id FROM sagas WHERE deadline_at <= %(now)s ORDER BY deadline_at LIMIT %(limit)s"
        return [row[0] for row in _rows(self._pool, query, now=now, limit=limit)]

    def backlog(self, since: datetime) -> SagaBacklog:
        query: LiteralString = """SELECT (SELECT count(*) FROM sagas WHERE deadline_at <= %(since)s),
                                         (SELECT count(*) FROM sagas WHERE status = 'STUCK')"""
        return SagaBacklog(*_rows(self._pool, query, since=since)[0])

    def counts(self) -> Mapping[SagaStatus, SagaCount]:
        return {SagaStatus(row[0]): SagaCount(row[1], row[2]) for row in _rows(self._pool, COUNTS)}

    def history(self, saga_id: UUID) -> list[HistoryEntry]:
        query: LiteralString = """SELECT kind, name, data, message FROM saga_history WHERE saga_id = %(id)s
                                  ORDER BY version, entry"""
        return [HistoryEntry(*row) for row in _rows(self._pool, query, id=saga_id)]

    def newest(self, limit: int, offset: int = 0, which: Sagas = ALL) -> list[ListedSaga]:
        query, values = newest(which, Slice(limit, descending=True), offset)
        return list(map(listed_saga, _rows(self._pool, query, **values)))

    def page(self, which: Sagas, part: Slice) -> list[ListedSaga]:
        query, values = newest(which, part)
        return list(map(listed_saga, _rows(self._pool, query, **values)))

    def count(self, which: Sagas) -> int:
        query, values = counted(which)
        return int(_rows(self._pool, query, **values)[0][0])

    def listed(self, saga_id: UUID) -> ListedSaga | None:
        query: LiteralString = f"{LISTED} FROM sagas s WHERE id = %(id)s"
        return next(map(listed_saga, _rows(self._pool, query, id=saga_id)), None)

    def held_up(self, since: datetime, limit: int) -> list[ListedSaga]:
        return list(map(listed_saga, _rows(self._pool, HELD_UP, since=since, limit=limit)))

    def count_held_up(self, since: datetime) -> HeldUp:
        return HeldUp(*_rows(self._pool, COUNT_HELD_UP, since=since)[0])

    def at_steps(self) -> list[StepCount]:
        rows = _rows(self._pool, AT_STEPS)
        return [StepCount(version, tuple(steps), step, SagaStatus(of), n) for version, steps, step, of, n in rows]

    def forget_histories(self, before: datetime, limit: int) -> int:
        """Keep entries whose commands are not yet counted."""
        with self._pool.use("the saga store") as connection:
            count_commands(connection)
            return connection.execute(_FORGET, {"before": before, "limit": limit}).rowcount


def _rows(pool: Pool, query: LiteralString, **values: object) -> list[TupleRow]:
    with pool.use("the saga store") as connection:
        return connection.execute(query, values).fetchall()


def count_commands(connection: Connection[TupleRow]) -> None:
    """Count the commands sent since the last call, batch by batch, for at most a few seconds."""
    until = clock.monotonic() + _COUNTING_SECONDS
    while connection.execute("SELECT count_saga_commands(%s)", (_BATCH,)).fetchone() == (_BATCH,):
        if clock.monotonic() > until:
            break


# Running transactions may still add entries before later ones: see SETTLED in
# event_store/postgres.py.
_SETTLED: LiteralString = """
(h.epoch < (SELECT max(epoch) FROM epochs) OR h.transaction_id < pg_snapshot_xmin(pg_current_snapshot()))
"""
_ENTRY: LiteralString = """
SELECT h.epoch, h.transaction_id::text::bigint AS transaction, h.position, h.saga_id, h.recorded_at, h.kind, h.name,
    CASE h.kind WHEN 'event' THEN '{}' ELSE h.data END AS data, h.message
"""
READ_ALL: LiteralString = f"""
{_ENTRY}, s.type, h.progress, h.version, s.correlation_id, s.created_at, h.recorded_at,
CASE WHEN h.progress IS NOT NULL THEN (
    SELECT {SHOWN} FROM saga_history p WHERE p.saga_id = h.saga_id AND p.version <= h.version
) END
FROM (
    SELECT * FROM saga_history h
    WHERE (h.epoch, h.transaction_id, h.position) > (%(epoch)s, %(transaction)s::text::xid8, %(position)s) AND {_SETTLED}
    ORDER BY h.epoch, h.transaction_id, h.position LIMIT %(limit)s
) AS h JOIN sagas s ON s.id = h.saga_id
ORDER BY h.epoch, h.transaction_id, h.position
"""  # noqa: S608 - built of constants only
# An entry is counted before it is forgotten, so the place of the last count is after it.
_END: LiteralString = f"""
SELECT epoch, transaction_id::text::bigint, position FROM (
    (SELECT epoch, transaction_id, position FROM saga_history h WHERE {_SETTLED}
    ORDER BY h.epoch DESC, h.transaction_id DESC, h.position DESC LIMIT 1)
    UNION ALL SELECT epoch, transaction_id, position FROM saga_commands_counted
) AS place
ORDER BY place.epoch DESC, place.transaction_id DESC, place.position DESC LIMIT 1
"""  # noqa: S608 - built of constants only
LAST_SENT: LiteralString = f"""
SELECT found.* FROM unnest(%(commands)s::text[]) AS wanted (name) CROSS JOIN LATERAL (
    {_ENTRY} FROM saga_history h WHERE h.name = wanted.name AND message IS NOT NULL
    ORDER BY h.recorded_at DESC, h.position DESC LIMIT %(limit)s
) AS found
ORDER BY recorded_at DESC, position DESC LIMIT %(limit)s
"""  # noqa: S608 - built of constants only
SENT_AFTER: LiteralString = f"""
SELECT found.* FROM unnest(%(commands)s::text[]) AS wanted (name) CROSS JOIN LATERAL (
    {_ENTRY} FROM saga_history h WHERE h.name = wanted.name AND message IS NOT NULL
        AND (h.recorded_at, h.position) > (%(after)s, %(position)s)
    ORDER BY h.recorded_at, h.position LIMIT %(limit)s
) AS found
ORDER BY recorded_at, position LIMIT %(limit)s
"""  # noqa: S608 - built of constants only
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
        return list(map(_entry, _rows(self._pool, READ_ALL, limit=limit, **place)))

    def end(self) -> Checkpoint:
        return Checkpoint(*next(iter(_rows(self._pool, _END)), ()))

    def sent(self, commands: Sequence[str], after: Moment | None, limit: int) -> list[SagaEntry]:
        query = LAST_SENT if after is None else SENT_AFTER
        place = {"after": after.at, "position": after.position} if after else {}
        return list(map(_entry, _rows(self._pool, query, commands=list(commands), limit=limit, **place)))

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        with self._pool.use("the saga store") as connection:
            count_commands(connection)
            rows = connection.execute(LATELY, {"since": since, "until": until})
            return {name: Traffic(*traffic) for name, *traffic in rows}


def _entry(row: TupleRow) -> SagaEntry:
    """Read a row of _ENTRY, and on the last entry of a version the columns of the saga after it."""
    saga = listed_saga(row[9:]) if len(row) > 9 and row[10] is not None else None
    return SagaEntry(Checkpoint(*row[:3]), row[3], row[4], HistoryEntry(*row[5:9]), saga)
