"""Keep executions, counts and gauges in the command database."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from datetime import datetime
from typing import Any, LiteralString

from psycopg import DataError

from shared.monitoring.counts import WINDOW, Batch, ExecutionTotals, MinuteTally, RecordTotals, Tally
from shared.monitoring.executions import Execution, ExecutionFilter, ListedExecutions, NotStorable, SortedBy
from shared.monitoring.gauges import Gauges
from shared.postgres.pool import Pool
from shared.postgres.slices import Slice, where
from shared.postgres.text import storable_json


@contextmanager
def _storable_only() -> Iterator[None]:
    """Raise NotStorable for a value that the database refuses."""
    try:
        yield
    except DataError as error:
        raise NotStorable(str(error)) from error


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
        with self._pool.use("the history of executions") as connection, _storable_only():
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


EVER: LiteralString = """
SELECT kind, name, sum(count)::bigint, sum(errors)::bigint, sum(milliseconds)::bigint, max(succeeded_at)
FROM execution_counts WHERE minute = '-infinity' GROUP BY kind, name
"""
LATELY: LiteralString = """
SELECT kind, sum(count)::bigint, sum(errors)::bigint, sum(milliseconds)::bigint, max(succeeded_at)
FROM execution_counts WHERE minute > now() - %s AND minute <= now() GROUP BY kind
"""
MINUTES: LiteralString = """
SELECT minute, kind, sum(count)::bigint, sum(errors)::bigint, sum(milliseconds)::bigint
FROM execution_counts WHERE minute >= %s GROUP BY minute, kind ORDER BY minute, kind
"""
RECORDS: LiteralString = """
SELECT relation, status, sum(count)::bigint, max(updated_at) FROM record_counts GROUP BY relation, status
"""
_FORGET_MINUTES = """
DELETE FROM execution_counts WHERE (minute, kind, name, slot) IN (
    SELECT minute, kind, name, slot FROM execution_counts
    WHERE minute > '-infinity' AND minute < %(before)s LIMIT %(limit)s
)
"""
_FORGET_COUNTERS = """
DELETE FROM execution_counters WHERE at < %(before)s AND id IN (
    SELECT id FROM execution_counters WHERE at < %(before)s ORDER BY at LIMIT %(limit)s
)
"""


class PostgresCounts:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def add(self, batch: Batch) -> None:
        rows = storable_json([{"kind": of, "name": name, **vars(one)} for (of, name), one in batch.tallies.items()])
        with self._pool.use("the counts") as connection, _storable_only():
            connection.execute("SELECT count_executions(%s, %s, %s)", (batch.counter, batch.number, rows))

    def executions(self) -> ExecutionTotals:
        ever = {(row[0], row[1]): Tally(*row[2:]) for row in self._pool.rows("the counts", EVER)}
        lately = {row[0]: Tally(*row[1:]) for row in self._pool.rows("the counts", LATELY, (WINDOW,))}
        return ExecutionTotals(ever, lately)

    def minutes(self, since: datetime) -> list[MinuteTally]:
        rows = self._pool.rows("the counts", MINUTES, (since,))
        return [MinuteTally(minute, kind, Tally(*numbers)) for minute, kind, *numbers in rows]

    def records(self) -> RecordTotals:
        rows = self._pool.rows("the counts", RECORDS)
        sagas = {status: number for relation, status, number, _ in rows if relation == "sagas"}
        others = {relation: number for relation, _, number, _ in rows if relation != "sagas"}
        return RecordTotals(sagas, others, max((at for *_, at in rows), default=None))

    def forget_minutes(self, before: datetime, limit: int) -> int:
        values = {"before": before, "limit": limit}
        with self._pool.use("the counts") as connection:
            return sum(connection.execute(query, values).rowcount for query in (_FORGET_MINUTES, _FORGET_COUNTERS))


_GAUGES: LiteralString = (
    "minute, lag_seconds, lag_streams, outbox_waiting, sagas_started, sagas_compensating, sagas_stuck"
)
_KEEP_GAUGES: LiteralString = (
    f"INSERT INTO gauges ({_GAUGES}) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"  # noqa: S608
)
_GAUGES_SINCE: LiteralString = f"SELECT {_GAUGES} FROM gauges WHERE minute >= %s ORDER BY minute"  # noqa: S608
_FORGET_GAUGES = """
DELETE FROM gauges WHERE minute IN (SELECT minute FROM gauges WHERE minute < %s ORDER BY minute LIMIT %s)
"""


class PostgresGaugeHistory:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def keep(self, gauges: Gauges) -> None:
        with self._pool.use("the history of gauges") as connection:
            connection.execute(_KEEP_GAUGES, astuple(gauges))

    def since(self, moment: datetime) -> list[Gauges]:
        return [Gauges(*row) for row in self._pool.rows("the history of gauges", _GAUGES_SINCE, (moment,))]

    def forget(self, before: datetime, limit: int) -> int:
        with self._pool.use("the history of gauges") as connection:
            return connection.execute(_FORGET_GAUGES, (before, limit)).rowcount


def histories(pool: Pool) -> tuple[PostgresExecutions, PostgresCounts, PostgresGaugeHistory]:
    return PostgresExecutions(pool), PostgresCounts(pool), PostgresGaugeHistory(pool)
