"""The log from outside: which events have not been announced yet; and for people, single events by stream or type, and how
many there are of each.

What people see is not needed to run the shop. It is answered from indexes, so it stays quick with millions of events.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from shared.domain.errors import Unavailable
from shared.event_store.aggregates import announcement
from shared.event_store.postgres import event_from
from shared.event_store.protocol import EventCounts, PositionedEvent
from shared.messaging.envelope import Message
from shared.messaging.outbox import LEASE_SECONDS, Backlog, Traffic, added_up
from shared.postgres.pool import Pool
from shared.resilience import clock

# "After an event" means after its place in the log's order, which its position alone does not say; after a number that is no
# event's, after the last one before it. And nothing is shown
# in front of which something may still appear.
_AFTER = """
WITH place AS (
    SELECT coalesce(max(epoch), 0::smallint) AS epoch, coalesce(max(transaction_id), '0'::xid8) AS transaction_id,
        coalesce(max(position), 0) AS position
    FROM (
        SELECT epoch, transaction_id, position FROM events WHERE position <= %(after)s ORDER BY position DESC LIMIT 1
    ) AS event
)
"""
_IN_ORDER = """
    SELECT position, id, stream, version, type, schema_version, data, metadata, recorded_at, epoch, transaction_id
    FROM events
    WHERE (epoch, transaction_id, position) > (SELECT epoch, transaction_id, position FROM place)
      AND (epoch < (SELECT max(epoch) FROM epochs) OR transaction_id < pg_snapshot_xmin(pg_current_snapshot()))
"""
EVERYTHING: LiteralString = f"{_AFTER} {_IN_ORDER} ORDER BY epoch, transaction_id, position LIMIT %(limit)s"
OF_TYPES: LiteralString = f"""{_AFTER}
SELECT found.* FROM unnest(%(types)s::text[]) AS wanted (name) CROSS JOIN LATERAL (
    {_IN_ORDER} AND type = wanted.name ORDER BY epoch, transaction_id, position LIMIT %(limit)s
) AS found
ORDER BY epoch, transaction_id, position LIMIT %(limit)s
"""  # noqa: S608 - put together of constants only
OF_STREAMS: LiteralString = """
SELECT position, id, stream, version, type, schema_version, data, metadata, recorded_at
FROM events
WHERE stream = ANY(%(streams)s) AND position > %(after)s AND (type = ANY(%(types)s) OR %(types)s::text[] = '{}')
ORDER BY position LIMIT %(limit)s
"""
OF_IDS: LiteralString = """
SELECT position, id, stream, version, type, schema_version, data, metadata, recorded_at
FROM events WHERE id = ANY(%(ids)s) ORDER BY epoch, transaction_id, position
"""
OF_PLACES: LiteralString = """
SELECT position, id, stream, version, type, schema_version, data, metadata, recorded_at
FROM events JOIN unnest(%(streams)s::text[], %(versions)s::integer[]) AS place (stream, version) USING (stream, version)
ORDER BY epoch, transaction_id, position
"""
LAST_OF: LiteralString = """
SELECT found.* FROM unnest(%(streams)s::text[]) AS wanted (name) CROSS JOIN LATERAL (
    SELECT position, id, stream, version, type, schema_version, data, metadata, recorded_at
    FROM events WHERE stream = wanted.name AND recorded_at < %(before)s ORDER BY version DESC LIMIT 1
) AS found
"""
RECENT: LiteralString = """
SELECT position, id, stream, version, type, schema_version, data, metadata, recorded_at
FROM events ORDER BY epoch DESC, transaction_id DESC, position DESC LIMIT %(limit)s
"""
RECENT_OF_TYPES: LiteralString = """
SELECT found.* FROM unnest(%(types)s::text[]) AS wanted (name) CROSS JOIN LATERAL (
    SELECT position, id, stream, version, type, schema_version, data, metadata, recorded_at, epoch, transaction_id
    FROM events WHERE type = wanted.name
    ORDER BY epoch DESC, transaction_id DESC, position DESC LIMIT %(limit)s
) AS found
ORDER BY epoch DESC, transaction_id DESC, position DESC LIMIT %(limit)s
"""
LAST_MADE: LiteralString = """
SELECT found.* FROM unnest(%(types)s::text[]) AS wanted (name) CROSS JOIN LATERAL (
    SELECT position, id, stream, version, type, schema_version, data, metadata, recorded_at
    FROM events WHERE type = wanted.name ORDER BY recorded_at DESC, position DESC LIMIT %(limit)s
) AS found
ORDER BY recorded_at DESC, position DESC LIMIT %(limit)s
"""
MADE_AFTER: LiteralString = """
SELECT found.* FROM unnest(%(types)s::text[]) AS wanted (name) CROSS JOIN LATERAL (
    SELECT position, id, stream, version, type, schema_version, data, metadata, recorded_at
    FROM events WHERE type = wanted.name AND recorded_at > %(after)s ORDER BY recorded_at, position LIMIT %(limit)s
) AS found
ORDER BY recorded_at, position LIMIT %(limit)s
"""
LATELY: LiteralString = """
SELECT name, (SELECT count(*) FROM events WHERE type = name AND recorded_at > %(since)s AND recorded_at <= %(until)s),
    (SELECT max(recorded_at) FROM events WHERE type = name)
