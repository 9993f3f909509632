"""What people look up in the log: events by stream, type or time, and how many there are.

The shop runs without it. Indexes answer everything, so it stays quick with millions of events.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import TupleRow

from shared.domain.errors import Unavailable
from shared.event_store.postgres import COLUMNS, SETTLED, event_from
from shared.event_store.protocol import (
    Checkpoint,
    EventCounts,
    Events,
    HeldBack,
    LogEntry,
    Moment,
    PositionedEvent,
)
from shared.messaging.outbox import Traffic, added_up
from shared.postgres.pool import Pool
from shared.postgres.slices import Slice, where
from shared.resilience import clock

# "After an event" means after its place in the log's order, which its position alone does not tell.
# A position that no event has stands for the last event below it. An event is only shown when no
# event can appear before it any more.
_AFTER = """
WITH place AS (
    SELECT coalesce(max(epoch), 0) AS epoch, coalesce(max(transaction_id), '0'::xid8) AS transaction_id,
        coalesce(max(position), 0) AS position
    FROM (
        SELECT epoch, transaction_id, position FROM events WHERE position <= %(after)s ORDER BY position DESC LIMIT 1
    ) AS event
)
"""
_SELECT: LiteralString = f"SELECT position, {COLUMNS}"
_IN_ORDER: LiteralString = f"""
    {_SELECT}, epoch, transaction_id FROM events
    WHERE (epoch, transaction_id, position) > (SELECT epoch, transaction_id, position FROM place) AND {SETTLED}
"""  # noqa: S608 - constants only, as in the statements below
_EACH_TYPE: LiteralString = "SELECT chosen.* FROM unnest(%(types)s::text[]) AS wanted (name) CROSS JOIN LATERAL"
EVERYTHING: LiteralString = f"{_AFTER} {_IN_ORDER} ORDER BY epoch, transaction_id, position LIMIT %(limit)s"
OF_TYPES: LiteralString = f"""{_AFTER}
{_EACH_TYPE} (
    {_IN_ORDER} AND type = wanted.name ORDER BY epoch, transaction_id, position LIMIT %(limit)s
) AS chosen
ORDER BY epoch, transaction_id, position LIMIT %(limit)s
"""
OF_STREAMS: LiteralString = f"""
{_SELECT} FROM events
WHERE stream = ANY(%(streams)s) AND position > %(after)s AND (type = ANY(%(types)s) OR %(types)s::text[] = '{{}}')
ORDER BY position LIMIT %(limit)s
"""
OF_IDS: LiteralString = f"{_SELECT} FROM events WHERE id = ANY(%(ids)s) ORDER BY epoch, transaction_id, position"
OF_PLACES: LiteralString = f"""
{_SELECT} FROM events
JOIN unnest(%(streams)s::text[], %(versions)s::integer[]) AS place (stream, version) USING (stream, version)
ORDER BY epoch, transaction_id, position
"""
LAST_OF: LiteralString = f"""
SELECT last.* FROM unnest(%(streams)s::text[]) AS wanted (name) CROSS JOIN LATERAL (
    {_SELECT} FROM events WHERE stream = wanted.name
        AND (epoch, transaction_id, position) <= (%(epoch)s, %(transaction_id)s::text::xid8, %(position)s)
    ORDER BY version DESC LIMIT 1
) AS last
"""  # noqa: S608
_NEWEST_FIRST: LiteralString = "ORDER BY epoch DESC, transaction_id DESC, position DESC LIMIT %(limit)s"
RECENT: LiteralString = f"{_SELECT} FROM events {_NEWEST_FIRST}"
RECENT_OF_TYPES: LiteralString = f"""
{_EACH_TYPE} (
    {_SELECT}, epoch, transaction_id FROM events WHERE type = wanted.name {_NEWEST_FIRST}
) AS chosen
{_NEWEST_FIRST}
"""
LAST_MADE: LiteralString = f"""
{_EACH_TYPE} (
    {_SELECT} FROM events WHERE type = wanted.name ORDER BY recorded_at DESC, position DESC LIMIT %(limit)s
) AS chosen
ORDER BY recorded_at DESC, position DESC LIMIT %(limit)s
"""
MADE_AFTER: LiteralString = f"""
{_EACH_TYPE} (
    {_SELECT} FROM events
    WHERE type = wanted.name AND (recorded_at, position) > (%(after)s, %(position)s)
    ORDER BY recorded_at, position LIMIT %(limit)s
) AS chosen
ORDER BY recorded_at, position LIMIT %(limit)s
"""
LATELY: LiteralString = """
SELECT name, (SELECT count(*) FROM events WHERE type = name AND recorded_at > %(since)s AND recorded_at <= %(until)s),
    (SELECT max(recorded_at) FROM events WHERE type = name)
