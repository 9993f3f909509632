"""What was asked of the shop and how it went: a history for people, written on the side.

Nothing waits for it and nothing depends on it: entries are collected in the process and written in batches by a thread of
their own; when they come faster than they can be written, the rest is dropped and counted.
"""

import atexit
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from typing import Any, Literal, LiteralString, Protocol
from uuid import UUID

import structlog
from psycopg_pool import ConnectionPool
from uuid_utils.compat import uuid7

from shared.domain.errors import ShopError
from shared.resilience.postgres import unavailable_when_down

Kind = Literal["command", "query", "delivery"]

_log = structlog.get_logger()


@dataclass(frozen=True)
class Execution:
    """`status`: `success`, or the code of the error. `subject`: the stream it was about. `data`: JSON, as it was asked."""

    kind: Kind
    name: str
    status: str
    milliseconds: int
    correlation_id: str
    error: str | None = None
    subject: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    id: UUID = field(default_factory=uuid7)
    recorded_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Wanted:
    """Which executions: all of `kind`, or only those of a name, with a status, after a moment."""

    kind: Kind
    name: str | None = None
    status: str | None = None
    after: datetime | None = None
    limit: int = 100


class Executions(Protocol):
    def write(self, executions: Sequence[Execution]) -> None:
        """Raises Unavailable and TimedOut."""

    def find(self, wanted: Wanted) -> list[Execution]:
        """The newest first; those after a moment the oldest first, so that one can go on from the last."""

    def of_correlation(self, correlation_id: str, limit: int) -> list[Execution]:
        """All kinds, the oldest first."""

    def expire(self, before: datetime, limit: int) -> int:
        """Delete up to so many that are older; how many there were."""


class Recorder:
    """`sample`: how many of all executions are kept, from 0 to 1. Failures are always kept."""

    def __init__(self, executions: Executions, sample: float = 1.0, every: float = 1.0, room: int = 5000) -> None:
        self._executions = executions
        self._sample = sample
        self._every = every
        self._waiting: Queue[Execution] = Queue(room)
        self._dropped = 0
        self._closing = Event()
        self._writing = Lock()
        self._thread = Thread(target=self._run, name="executions", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def record(self, execution: Execution) -> None:
        """Never waits, never fails."""
        if execution.status == "success" and random.random() >= self._sample:
            return
        try:
            self._waiting.put_nowait(execution)
        except Full:
            self._dropped += 1

    def flush(self) -> None:
        """Write what is there. What can't be written is given up and logged."""
        with self._writing:
            while batch := self._batch():
                try:
                    self._executions.write(batch)
                except ShopError as error:
                    self._dropped += len(batch)
                    _log.warning("executions were not kept", count=self._dropped, reason=error.message)
                    return

    def close(self) -> None:
        self._closing.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._closing.wait(self._every):
            self._flush_whatever_happens()
        self._flush_whatever_happens()

    def _flush_whatever_happens(self) -> None:
        try:
            self.flush()
        except Exception:
            _log.exception("executions were not kept")

    def _batch(self, most: int = 500) -> list[Execution]:
        batch: list[Execution] = []
        try:
            while len(batch) < most:
                batch.append(self._waiting.get_nowait())
        except Empty:
            return batch
        return batch


_COLUMNS: LiteralString = "kind, name, status, milliseconds, correlation_id, error, subject, data, id, recorded_at"

_WRITE: LiteralString = f"""
INSERT INTO executions ({_COLUMNS}) SELECT {_COLUMNS} FROM json_to_recordset(%s) AS e (
    kind text, name text, status text, milliseconds integer, correlation_id text, error text, subject text, data json,
    id uuid, recorded_at timestamptz
) ON CONFLICT DO NOTHING
"""  # noqa: S608 - put together of constants only
_EXPIRE = """
DELETE FROM executions WHERE id IN (SELECT id FROM executions WHERE recorded_at < %s ORDER BY recorded_at LIMIT %s)
"""


class PostgresExecutions:
    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def write(self, executions: Sequence[Execution]) -> None:
        rows = json.dumps([vars(one) for one in executions], default=str, ensure_ascii=False)
        storable = rows.replace("\\u0000", "\ufffd").encode("utf-8", "replace").decode()
        with unavailable_when_down("the history of executions"), self._pool.connection() as connection:
            connection.execute(_WRITE, (storable,))

    def find(self, wanted: Wanted) -> list[Execution]:
        conditions: list[LiteralString] = ["kind = %(kind)s"]
        conditions += ["name = %(name)s"] if wanted.name else []
        conditions += ["status = %(status)s"] if wanted.status else []
        conditions += ["recorded_at > %(after)s"] if wanted.after else []
        order: LiteralString = "recorded_at, id" if wanted.after else "recorded_at DESC, id DESC"
        return self._rows(" AND ".join(conditions), order, vars(wanted))

    def of_correlation(self, correlation_id: str, limit: int) -> list[Execution]:
        values = {"correlation_id": correlation_id, "limit": limit}
        return self._rows("correlation_id = %(correlation_id)s", "recorded_at, id", values)

    def expire(self, before: datetime, limit: int) -> int:
        with unavailable_when_down("the history of executions"), self._pool.connection() as connection:
            return connection.execute(_EXPIRE, (before, limit)).rowcount

    def _rows(self, where: LiteralString, order: LiteralString, values: Mapping[str, Any]) -> list[Execution]:
        query: LiteralString = f"SELECT {_COLUMNS} FROM executions WHERE {where} ORDER BY {order} LIMIT %(limit)s"  # noqa: S608
        with unavailable_when_down("the history of executions"), self._pool.connection() as connection:
            return [Execution(*row) for row in connection.execute(query, values)]


class MemoryExecutions:
    """The newest 10,000."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[UUID, Execution] = {}

    def write(self, executions: Sequence[Execution]) -> None:
        with self._lock:
            self._kept |= {one.id: one for one in executions}
            for oldest in list(self._kept)[:-10_000]:
                del self._kept[oldest]

    def find(self, wanted: Wanted) -> list[Execution]:
        found = [
            one
            for one in self._sorted()
            if one.kind == wanted.kind
            and wanted.name in (None, one.name)
            and wanted.status in (None, one.status)
            and (wanted.after is None or one.recorded_at > wanted.after)
        ]
        return (found if wanted.after else found[::-1])[: wanted.limit]

    def of_correlation(self, correlation_id: str, limit: int) -> list[Execution]:
        return [one for one in self._sorted() if one.correlation_id == correlation_id][:limit]

    def expire(self, before: datetime, limit: int) -> int:
        old = [one for one in self._sorted() if one.recorded_at < before][:limit]
        with self._lock:
            for one in old:
                self._kept.pop(one.id, None)
        return len(old)

    def _sorted(self) -> list[Execution]:
        with self._lock:
            return sorted(self._kept.values(), key=lambda one: (one.recorded_at, one.id))