FROM unnest(%(types)s::text[]) AS wanted (name)
"""
_NEWEST: LiteralString = "SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1"

LAST_MINUTE: LiteralString = """
SELECT (SELECT position FROM events_counted), coalesce(sum(count), 0)::bigint FROM event_seconds
WHERE second > now() - interval '1 minute' AND second <= now()
"""

_BATCH = 20_000
_COUNTING = 8.0
"""Seconds to count what has not been counted yet; whoever asks next goes on from there."""


class PostgresEventLog:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def of_streams(self, streams: Sequence[str], types: Sequence[str], after: int, limit: int) -> list[PositionedEvent]:
        return self._find(OF_STREAMS, streams=list(streams), types=list(types), after=after, limit=limit)

    def of_ids(self, ids: Sequence[UUID]) -> list[PositionedEvent]:
        return self._find(OF_IDS, ids=list(ids))

    def of_places(self, places: Sequence[tuple[str, int]]) -> list[PositionedEvent]:
        streams, versions = [stream for stream, _ in places], [version for _, version in places]
        return self._find(OF_PLACES, streams=streams, versions=versions)

    def last_of(self, streams: Sequence[str], before: datetime) -> list[PositionedEvent]:
        return self._find(LAST_OF, streams=list(streams), before=before)

    def of_types(self, types: Sequence[str], after: int, limit: int) -> list[PositionedEvent]:
        return self._find(OF_TYPES, types=list(types), after=after, limit=limit)

    def everything(self, after: int, limit: int) -> list[PositionedEvent]:
        return self._find(EVERYTHING, after=after, limit=limit)

    def recent(self, limit: int, types: Sequence[str] = ()) -> list[PositionedEvent]:
        if types:
            return self._find(RECENT_OF_TYPES, types=list(types), limit=limit)
        return self._find(RECENT, limit=limit)

    def by_time(self, types: Sequence[str], after: datetime | None, limit: int) -> list[PositionedEvent]:
        query = LAST_MADE if after is None else MADE_AFTER
        return self._find(query, types=list(types), after=after, limit=limit)

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        counted = self.counts().events
        wanted = {"types": [kind for kind, _ in counted], "since": since, "until": until}
        with self._pool.use("the event store") as connection:
            lately = {kind: (number, last) for kind, number, last in connection.execute(LATELY, wanted)}
        return added_up((name, Traffic(count, *lately[kind])) for (kind, name), count in counted.items())

    def counts(self) -> EventCounts:
        until = clock.monotonic() + _COUNTING
        with self._pool.use("the event store") as connection:
            while connection.execute("SELECT count_events(%s)", (_BATCH,)).fetchone() == (_BATCH,):
                if clock.monotonic() > until:
                    raise Unavailable("the events are still being counted; ask again in a moment")
            counted = connection.execute("SELECT type, aggregate, count FROM event_counts").fetchall()
            counted_to, lately = connection.execute(LAST_MINUTE).fetchone() or (0, 0)
            position, recorded_at = connection.execute(_NEWEST).fetchone() or (0, None)
        events = {(kind, aggregate): number for kind, aggregate, number in counted}
        return EventCounts(events, position, recorded_at, counted_to, lately)

    def _find(self, query: LiteralString, **values: object) -> list[PositionedEvent]:
        with self._pool.use("the event store") as connection:
            return [PositionedEvent(row[0], event_from(row[1:9])) for row in connection.execute(query, values)]


_CLAIM = """
WITH claimed AS (
    UPDATE outbox SET leased_until = clock_timestamp() + make_interval(secs => %s)
    WHERE position IN (
        SELECT position FROM outbox WHERE leased_until < clock_timestamp()
        ORDER BY position LIMIT %s FOR UPDATE SKIP LOCKED
    )
    RETURNING position
)
SELECT id, stream, version, type, schema_version, data, metadata, recorded_at
FROM claimed JOIN events USING (position) ORDER BY position
"""

_DELETE = "DELETE FROM outbox USING events WHERE outbox.position = events.position AND events.id = ANY(%s)"


class PostgresEventOutbox:
    def __init__(self, pool: Pool, lease_seconds: float = LEASE_SECONDS) -> None:
        self._pool = pool
        self._lease_seconds = lease_seconds

    def claim(self, limit: int) -> list[Message]:
        with self._pool.use("the outbox") as connection:
            rows = connection.execute(_CLAIM, (self._lease_seconds, limit))
            return [announcement(event_from(row)) for row in rows]

    def delete(self, ids: Sequence[UUID]) -> None:
        with self._pool.use("the outbox") as connection:
            connection.execute(_DELETE, (list(ids),))

    def backlog(self) -> Backlog:
        query = "SELECT count(*), min(recorded_at) FROM outbox JOIN events USING (position)"
        with self._pool.use("the outbox") as connection:
            return Backlog(*(connection.execute(query).fetchone() or (0, None)))
