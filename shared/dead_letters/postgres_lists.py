"""How dead letters are selected in PostgreSQL."""

from collections.abc import Mapping
from typing import Any, LiteralString

from shared.dead_letters.protocol import DeadLetter, Letters
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
    "status": "status = %(status)s",
    "source": "source = %(source)s",
    "topic": "topic = %(topic)s",
    "type": "type = %(type)s",
    "subject": "subject = %(subject)s",
    "correlation_id": "correlation_id = %(correlation_id)s",
    "recorded_after": "recorded_at >= %(recorded_after)s",
    "recorded_before": "recorded_at < %(recorded_before)s",
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
    return [_CONDITIONS[name] for name in values], values


def counted(which: Letters) -> tuple[LiteralString, dict[str, Any]]:
    """Return the statement that counts letters, and its parameters."""
    conditions, values = _conditions(which)
    return f"SELECT count(*) FROM dead_letters l {where(conditions)}", values  # noqa: S608 - built of constants only
