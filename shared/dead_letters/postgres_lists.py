"""How dead letters are selected in PostgreSQL."""

from collections.abc import Mapping
from typing import Any, LiteralString

from shared.dead_letters.failures import Cause
from shared.dead_letters.protocol import DeadLetter, LetterFilter, Letters
from shared.postgres.slices import Slice, where

SELECT: LiteralString = """
SELECT id, source, topic, type, subject, attributes, substring(data FROM 1 FOR %(shown)s) AS data, attempts, error,
    first_error, traceparent, correlation_id, status, version, recorded_at, updated_at, (
        SELECT json_agg(json_build_object(
            'kind', kind, 'at', at, 'by', by, 'attempts', h.attempts, 'reason', reason
        ) ORDER BY at, number) FROM dead_letter_history h WHERE letter_id = l.id
    ) AS history
FROM dead_letters l
"""
_CONDITIONS: Mapping[str, LiteralString] = {
    "id": "id = %(id)s",
    "status": "status = %(status)s",
    "source": "source = %(source)s",
    "topic": "topic = %(topic)s",
    "type": "type = %(type)s",
    "subject": "subject = %(subject)s",
    "correlation_id": "correlation_id = %(correlation_id)s",
    "recorded_after": "recorded_at >= %(recorded_after)s",
    "recorded_before": "recorded_at < %(recorded_before)s",
    # The index has the hash, because an error is too long for an index.
    "cause": """md5(source || coalesce(type, '') || coalesce(error, ''))
        = md5(%(cause_source)s || coalesce(%(cause_type)s::text, '') || coalesce(%(cause_error)s::text, ''))
        AND source = %(cause_source)s AND type IS NOT DISTINCT FROM %(cause_type)s
        AND error IS NOT DISTINCT FROM %(cause_error)s""",
}


def listed(which: Letters, part: Slice) -> tuple[LiteralString, dict[str, Any]]:
    """Return the statement that lists letters by the time of their first failure, and its
    parameters."""
    conditions, values = _conditions(which)
    bounds, order = part.sql({"recorded_at": "", "id": ""})
    query: LiteralString = f"{SELECT} {where([*conditions, *bounds])} {order}"
    return query, {**values, **part.values, "shown": DeadLetter.shown_characters}


def _conditions(which: Letters) -> tuple[list[LiteralString], dict[str, Any]]:
    """Include only the wanted conditions: no single plan suits a rare and a frequent value."""
    values = {name: value for name, value in vars(which).items() if value is not None}
    return [_CONDITIONS[name] for name in values], values | _of_cause(which.cause)


def _of_cause(cause: Cause | None) -> dict[str, Any]:
    return {f"cause_{name}": value for name, value in vars(cause).items()} if cause else {}


def _oldest(wanted: LetterFilter, limit: int) -> tuple[LiteralString, dict[str, Any]]:
    """Return the statement that locks the oldest wanted letters which are pending and not leased,
    and its parameters."""
    given = {"id": wanted.id, "source": wanted.source, "cause": wanted.cause}
    values = {name: value for name, value in given.items() if value is not None}
    conditions = [_CONDITIONS[name] for name in values]
    free: list[LiteralString] = [
        "status = 'PENDING'",
        "leased_until < clock_timestamp()",
        "id <> ALL (%(without)s::uuid[])",
    ]
    statement: LiteralString = f"""
    SELECT id FROM dead_letters {where([*free, *conditions])}
    ORDER BY recorded_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - built of constants only
    return statement, values | _of_cause(wanted.cause) | {"without": [*wanted.without], "limit": limit}


def counted(which: Letters) -> tuple[LiteralString, dict[str, Any]]:
    """Return the statement that counts letters, and its parameters."""
    conditions, values = _conditions(which)
    return f"SELECT count(*) FROM dead_letters l {where(conditions)}", values  # noqa: S608 - built of constants only


def claimed(wanted: LetterFilter, limit: int) -> tuple[LiteralString, dict[str, Any]]:
    """Return the statement that leases letters, and its parameters but for `lease`, in seconds."""
    found, values = _oldest(wanted, limit)
    statement: LiteralString = f"""
UPDATE dead_letters SET leased_until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id IN ({found}) RETURNING id
"""  # noqa: S608 - built of constants only
    return statement, values


def discarded(wanted: LetterFilter, limit: int) -> tuple[LiteralString, dict[str, Any]]:
    """Return the statement that discards letters, and its parameters but for `reason` and `by`."""
    found, values = _oldest(wanted, limit)
    statement: LiteralString = f"""
WITH discarded AS (
    UPDATE dead_letters SET status = 'DISCARDED', updated_at = clock_timestamp() WHERE id IN ({found}) RETURNING id
)
INSERT INTO dead_letter_history (letter_id, kind, reason, by) SELECT id, 'DISCARDED', %(reason)s, %(by)s FROM discarded
"""  # noqa: S608 - built of constants only
    return statement, values
