"""Messages that no attempt could deliver, kept for a person to look at."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from psycopg_pool import ConnectionPool

from shared.messaging.envelope import Push
from shared.resilience.postgres import unavailable_when_down


@dataclass(frozen=True)
class DeadLetter:
    """`subscription`: the one that gave up. `data`: base64, exactly as it was published."""

    subscription: str
    message_id: str
    attributes: Mapping[str, str]
    data: str
    attempts: int | None


def dead_letter(push: Push) -> DeadLetter:
    """What a dead-letter topic's subscription pushes, read from the attributes that Pub/Sub added."""
    attributes = push.message.attributes
    attempts = attributes.get("CloudPubSubDeadLetterSourceDeliveryCount", "")
    return DeadLetter(
        subscription=attributes.get("CloudPubSubDeadLetterSourceSubscription", push.subscription),
        message_id=push.message.message_id,
        attributes=attributes,
        data=push.message.data,
        attempts=int(attempts) if attempts.isdecimal() else None,
    )


class DeadLetters(Protocol):
    def record(self, letter: DeadLetter) -> None:
        """Keep it once, however often it is delivered. Raises Unavailable."""

    def latest(self, limit: int) -> list[DeadLetter]:
        """The newest first."""

    def pending(self) -> int:
        """How many wait for a person. Raises Unavailable."""


class PostgresDeadLetters:
    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def record(self, letter: DeadLetter) -> None:
        values = {**vars(letter), "attributes": json.dumps(dict(letter.attributes))}
        statement = """INSERT INTO dead_letters (subscription, message_id, attributes, data, attempts)
                       VALUES (%(subscription)s, %(message_id)s, %(attributes)s, %(data)s, %(attempts)s)
                       ON CONFLICT DO NOTHING"""
        with unavailable_when_down("the dead letters"), self._pool.connection() as connection:
            connection.execute(statement, values)

    def latest(self, limit: int) -> list[DeadLetter]:
        query = """SELECT subscription, message_id, attributes, data, attempts FROM dead_letters
                   ORDER BY recorded_at DESC LIMIT %s"""
        with unavailable_when_down("the dead letters"), self._pool.connection() as connection:
            return [DeadLetter(*row) for row in connection.execute(query, (limit,))]

    def pending(self) -> int:
        with unavailable_when_down("the dead letters"), self._pool.connection() as connection:
            return int((connection.execute("SELECT count(*) FROM dead_letters").fetchone() or (0,))[0])


class MemoryDeadLetters:
    def __init__(self) -> None:
        self._letters: dict[tuple[str, str], DeadLetter] = {}

    def record(self, letter: DeadLetter) -> None:
        self._letters.setdefault((letter.subscription, letter.message_id), letter)

    def latest(self, limit: int) -> list[DeadLetter]:
        return list(self._letters.values())[::-1][:limit]

    def pending(self) -> int:
        return len(self._letters)
