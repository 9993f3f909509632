"""Dead letters in the command database."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import TupleRow, dict_row

from shared.dead_letters.failures import Failure, LetterCause, OpenBreaker, Trouble
from shared.dead_letters.postgres_lists import SELECT, claimed, counted, discarded, listed
from shared.dead_letters.protocol import (
    DeadLetter,
    LetterDelivery,
    LetterEntry,
    LetterFilter,
    Letters,
    LetterStatus,
    fingerprint_of,
    letter_id,
)
from shared.domain.values import adapter
from shared.messaging.outbox import LEASE_SECONDS, Traffic
from shared.postgres.pool import Pool
from shared.postgres.slices import Slice
from shared.postgres.text import storable

_OF_SOURCE: LiteralString = "(%(source)s::text IS NULL OR source = %(source)s)"
_PENDING = f"SELECT count(*) FROM dead_letters WHERE status = 'PENDING' AND {_OF_SOURCE}"  # noqa: S608 - constants only
_LATEST = f"""{SELECT}
WHERE (%(status)s::text IS NULL OR status = %(status)s) AND {_OF_SOURCE}
ORDER BY recorded_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s
"""
# BETWEEN name AND name, not an equality: there the planner would walk the newest failures of all
# subscriptions, and read every row for a subscription that has none.
TROUBLES: LiteralString = """
SELECT name, (SELECT count(*) FROM dead_letters WHERE source = name AND status = 'PENDING'), last.at, last.error
FROM unnest(%(subscriptions)s::text[]) AS wanted (name) LEFT JOIN LATERAL (
    (SELECT last_at AS at, error FROM delivery_failures WHERE subscription BETWEEN name AND name
     ORDER BY subscription DESC, last_at DESC LIMIT 1)
    UNION ALL
    (SELECT updated_at, error FROM dead_letters WHERE source = name AND status = 'PENDING' ORDER BY updated_at DESC LIMIT 1)
    ORDER BY at DESC LIMIT 1
) AS last ON true
"""
_OF_IDS = f"{SELECT} WHERE id = ANY (%(ids)s) ORDER BY recorded_at, id"
_DISCARD = """
WITH discarded AS (
    UPDATE dead_letters SET status = 'DISCARDED', updated_at = clock_timestamp()
    WHERE id = %s AND status = 'PENDING' AND leased_until < clock_timestamp() RETURNING id
)
INSERT INTO dead_letter_history (letter_id, kind, reason, by) SELECT id, 'DISCARDED', %s, %s FROM discarded
"""
_NOTE = """
INSERT INTO delivery_failures AS f (subscription, message, error, first_error, waits_for, count)
VALUES (%(subscription)s, %(message)s, %(error)s, %(first_error)s, %(waits_for)s, %(attempts)s)
ON CONFLICT (subscription, message) DO UPDATE SET waits_for = excluded.waits_for, last_at = clock_timestamp(),
    count = f.count + excluded.count, first_error = coalesce(f.first_error, excluded.first_error),
    error = CASE WHEN excluded.waits_for IS NULL THEN excluded.error ELSE f.error END
