"""The histories of all sagas as one log, to be followed without a gap; and the commands in it, which are messages, by when
they were sent.

It reaches as far back as histories are kept; what was sent is counted for good.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import LiteralString, Protocol

from psycopg.rows import TupleRow
from pydantic import TypeAdapter

from shared.event_store.protocol import Checkpoint
from shared.messaging.outbox import Traffic
from shared.resilience.postgres import Pool
from shared.sagas.definition import Progress
from shared.sagas.store import (
    ENTRIES,
    HistoryEntry,
    ListedSaga,
    SagaEntry,
    StoredSaga,
    count_commands,
)

_PROGRESS = TypeAdapter(Progress)


class SagaLog(Protocol):
    """Raises Unavailable and TimedOut."""

    def read_all(self, after: Checkpoint, limit: int) -> list[SagaEntry]:
        """What comes after a checkpoint, in an order that never changes and to which nothing is ever added behind what has
        been read, however many sagas move at once. A saga's versions come in their order."""

    def end(self) -> Checkpoint:
        """The place of the last entry that read_all gives at this moment, or gave before it was forgotten; where there was
        none, before all."""

    def sent(self, commands: Sequence[str], after: datetime | None, limit: int) -> list[SagaEntry]:
        """Of these commands by when they were sent: the newest first, or after a moment the oldest first."""

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        """By command. Lately is after `since`, up to `until`."""


# See _READ_ALL in event_store/postgres.py for why it reads no further.
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
