"""The event store's outbox: which events have not been announced yet.

An event's message follows from the event, so a row holds nothing but its position; that keeps appends short.
"""

from collections.abc import Sequence
from uuid import UUID

from psycopg_pool import ConnectionPool

from shared.event_store.aggregates import announcement
from shared.event_store.postgres import event_from
from shared.messaging.envelope import Message
from shared.messaging.outbox import LEASE_SECONDS, Backlog
from shared.resilience.postgres import unavailable_when_down

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
    def __init__(self, pool: ConnectionPool, lease_seconds: float = LEASE_SECONDS) -> None:
        self._pool = pool
        self._lease_seconds = lease_seconds

    def claim(self, limit: int) -> list[Message]:
        with unavailable_when_down("the outbox"), self._pool.connection() as connection:
            rows = connection.execute(_CLAIM, (self._lease_seconds, limit))
            return [announcement(event_from(row)) for row in rows]

    def delete(self, ids: Sequence[UUID]) -> None:
        with unavailable_when_down("the outbox"), self._pool.connection() as connection:
            connection.execute(_DELETE, (list(ids),))

    def backlog(self) -> Backlog:
        query = "SELECT count(*), min(recorded_at) FROM outbox JOIN events USING (position)"
        with unavailable_when_down("the outbox"), self._pool.connection() as connection:
            return Backlog(*(connection.execute(query).fetchone() or (0, None)))
