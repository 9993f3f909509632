"""How sagas are selected and read in PostgreSQL."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString

from psycopg.rows import TupleRow

from shared.domain.values import adapter
from shared.postgres.slices import Slice, where
from shared.sagas.definition import Progress
from shared.sagas.status import SagaStatus
from shared.sagas.store import HistoryEntry, ListedSaga, Sagas, StoredSaga

# The data of an event is left out of lists and of the log: it may be personal.
SHOWN: LiteralString = """json_agg(json_build_array(p.recorded_at, json_build_object(
        'kind', p.kind, 'name', p.name, 'data', CASE p.kind WHEN 'event' THEN '{}' ELSE p.data END, 'message', p.message
    )) ORDER BY p.version, p.entry)"""
LISTED: LiteralString = f"""
SELECT type, progress, version, correlation_id, created_at, updated_at, (
    SELECT {SHOWN} FROM saga_history p WHERE p.saga_id = s.id
)
"""  # noqa: S608 - built of constants only
# Literals, where an index holds only these sagas.
_GROUPS: Mapping[str, LiteralString] = {
    "ACTIVE": "status IN ('STARTED', 'COMPENSATING', 'STUCK')",
    "COMPENSATED": "status = 'FAILED' AND (progress ->> 'compensated')::boolean",
}
_CONDITIONS: Mapping[str, LiteralString] = {
    "type": "type = %(type)s",
    "id": "id = %(id)s",
    "correlation_id": "correlation_id = %(correlation_id)s",
    "started_after": "created_at >= %(started_after)s",
    "started_before": "created_at < %(started_before)s",
    "step": f"""{_GROUPS["ACTIVE"]} AND CASE WHEN (progress ->> 'step')::integer >= 0
        THEN progress -> 'steps' ->> (progress ->> 'step')::integer END = %(step)s""",
}


_STUCK: LiteralString = "status = 'STUCK'"
_OVERDUE: LiteralString = "deadline_at <= %(since)s AND status <> 'STUCK'"
_REPEATING: LiteralString = """deadline_at IS NOT NULL AND (progress ->> 'attempts')::integer > 1
    AND deadline_at > %(since)s AND status <> 'STUCK'"""
# Three selections by an index each: OR would read all sagas that have not ended.
HELD_UP: LiteralString = f"""
{LISTED} FROM sagas s WHERE id IN (
    (SELECT id FROM sagas WHERE {_STUCK} ORDER BY id LIMIT %(limit)s)
    UNION ALL (SELECT id FROM sagas WHERE {_OVERDUE} ORDER BY deadline_at LIMIT %(limit)s)
    UNION ALL (SELECT id FROM sagas WHERE {_REPEATING} ORDER BY updated_at LIMIT %(limit)s)
)
ORDER BY updated_at, id
"""  # noqa: S608 - built of constants only
COUNT_HELD_UP: LiteralString = f"""
SELECT (SELECT count(*) FROM sagas WHERE {_STUCK}), (SELECT count(*) FROM sagas WHERE {_OVERDUE}),
    (SELECT count(*) FROM sagas WHERE {_REPEATING})
"""  # noqa: S608 - built of constants only
AT_STEPS: LiteralString = f"""
SELECT coalesce((progress ->> 'version')::integer, 1), coalesce(progress -> 'steps', '[]'),
    (progress ->> 'step')::integer, status, count(*)
FROM sagas WHERE {_GROUPS["ACTIVE"]} GROUP BY 1, 2, 3, 4
"""  # noqa: S608 - built of constants only


def newest(which: Sagas, part: Slice, offset: int = 0) -> tuple[LiteralString, dict[str, Any]]:
    """Return the statement that lists sagas by the time of their start, and its parameters."""
    conditions, values = _conditions(which)
    bounds, order = part.sql({"created_at": "", "id": ""})
    query: LiteralString = f"""{LISTED}
FROM (SELECT * FROM sagas {where([*conditions, *bounds])} {order} OFFSET %(offset)s) AS s {order}
"""  # noqa: S608 - built of constants only
    return query, {**values, **part.values, "offset": offset}


def _conditions(which: Sagas) -> tuple[list[LiteralString], dict[str, Any]]:
    """Include only the wanted conditions: no single plan suits a rare and a frequent status."""
    values = {name: value for name, value in vars(which).items() if value is not None}
    conditions = [_CONDITIONS[name] for name in values if name != "status"]
    if isinstance(which.status, SagaStatus):
        return ["status = %(status)s", *conditions], values | {"status": which.status.value}
    return [*([_GROUPS[which.status]] if which.status else []), *conditions], values


def counted(which: Sagas) -> tuple[LiteralString, dict[str, Any]]:
    """Return the statement that counts sagas, and its parameters."""
    conditions, values = _conditions(which)
    return f"SELECT count(*) FROM sagas {where(conditions)}", values  # noqa: S608 - built of constants only


def stored_saga(row: TupleRow) -> StoredSaga:
    kind, progress, version, correlation_id = row
    return StoredSaga(kind, adapter(Progress).validate_python(progress), version, correlation_id)


def listed_saga(row: TupleRow) -> ListedSaga:
    history = adapter(list[tuple[datetime, HistoryEntry]]).validate_python(row[6] or [])
    return ListedSaga(stored_saga(row[:4]), row[4], row[5], history)
