"""Keep a history of executions for a while: what was asked of the shop, and with what result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, LiteralString, Protocol
from uuid import UUID

from shared.postgres.pool import Pool, storable_json
from shared.postgres.slices import Slice, where
from shared.resilience import clock

Kind = Literal["command", "query", "delivery", "run", "operation"]


@dataclass(frozen=True)
class Execution:
    """One command, query, delivery, run of a scheduled function, or operation of an admin.
    `status`: `success`, or the code of the error. `subject`: the stream that it was about. `data`:
    JSON, as the caller sent it."""

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
    """Select the executions of a kind, optionally with this name, with this status and recorded
    after this moment and id."""

    kind: Kind
    name: str | None = None
    status: str | None = None
    after: tuple[datetime, UUID] | None = None
    limit: int = 100


SortedBy = Literal["recorded_at", "milliseconds"]


@dataclass(frozen=True)
class ListedExecutions:
    """The executions to list, sorted by time or duration, and id; None matches everything.
    `recorded_before`: exclusive. `by`: the actor of operations. `trace_id`: of the request's
    trace."""

    kind: Kind
    name: str | None = None
    status: str | None = None
    recorded_after: datetime | None = None
    recorded_before: datetime | None = None
    by: str | None = None
    trace_id: str | None = None
    correlation_id: str | None = None
    id: UUID | None = None


class Executions(Protocol):
    def write(self, executions: Sequence[Execution]) -> None:
        """Add executions, each once however often it is written. Raise Unavailable, TimedOut and,
        when the database takes no such value, psycopg's DataError."""

    def find(self, wanted: ExecutionFilter) -> list[Execution]:
        """Return the newest first; with `after`, the oldest first, so that the caller can continue
        after the last."""

    def page(self, which: ListedExecutions, by: SortedBy, part: Slice) -> list[Execution]:
        """Return a slice of the executions."""

    def count(self, which: ListedExecutions) -> int: ...

    def of_correlation(self, correlation_id: str, limit: int) -> list[Execution]:
        """Return executions of all kinds, the oldest first."""

    def expire(self, before: datetime, limit: int) -> int:
        """Delete up to `limit` older executions, but no admin's operation; return how many were
        deleted."""


_COLUMNS: LiteralString = "kind, name, status, milliseconds, correlation_id, error, subject, data, id, recorded_at"

_WRITE: LiteralString = f"""
INSERT INTO executions ({_COLUMNS}) SELECT {_COLUMNS} FROM json_to_recordset(%s) AS e (
    kind text, name text, status text, milliseconds integer, correlation_id text, error text, subject text, data json,
    id uuid, recorded_at timestamptz
) ON CONFLICT DO NOTHING
"""  # noqa: S608 - built from constants only
_EXPIRE = """
DELETE FROM executions WHERE id IN (
    SELECT id FROM executions WHERE recorded_at AT TIME ZONE 'UTC' < %s AT TIME ZONE 'UTC' AND kind <> 'operation'
    ORDER BY recorded_at AT TIME ZONE 'UTC' LIMIT %s
)
"""


_CONDITIONS: Mapping[str, LiteralString] = {
    "kind": "kind = %(kind)s",
    "name": "name = %(name)s",
    "status": "status = %(status)s",
    "recorded_after": "recorded_at >= %(recorded_after)s",
    "recorded_before": "recorded_at < %(recorded_before)s",
    "by": "data ->> 'by' = %(by)s",
    "trace_id": "data ->> 'trace' = %(trace_id)s",
    "correlation_id": "correlation_id = %(correlation_id)s",
    "id": "id = %(id)s",
}
_KEYS: Mapping[SortedBy, Mapping[LiteralString, LiteralString]] = {
    "recorded_at": {"recorded_at": "", "id": ""},
    "milliseconds": {"milliseconds": "", "id": ""},
}


def listed(which: ListedExecutions, by: SortedBy, part: Slice) -> tuple[LiteralString, dict[str, Any]]:
    """Return the statement that lists executions, and its parameters."""
    conditions, values = _conditions(which)
    bounds, order = part.sql(_KEYS[by])
    query: LiteralString = f"SELECT {_COLUMNS} FROM executions {where([*conditions, *bounds])} {order}"  # noqa: S608
    if which.trace_id is not None or which.correlation_id is not None:  # few, which are read before they are sorted
        found: LiteralString = f"SELECT * FROM executions {where(conditions)}"  # noqa: S608
        query = f"WITH found AS MATERIALIZED ({found}) SELECT {_COLUMNS} FROM found {where(bounds)} {order}"  # noqa: S608
    return query, {**values, **part.values}


def _conditions(which: ListedExecutions) -> tuple[list[LiteralString], dict[str, Any]]:
    values = {name: value for name, value in vars(which).items() if value is not None}
    return [_CONDITIONS[name] for name in values], values


class PostgresExecutions:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def write(self, executions: Sequence[Execution]) -> None:
        with self._pool.use("the history of executions") as connection:
            connection.execute(_WRITE, (storable_json([vars(execution) for execution in executions]),))

    def find(self, wanted: ExecutionFilter) -> list[Execution]:
        conditions: list[LiteralString] = ["kind = %(kind)s"]
        conditions += ["name = %(name)s"] if wanted.name else []
        conditions += ["status = %(status)s"] if wanted.status else []
        conditions += ["(recorded_at, id) > (%(at)s, %(id)s)"] if wanted.after else []
        order: LiteralString = "recorded_at, id" if wanted.after else "recorded_at DESC, id DESC"
        place = dict(zip(("at", "id"), wanted.after or (None, None), strict=True))
        return self._rows(" AND ".join(conditions), order, vars(wanted) | place)

    def page(self, which: ListedExecutions, by: SortedBy, part: Slice) -> list[Execution]:
        query, values = listed(which, by, part)
        return [Execution(*row) for row in self._pool.rows("the history of executions", query, values)]

    def count(self, which: ListedExecutions) -> int:
        conditions, values = _conditions(which)
        query: LiteralString = f"SELECT count(*) FROM executions {where(conditions)}"  # noqa: S608
        return int(self._pool.rows("the history of executions", query, values)[0][0])

    def of_correlation(self, correlation_id: str, limit: int) -> list[Execution]:
        values = {"correlation_id": correlation_id, "limit": limit}
        return self._rows("correlation_id = %(correlation_id)s", "recorded_at, id", values)

    def expire(self, before: datetime, limit: int) -> int:
        with self._pool.use("the history of executions") as connection:
            return connection.execute(_EXPIRE, (before, limit)).rowcount

    def _rows(self, where: LiteralString, order: LiteralString, values: Mapping[str, Any]) -> list[Execution]:
        query: LiteralString = f"SELECT {_COLUMNS} FROM executions WHERE {where} ORDER BY {order} LIMIT %(limit)s"  # noqa: S608
        return [Execution(*row) for row in self._pool.rows("the history of executions", query, values)]
