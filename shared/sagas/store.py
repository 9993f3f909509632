"""Where sagas are kept: progress, history and outgoing commands in one transaction, guarded by the saga's version."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString, NamedTuple, Protocol
from uuid import UUID

from psycopg import Connection
from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow
from pydantic import TypeAdapter

from shared.domain.errors import ConcurrencyError
from shared.event_store.protocol import Checkpoint
from shared.messaging.envelope import Message, encode_stored
from shared.messaging.outbox import AfterCommit
from shared.resilience.postgres import Pool
from shared.sagas.definition import Progress, Status

_PROGRESS = TypeAdapter(Progress)


@dataclass(frozen=True)
class StoredSaga:
    """`version`: 0 for one that has never been saved."""

    type: str
    progress: Progress
    version: int
    correlation_id: str


@dataclass(frozen=True)
class HistoryEntry:
    """`message`: the id of the message that carries a command."""

    kind: Literal["event", "command", "timer", "retry"]
    name: str
    data: dict[str, Any]
    message: UUID | None = None


@dataclass(frozen=True)
class SagaBacklog:
    """`overdue`: sagas whose deadline nobody has fired. `stuck`: those that wait for a person."""

    overdue: int
    stuck: int


@dataclass(frozen=True)
class SagaCount:
    """`oldest`: when the one that began first was saved first, UTC."""

    sagas: int
    oldest: datetime


@dataclass(frozen=True)
class SagaExtent:
    """`statuses`: how many sagas have each, a FAILED one that had something to undo as COMPENSATED. `entries`: of all their
    histories."""

    statuses: Mapping[str, int]
    entries: int
    updated_at: datetime | None


ENTRIES = TypeAdapter(list[tuple[datetime, HistoryEntry]])


class Sagas(NamedTuple):
    """Which to list; None: whatever it is."""

    status: Status | None = None
    type: str | None = None


ALL = Sagas()


@dataclass(frozen=True)
class ListedSaga:
    """`history`: what it saw and sent, and when; of events only the names."""

    saga: StoredSaga
    created_at: datetime
    updated_at: datetime
    history: Sequence[tuple[datetime, HistoryEntry]]


@dataclass(frozen=True)
class SagaEntry:
    """One entry of the log of all sagas. `saga`: what it had come to, where this is the last entry of a version. Of events
    only the names."""

    checkpoint: Checkpoint
    saga_id: UUID
    at: datetime
    entry: HistoryEntry
    saga: ListedSaga | None = None


class SagaStore(Protocol):
    def load(self, saga_id: UUID) -> StoredSaga | None: ...

    def save(self, saga: StoredSaga, history: Sequence[HistoryEntry], messages: Sequence[Message]) -> None:
        """Save as the version after `saga.version`, then hand the messages over for publishing.

        Raises ConcurrencyError when it has been saved meanwhile, Unavailable when the engine doesn't answer.
        """

    def due(self, now: datetime, limit: int) -> list[UUID]:
        """Sagas whose deadline has passed, longest overdue first."""

    def backlog(self, since: datetime) -> SagaBacklog:
        """`since`: a deadline that passed before it is overdue. Raises Unavailable."""

    def counts(self) -> Mapping[Status, SagaCount]:
        """Of each status that any has. Raises Unavailable."""

    def history(self, saga_id: UUID) -> list[HistoryEntry]: ...

    def newest(self, limit: int, offset: int = 0, which: Sagas = ALL) -> list[ListedSaga]: ...

    def listed(self, saga_id: UUID) -> ListedSaga | None: ...

    def forget_histories(self, before: datetime, limit: int) -> int:
        """Delete entries of sagas that ended before; how many. The sagas stay, so that no late message starts one anew."""


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
                connection.execute(
                    "SELECT save_saga(%s, %s, %s, %s)", (json.dumps(row), saga.version, entries, outgoing)
                )
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

    def counts(self) -> Mapping[Status, SagaCount]:
        with self._pool.use("the saga store") as connection:
            return {Status(row[0]): SagaCount(row[1], row[2]) for row in connection.execute(COUNTS)}

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
    until = time.monotonic() + _COUNTING
    while connection.execute("SELECT count_saga_commands(%s)", (_BATCH,)).fetchone() == (_BATCH,):
        if time.monotonic() > until:
            break


def _listed_saga(row: TupleRow) -> ListedSaga:
    saga = StoredSaga(row[0], _PROGRESS.validate_python(row[1]), row[2], row[3])
    return ListedSaga(saga, row[4], row[5], ENTRIES.validate_python(row[6] or []))
