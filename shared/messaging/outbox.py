"""The outbox: messages written in the transaction that makes them true, published after it, then deleted.

Publishing before the commit tells of things that may not happen; publishing after it without an outbox forgets what
happened when the process dies in between. A message may be published twice, never not at all.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString, Protocol
from uuid import UUID

import structlog
from opentelemetry.trace import Span
from psycopg.rows import TupleRow

from shared.domain.errors import TimedOut, Unavailable
from shared.messaging.envelope import Message, Publishable
from shared.observability.context import SpanKind, span
from shared.postgres.pool import Pool
from shared.resilience import clock

_log = structlog.get_logger()

LEASE_SECONDS = 15.0
"""How long whoever inserted or claimed a message has to publish it before others may."""

_RELAY_SECONDS = 40.0  # one run's share of a minute

AfterCommit = Callable[[Sequence[Message]], None]


class Publisher(Protocol):
    def publish(self, messages: Sequence[Publishable]) -> list[UUID]:
        """Publish all, wait, and say which were accepted, by message id. Raises Unavailable when none was."""

    def has_topic(self, topic: str) -> bool:
        """Raises Unavailable."""


@dataclass(frozen=True)
class Backlog:
    """`oldest`: when the message that has waited longest was made, UTC; None when none waits."""

    waiting: int
    oldest: datetime | None


@dataclass(frozen=True)
class Traffic:
    """Messages of one kind: how many there have been, how many of these lately, and when the last one was made, UTC."""

    count: int = 0
    lately: int = 0
    last_at: datetime | None = None

    def __add__(self, other: "Traffic") -> "Traffic":
        last_at = max((at for at in (self.last_at, other.last_at) if at), default=None)
        return Traffic(self.count + other.count, self.lately + other.lately, last_at)

    @classmethod
    def of_one(cls, at: datetime, since: datetime, until: datetime) -> "Traffic":
        return cls(1, int(since < at <= until), at)


def added_up(parts: Iterable[tuple[str, Traffic]]) -> dict[str, Traffic]:
    total: dict[str, Traffic] = {}
    for name, traffic in parts:
        total[name] = total.get(name, Traffic()) + traffic
    return total


class Outbox(Protocol):
    def claim(self, limit: int) -> list[Message]:
        """Lease messages that nobody is publishing, oldest first; they are up again when the lease runs out."""

    def delete(self, ids: Sequence[UUID]) -> None: ...

    def backlog(self) -> Backlog:
        """What has not been published, whoever is publishing it. Raises Unavailable."""


def publish_after_commit(outbox: Outbox, publisher: Publisher) -> AfterCommit:
    """What happened has happened: failing to tell about it is logged and left to the relay, never an error."""

    def publish(messages: Sequence[Message]) -> None:
        if not messages:
            return
        topics = sorted({message.topic for message in messages})
        try:
            with sending(topics, len(messages)):
                outbox.delete(publisher.publish(messages))
        except (Unavailable, TimedOut) as error:
            _log.warning("messages left to relay_outbox", count=len(messages), topics=topics, reason=error.message)
        except Exception:
            _log.exception("messages left to relay_outbox", count=len(messages), topics=topics)

    return publish


def sending(topics: Sequence[str], count: int) -> AbstractContextManager[Span]:
    """The span in which messages are handed to the broker."""
    about: dict[str, str | int] = {
        "messaging.system": "gcp_pubsub",
        "messaging.operation.type": "send",
        "messaging.operation.name": "send",
        "messaging.destination.name": ",".join(topics),
        "messaging.batch.message_count": count,
    }
    return span(f"send {','.join(topics)}", SpanKind.PRODUCER, about)


def relay(outbox: Outbox, publisher: Publisher, batch: int = 100) -> int:
    """Publish what was left, batch by batch, until nothing is; return how many.

    A batch that isn't accepted stays for a later run and doesn't keep those behind it. Raises Unavailable at the end when
    there was one.
    """
    relayed = 0
    refusal: Unavailable | None = None
    until = clock.monotonic() + _RELAY_SECONDS
    while clock.monotonic() < until and (messages := outbox.claim(batch)):
        try:
            with sending(sorted({message.topic for message in messages}), len(messages)):
                published = publisher.publish(messages)
        except Unavailable as error:
            refusal = error
            continue
        outbox.delete(published)
        relayed += len(published)
    if refusal:
        raise refusal
    return relayed


@dataclass(frozen=True)
class OutboxTable:
    """The statements of one outbox table; each stands beside the store that inserts the rows.

    `claim`: takes the lease in seconds and a limit, and returns rows that `message` turns into messages. `delete`: takes
    the ids of messages. `backlog`: returns the number of rows and the time of the oldest message.
    """

    claim: LiteralString
    delete: LiteralString
    backlog: LiteralString
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
