"""The outbox: messages are stored in the transaction that makes them true, and published after it.

A message published before the commit may announce something that never happens. A message published
after it without an outbox is lost when the process dies in between. With the outbox every message
is published at least once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from shared.domain.errors import TimedOut, Unavailable
from shared.messaging.envelope import Message, Publishable
from shared.observability.context import SpanKind, span
from shared.resilience import clock

_log = structlog.get_logger()

LEASE_SECONDS = 15.0
"""How long a process has to publish what it stored or claimed, before another may claim it."""

_RELAY_SECONDS = 40.0  # relay_outbox runs every minute

AfterCommit = Callable[[Sequence[Message]], None]


class Publisher(Protocol):
    def publish(self, messages: Sequence[Publishable]) -> list[UUID]:
        """Publish and return the ids of the accepted messages. Raise Unavailable without any."""

    def has_topic(self, topic: str) -> bool:
        """Return whether the topic exists. Raise Unavailable when the broker does not answer."""


@dataclass(frozen=True)
class Backlog:
    """Messages that wait to be published. `oldest`: when the first of them was made, UTC."""

    waiting: int
    oldest: datetime | None


@dataclass(frozen=True)
class Traffic:
    """Messages of one kind. `count`: all. `lately`: in a period. `last_at`: of the last, UTC."""

    count: int = 0
    lately: int = 0
    last_at: datetime | None = None

    def __add__(self, other: "Traffic") -> "Traffic":
        last_at = max((at for at in (self.last_at, other.last_at) if at), default=None)
        return Traffic(self.count + other.count, self.lately + other.lately, last_at)


def added_up(parts: Iterable[tuple[str, Traffic]]) -> dict[str, Traffic]:
    total: dict[str, Traffic] = {}
    for name, traffic in parts:
        total[name] = total.get(name, Traffic()) + traffic
    return total


class Outbox(Protocol):
    def claim(self, limit: int) -> list[Message]:
        """Lease the oldest messages that are not leased. They are free when the lease ends."""

    def delete(self, ids: Sequence[UUID]) -> None: ...

    def backlog(self) -> Backlog:
        """Return what has not been published, leased or not. Raise Unavailable."""

    def about(self, subject: str) -> list[Message]:
        """Return the messages about a stream that have not been published, the oldest first."""


def publish_after_commit(outbox: Outbox, publisher: Callable[[], Publisher]) -> AfterCommit:
    """Return a function that publishes committed messages and deletes them from the outbox.
    `publisher`: makes the publisher, when the first messages are there.

    It never raises: the commit stands, so a failure is logged and left to the relay.
    """

    def publish(messages: Sequence[Message]) -> None:
        about = {"count": len(messages), "topics": _topics(messages), "subjects": [one.subject for one in messages[:3]]}
        try:
            if messages:
                _publish(outbox, publisher(), messages)
        except (Unavailable, TimedOut) as error:
            _log.warning("messages left to relay_outbox", reason=error.message, **about)
        except Exception:
            _log.exception("messages left to relay_outbox", **about)

    return publish


def _publish(outbox: Outbox, publisher: Publisher, messages: Sequence[Message]) -> int:
    """Publish messages, delete the accepted ones from the outbox, and return how many these
    were."""
    topics = ",".join(_topics(messages))
    attributes: dict[str, str | int] = {
        "messaging.system": "gcp_pubsub",
        "messaging.operation.type": "send",
        "messaging.operation.name": "send",
        "messaging.destination.name": topics,
        "messaging.batch.message_count": len(messages),
    }
    with span(f"send {topics}", SpanKind.PRODUCER, attributes):
        accepted = publisher.publish(messages)
        outbox.delete(accepted)
        return len(accepted)


def _topics(messages: Sequence[Message]) -> list[str]:
    return sorted({message.topic for message in messages})


def relay(outbox: Outbox, publisher: Publisher, batch: int = 100) -> int:
    """Publish the messages that were left in an outbox, batch by batch, and return how many.

    A batch that is not accepted does not stop the later ones: it stays for the next run, which is
    the only retry, and Unavailable is raised at the end.
    """
    relayed, failure, until = 0, None, clock.monotonic() + _RELAY_SECONDS
    while clock.monotonic() < until and (messages := outbox.claim(batch)):
        try:
            relayed += _publish(outbox, publisher, messages)
        except Unavailable as error:
            failure = error
    if failure:
        raise failure
    return relayed
