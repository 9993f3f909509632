"""The history of what was asked of the shop and how it went, kept for a while."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any, Literal, LiteralString, Protocol
from uuid import UUID

from shared.postgres.pool import Pool
from shared.resilience import clock

Kind = Literal["command", "query", "delivery"]


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
    id: UUID = field(default_factory=clock.new_id)
    recorded_at: datetime = field(default_factory=clock.now)


@dataclass(frozen=True)
class ExecutionFilter:
    """Which executions: all of `kind`, or only those of a name, with a status, after a moment."""

    kind: Kind
    name: str | None = None
    status: str | None = None
    after: datetime | None = None
    limit: int = 100


class Executions(Protocol):
    def write(self, executions: Sequence[Execution]) -> None:
        """Raises Unavailable and TimedOut."""

    def find(self, wanted: ExecutionFilter) -> list[Execution]:
        """The newest first; those after a moment the oldest first, so that one can go on from the last."""

    def of_correlation(self, correlation_id: str, limit: int) -> list[Execution]:
        """All kinds, the oldest first."""

    def expire(self, before: datetime, limit: int) -> int:
        """Delete up to so many that are older; how many there were."""


_COLUMNS: LiteralString = "kind, name, status, milliseconds, correlation_id, error, subject, data, id, recorded_at"

_WRITE: LiteralString = f"""
INSERT INTO executions ({_COLUMNS}) SELECT {_COLUMNS} FROM json_to_recordset(%s) AS e (
    kind text, name text, status text, milliseconds integer, correlation_id text, error text, subject text, data json,
    id uuid, recorded_at timestamptz
) ON CONFLICT DO NOTHING
"""  # noqa: S608 - put together of constants only
_EXPIRE = """
DELETE FROM executions WHERE id IN (
    SELECT id FROM executions WHERE recorded_at AT TIME ZONE 'UTC' < %s AT TIME ZONE 'UTC'
    ORDER BY recorded_at AT TIME ZONE 'UTC' LIMIT %s
)
"""


class PostgresExecutions:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def write(self, executions: Sequence[Execution]) -> None:
        rows = json.dumps([vars(one) for one in executions], default=str, ensure_ascii=False)
        storable = rows.replace("\\u0000", "\ufffd").encode("utf-8", "replace").decode()
        with self._pool.use("the history of executions") as connection:
            connection.execute(_WRITE, (storable,))

    def find(self, wanted: ExecutionFilter) -> list[Execution]:
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
        with self._pool.use("the history of executions") as connection:
            return connection.execute(_EXPIRE, (before, limit)).rowcount

    def _rows(self, where: LiteralString, order: LiteralString, values: Mapping[str, Any]) -> list[Execution]:
        query: LiteralString = f"SELECT {_COLUMNS} FROM executions WHERE {where} ORDER BY {order} LIMIT %(limit)s"  # noqa: S608
        with self._pool.use("the history of executions") as connection:
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

    def find(self, wanted: ExecutionFilter) -> list[Execution]:
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

    def extent(self) -> tuple[int, datetime | None]:
        """How many are kept, and when the newest was recorded."""
        newest = max((one.recorded_at for one in self._sorted()), default=None)
        return len(self._kept), newest

    def _sorted(self) -> list[Execution]:
        with self._lock:
            return sorted(self._kept.values(), key=lambda one: (one.recorded_at, one.id))
