"""What the store of dead letters knows of failed and waiting deliveries."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, NamedTuple
from uuid import UUID

from pydantic import AfterValidator

from shared.domain.commands import wire_command
from shared.domain.errors import ShopError
from shared.postgres.text import storable

MAX_TEXT = 1000
"""The most characters of a stored text."""

_AsStored = Annotated[str, AfterValidator(storable)]


def describe_error(error: Exception) -> str:
    """Return an error as a text of up to 1,000 characters that PostgreSQL can hold."""
    return storable(error.message if isinstance(error, ShopError) else f"{type(error).__name__}: {error}")[:MAX_TEXT]


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


@wire_command
class Cause:
    """What dead letters have in common: the subscription, the type of message and the last error,
    None for those without one."""

    source: _AsStored
    type: _AsStored | None = None
    error: _AsStored | None = None


@dataclass(frozen=True)
class LetterCause:
    """The pending letters of one cause. `first_recorded_at`, `last_recorded_at`: of the oldest and
    the newest, UTC. `attempts`: of all together."""

    source: str
    type: str | None
    error: str | None
    count: int
    first_recorded_at: datetime
    last_recorded_at: datetime
    attempts: int


@dataclass(frozen=True)
class OpenBreaker:
    """Messages of one subscription that wait for a dependency. `at`: when the last began to wait,
    UTC."""

    dependency: str
    subscription: str
    messages: int
    at: datetime
    error: str | None