"""
FAILURES: LiteralString = """
SELECT source, message_id, found.* FROM unnest(
    %(sources)s::text[], %(message_ids)s::text[], %(fingerprints)s::text[], %(letters)s::uuid[]
) AS wanted (source, message_id, fingerprint, letter)
CROSS JOIN LATERAL (
    SELECT count, last_at, error, coalesce(first_error, error), waits_for, NULL::uuid FROM delivery_failures
    WHERE subscription = wanted.source AND message = wanted.fingerprint
    UNION ALL
    SELECT attempts, updated_at, error, first_error, NULL, id FROM dead_letters
    WHERE id = wanted.letter AND status = 'PENDING'
    ORDER BY last_at DESC LIMIT 1
) AS found
"""
OPEN_BREAKERS: LiteralString = """
SELECT waits_for, subscription, count(*), max(last_at), (array_agg(error ORDER BY count > 0 DESC, last_at DESC))[1]
FROM delivery_failures WHERE waits_for IS NOT NULL AND last_at > %(since)s GROUP BY 1, 2 ORDER BY 1, 2
"""
_PENDING_SOURCES = "SELECT DISTINCT source FROM dead_letters WHERE status = 'PENDING' ORDER BY source"
_CAUSES = (
    "SELECT count(*) FROM (SELECT DISTINCT source, type, error FROM dead_letters WHERE status = 'PENDING') AS cause"
)
_PENDING_BY_CAUSE = """
SELECT source, type, error, count(*), min(recorded_at), max(recorded_at), sum(attempts)::bigint
FROM dead_letters WHERE status = 'PENDING' GROUP BY source, type, error ORDER BY 4 DESC, 1, 2, 3 LIMIT %(limit)s
"""
_FORGET_SETTLED = """
DELETE FROM dead_letters WHERE status <> 'PENDING' AND updated_at < %(before)s AND id IN (
    SELECT id FROM dead_letters WHERE status <> 'PENDING' AND updated_at < %(before)s ORDER BY updated_at LIMIT %(limit)s
)
"""
_FORGET_FAILURES = """
DELETE FROM delivery_failures WHERE last_at < %(before)s AND (subscription, message) IN (
    SELECT subscription, message FROM delivery_failures WHERE last_at < %(before)s ORDER BY last_at LIMIT %(limit)s
)
"""
_TRAFFIC = """
SELECT c.source, count, (
    SELECT count(*) FROM dead_letter_history h JOIN dead_letters l ON l.id = letter_id
    WHERE h.kind = 'FAILED' AND at > %(since)s AND at <= %(until)s AND l.source = c.source
), last_at
FROM dead_letter_counts c
"""
_ALL_CHARACTERS = 2**31 - 1


class PostgresDeadLetters:
    def __init__(self, pool: Pool, lease_seconds: float = LEASE_SECONDS) -> None:
        self._pool = pool
        self._lease_seconds = lease_seconds

    def note_failure(self, subscription: str, fingerprint: str, error: str, waits_for: str | None = None) -> None:
        about = {"subscription": storable(subscription), "message": fingerprint, "error": error}
        attempt = {"attempts": 0, "first_error": None} if waits_for else {"attempts": 1, "first_error": error}
        self._execute(_NOTE, about | attempt | {"waits_for": waits_for})

    def failures(self, messages: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Failure]:
        wanted = {
            "sources": [source for source, _ in messages],
            "message_ids": [message_id for _, message_id in messages],
            "fingerprints": [fingerprint_of(message_id) for _, message_id in messages],
            "letters": [letter_id(*message) for message in messages],
        }
        return {(row[0], row[1]): Failure(*row[2:]) for row in self._rows(FAILURES, wanted)}

    def open_breakers(self, since: datetime) -> list[OpenBreaker]:
        return [OpenBreaker(*row) for row in self._rows(OPEN_BREAKERS, {"since": since})]

    def pending_sources(self) -> list[str]:
        return [row[0] for row in self._rows(_PENDING_SOURCES, {})]

    def pending_by_cause(self, limit: int) -> list[LetterCause]:
        return [LetterCause(*row) for row in self._rows(_PENDING_BY_CAUSE, {"limit": limit})]

    def causes(self) -> int:
        return int(self._rows(_CAUSES, {})[0][0])

    def record(self, delivery: LetterDelivery) -> None:
        letter = delivery.letter
        plain = ("source", "topic", "type", "subject", "attempts", "traceparent", "correlation_id")
        row = {name: getattr(letter, name) for name in plain}
        row |= {"id": str(letter.id), "delivery": delivery.id, "message": delivery.fingerprint}
        values = (json.dumps(row), json.dumps(dict(letter.attributes)), letter.data.encode())
        self._execute("SELECT record_dead_letter(%s, %s, %s)", values)

    def load(self, letter_id: UUID) -> DeadLetter | None:
        return next(iter(self._letters(_OF_IDS, {"ids": [letter_id], "shown": _ALL_CHARACTERS})), None)

    def latest(
        self, limit: int, offset: int = 0, status: LetterStatus | None = None, source: str | None = None
    ) -> list[DeadLetter]:
        page = {
            "limit": limit,
            "offset": offset,
            "status": status,
            "source": source,
            "shown": DeadLetter.shown_characters,
        }
        return self._letters(_LATEST, page)

    def page(self, which: Letters, part: Slice) -> list[DeadLetter]:
        query, values = listed(which, part)
        return self._letters(query, values)

    def count(self, which: Letters) -> int:
        return int(self._rows(*counted(which))[0][0])

    def pending(self, source: str | None = None) -> int:
        ((pending,),) = self._rows(_PENDING, {"source": source})
        return int(pending)

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        rows = self._rows(_TRAFFIC, {"since": since, "until": until})
        return {source: Traffic(*traffic) for source, *traffic in rows}

    def troubles(self, subscriptions: Sequence[str]) -> Mapping[str, Trouble]:
        rows = self._rows(TROUBLES, {"subscriptions": list(subscriptions)})
        return {subscription: Trouble(*trouble) for subscription, *trouble in rows}

    def claim(self, wanted: LetterFilter, limit: int) -> list[DeadLetter]:
        query, values = claimed(wanted, limit)
        ids = [row[0] for row in self._rows(query, values | {"lease": self._lease_seconds})]
        return self._letters(_OF_IDS, {"ids": ids, "shown": _ALL_CHARACTERS})

    def release(self, letters: Sequence[DeadLetter]) -> None:
        ids = [letter.id for letter in letters]
        self._execute("UPDATE dead_letters SET leased_until = '-infinity' WHERE id = ANY (%s)", (ids,))

    def settle(self, letters: Sequence[DeadLetter], at: datetime, by: str) -> None:
        ids, versions = [letter.id for letter in letters], [letter.version for letter in letters]
        self._execute("SELECT settle_retried(%s, %s, %s, %s)", (ids, versions, at, by))

    def discard(self, letter_id: UUID, reason: str, by: str) -> bool:
        return self._execute(_DISCARD, (letter_id, reason, by)) > 0

    def discard_oldest(self, wanted: LetterFilter, limit: int, reason: str, by: str) -> int:
        statement, values = discarded(wanted, limit)
        return self._execute(statement, values | {"reason": reason, "by": by})

    def forget_settled(self, before: datetime, limit: int) -> int:
        return self._execute(_FORGET_SETTLED, {"before": before, "limit": limit})

    def forget_failures(self, before: datetime, limit: int) -> int:
        return self._execute(_FORGET_FAILURES, {"before": before, "limit": limit})

    def _execute(self, statement: LiteralString, values: Sequence[Any] | Mapping[str, Any]) -> int:
        """Return how many rows the statement changed."""
        with self._pool.use("the dead letters") as connection:
            return connection.execute(statement, values).rowcount

    def _rows(self, query: LiteralString, values: Mapping[str, Any]) -> list[TupleRow]:
        with self._pool.use("the dead letters") as connection:
            return connection.execute(query, values).fetchall()

    def _letters(self, query: LiteralString, values: Mapping[str, Any]) -> list[DeadLetter]:
        with self._pool.use("the dead letters") as connection:
            rows = connection.cursor(row_factory=dict_row).execute(query, values).fetchall()
        for row in rows:
            row["data"] = row["data"].decode(errors="replace")
            row["history"] = adapter(list[LetterEntry]).validate_python(row["history"] or [])
        return [DeadLetter(**row) for row in rows]
