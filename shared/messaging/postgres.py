"""The outbox in PostgreSQL: rows that are leased to a process while it publishes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from psycopg.rows import TupleRow

from shared.messaging.envelope import Message
from shared.messaging.outbox import LEASE_SECONDS, Backlog
from shared.postgres.pool import Pool


@dataclass(frozen=True)
class OutboxTable:
    """The statements of one outbox table; each stands beside the store that inserts the rows.

    `claim`: takes the lease in seconds and a limit, and returns rows that `message` turns into
    messages. `delete`: takes the ids of messages. `backlog`: returns the number of rows and the
    time of the oldest message. `about`: takes a stream and returns its rows.
    """

    claim: LiteralString
    delete: LiteralString
    backlog: LiteralString
    about: LiteralString
    message: Callable[[TupleRow], Message]


class PostgresOutbox:
    def __init__(self, pool: Pool, table: OutboxTable, lease_seconds: float = LEASE_SECONDS) -> None:
        self._pool = pool
        self._table = table
        self._lease_seconds = lease_seconds

    def claim(self, limit: int) -> list[Message]:
        with self._pool.use("the outbox") as connection:
            rows = connection.execute(self._table.claim, (self._lease_seconds, limit))
            return [self._table.message(row) for row in rows]

    def delete(self, ids: Sequence[UUID]) -> None:
        with self._pool.use("the outbox") as connection:
            connection.execute(self._table.delete, (list(ids),))

    def backlog(self) -> Backlog:
        with self._pool.use("the outbox") as connection:
            return Backlog(*(connection.execute(self._table.backlog).fetchone() or (0, None)))

    def about(self, subject: str) -> list[Message]:
        with self._pool.use("the outbox") as connection:
            return [self._table.message(row) for row in connection.execute(self._table.about, (subject,))]
