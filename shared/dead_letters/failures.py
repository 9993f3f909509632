"""What the store of dead letters knows of failed and waiting deliveries."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Trouble(NamedTuple):
    """A subscription's failures. `pending`: its pending letters. `at`: of the last failed attempt
    on record, UTC. `error`: why, None when the function was stopped before it could report."""

    pending: int = 0
    at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True)
class Failure:
    """The failed attempts to deliver one message. `at`: when it last failed or began to wait, UTC.
    `waits_for`: the dependency whose open circuit breaker it waits for; waiting is no attempt.
    `letter`: its pending dead letter, None while it is still delivered."""

    attempts: int
    at: datetime
    error: str | None
    first_error: str | None
    waits_for: str | None = None
    letter: UUID | None = None


@dataclass(frozen=True)
class PendingLetters:
    """The pending letters of one subscription. `since`: when the oldest was recorded, UTC.
    `subject`, `error`: of the newest."""

    source: str
    number: int
    attempts: int
    since: datetime
    subject: str | None
    error: str | None


@dataclass(frozen=True)
class LetterCause:
    """Pending letters of one subscription, of one type of message and with one error.
    `first_recorded_at`, `last_recorded_at`: of the oldest and the newest, UTC."""

    source: str
    type: str | None
    error: str | None
    count: int
    first_recorded_at: datetime
    last_recorded_at: datetime


@dataclass(frozen=True)
class OpenBreaker:
    """Messages of one subscription that wait for a dependency. `at`: when the last began to wait,
    UTC."""

    dependency: str
    subscription: str
    messages: int
    at: datetime
    error: str | None