FROM unnest(%(types)s::text[]) AS wanted (name)
"""
OF_KEY: LiteralString = """
SELECT stream FROM events AS created WHERE type = 'OrderCreated' AND data #>> '{sealed,key}' = %(key)s
    AND NOT EXISTS (SELECT FROM events WHERE stream = created.stream AND type = 'OrderErased') LIMIT %(limit)s
"""
UNSEALED: LiteralString = """
SELECT EXISTS (
    SELECT FROM events WHERE type = 'OrderCreated' AND data #>> '{sealed,key}' IS NULL AND data ->> 'user_id' = %(user)s
)
"""
_NEWEST: LiteralString = "SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1"
LAST_MINUTE: LiteralString = """
SELECT (SELECT position FROM events_counted), coalesce(sum(count), 0)::bigint FROM event_seconds
WHERE second > now() - interval '1 minute' AND second <= now()
"""

_CONDITIONS: Mapping[str, LiteralString] = {
    "stream": "stream = %(stream)s",
    "types": "type = ANY (%(types)s)",
    "correlation_id": "metadata ->> 'correlation_id' = %(correlation_id)s",
    "causation_id": "metadata ->> 'causation_id' = %(causation_id)s",
    "trace_id": "split_part(metadata ->> 'traceparent', '-', 2) = %(trace_id)s",
    "recorded_after": "recorded_at >= %(recorded_after)s",
    "recorded_before": "recorded_at < %(recorded_before)s",
}
_KEYS: Mapping[str, Mapping[LiteralString, LiteralString]] = {
    "version": {"version": ""},
    "time": {"recorded_at": "", "position": ""},
    "log": {"epoch": "", "transaction_id": "::text::xid8", "position": ""},
}


def listed(which: Events, part: Slice) -> tuple[LiteralString, dict[str, Any]]:
    """Return the statement that lists events, and its parameters.

    Of several types each is read by its own index. The events of one request are few, and read
    before they are sorted: walking the log until enough of them have come would read all of it."""
    conditions, values = _wanted(which)
    bounds, order = part.sql(_KEYS[which.order])
    conditions += [*bounds, *([SETTLED] if which.order == "log" else [])]
    found: LiteralString = f"SELECT * FROM events {where(conditions)}"  # noqa: S608 - constants only, as below
    if which.is_of_one_origin and which.stream is None:
        found = f"WITH found AS MATERIALIZED ({found}) SELECT * FROM found"  # noqa: S608
    elif which.types is not None and which.stream is None:
        each = [condition for condition in conditions if condition != _CONDITIONS["types"]]
        one: LiteralString = f"SELECT * FROM events {where([*each, 'type = wanted.name'])} {order}"  # noqa: S608
        found = f"{_EACH_TYPE} ({one}) AS chosen"
    query: LiteralString = f"SELECT epoch, transaction_id::text::bigint AS transaction, position, {COLUMNS} FROM"
    return f"{query} ({found} {order}) AS found {order}", {**values, **part.values}


def _wanted(which: Events) -> tuple[list[LiteralString], dict[str, Any]]:
    values = {name: value for name, value in vars(which).items() if value is not None}
    return [_CONDITIONS[name] for name in values], values


class PostgresEventLog:
    """`counting_seconds`: the time in which one request counts uncounted events; the next request
    continues from there. `batch`: how many events one statement counts."""

    def __init__(self, pool: Pool, counting_seconds: float = 8.0, batch: int = 20_000) -> None:
        self._pool = pool
        self._counting_seconds = counting_seconds
        self._batch = batch

    def of_streams(self, streams: Sequence[str], types: Sequence[str], after: int, limit: int) -> list[PositionedEvent]:
        return self._find(OF_STREAMS, streams=list(streams), types=list(types), after=after, limit=limit)

    def of_ids(self, ids: Sequence[UUID]) -> list[PositionedEvent]:
        return self._find(OF_IDS, ids=list(ids))

    def of_places(self, places: Sequence[tuple[str, int]]) -> list[PositionedEvent]:
        streams, versions = [stream for stream, _ in places], [version for _, version in places]
        return self._find(OF_PLACES, streams=streams, versions=versions)

    def last_of(self, streams: Sequence[str], until: Checkpoint) -> list[PositionedEvent]:
        return self._find(LAST_OF, streams=list(streams), **until._asdict())

    def of_types(self, types: Sequence[str], after: int, limit: int) -> list[PositionedEvent]:
        return self._find(OF_TYPES, types=list(types), after=after, limit=limit)

    def everything(self, after: int, limit: int) -> list[PositionedEvent]:
        return self._find(EVERYTHING, after=after, limit=limit)

    def recent(self, limit: int, types: Sequence[str] = ()) -> list[PositionedEvent]:
        if types:
            return self._find(RECENT_OF_TYPES, types=list(types), limit=limit)
        return self._find(RECENT, limit=limit)

    def by_time(self, types: Sequence[str], after: Moment | None, limit: int) -> list[PositionedEvent]:
        if after is None:
            return self._find(LAST_MADE, types=list(types), limit=limit)
        return self._find(MADE_AFTER, types=list(types), after=after.at, position=after.position, limit=limit)

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        counts = self.counts().events
        wanted = {"types": [kind for kind, _ in counts], "since": since, "until": until}
        lately = {kind: (number, last) for kind, number, last in self._rows(LATELY, wanted)}
        return added_up((name, Traffic(count, *lately[kind])) for (kind, name), count in counts.items())

    def page(self, which: Events, part: Slice) -> list[LogEntry]:
        rows = self._rows(*listed(which, part))
        return [LogEntry(Checkpoint(*row[:3]), event_from(row[3:])) for row in rows]

    def of_key(self, key: UUID, limit: int) -> list[str]:
        return [stream for (stream,) in self._rows(OF_KEY, {"key": str(key), "limit": limit})]

    def has_unsealed(self, user_id: str) -> bool:
        return bool(self._rows(UNSEALED, {"user": user_id})[0][0])

    def count(self, which: Events) -> int:
        conditions, values = _wanted(which)
        ((number,),) = self._rows(f"SELECT count(*) FROM events {where(conditions)}", values)  # noqa: S608
        return int(number)

    def counts(self) -> EventCounts:
        until = clock.monotonic() + self._counting_seconds
        while self._rows("SELECT count_events(%(batch)s)", {"batch": self._batch}) == [(self._batch,)]:
            if clock.monotonic() > until:
                raise Unavailable("the events are still being counted; ask again in a moment")
        rows = self._rows("SELECT type, aggregate, count FROM event_counts")
        ((counted_to, last_minute),) = self._rows(LAST_MINUTE)
        position, recorded_at = next(iter(self._rows(_NEWEST)), (0, None))
        events = {(kind, aggregate): number for kind, aggregate, number in rows}
        return EventCounts(events, position, recorded_at, counted_to, last_minute)

    def held_back(self) -> HeldBack:
        return HeldBack(*self._rows("SELECT * FROM held_back()")[0])

    def _find(self, query: LiteralString, **values: object) -> list[PositionedEvent]:
        return [PositionedEvent(row[0], event_from(row[1:9])) for row in self._rows(query, values)]

    def _rows(self, query: LiteralString, values: Mapping[str, object] | None = None) -> list[TupleRow]:
        return self._pool.rows("the event store", query, values or {})
