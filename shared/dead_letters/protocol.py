"""Dead letters: messages that could not be delivered, until an admin retries or discards them."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, ClassVar, Literal, NamedTuple, Protocol
from uuid import NAMESPACE_OID, UUID, uuid5

from pydantic import Strict

from shared.domain.commands import wire_command
from shared.domain.errors import ConcurrencyError, NotFound, Rejected, ShopError
from shared.domain.values import Reason, Token, in_range
from shared.messaging.envelope import ONLY_FOR, ForSubscription, Push, PushedMessage
from shared.messaging.outbox import Traffic
from shared.postgres.pool import storable
from shared.resilience import clock

LetterStatus = Literal["PENDING", "RETRIED", "DISCARDED"]

LETTER_ID = "dead-letter"  # the attribute of a retried message that holds its letter's id
_ADDED_BY_PUBSUB = "CloudPubSubDeadLetter"
_MAX_TEXT = 1000  # characters


@dataclass(frozen=True)
class LetterEntry:
    """A change of a letter. `by`: the admin's id. `reason`: the error, or why it was discarded."""

    kind: Literal["FAILED", "RETRIED", "DISCARDED"]
    at: datetime
    by: str | None = None
    attempts: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class DeadLetter:
    """A message, as it was published, that one subscription, `source`, could not deliver.
    `data`: base64, in lists its first `shown_characters`. `attempts`: retries included. `version`: its
    arrivals in the dead-letter topic."""

    shown_characters: ClassVar = 10_000
    id: UUID
    source: str
    topic: str
    type: str | None
    subject: str | None
    attributes: Mapping[str, str]
    data: str
    attempts: int
    traceparent: str | None
    correlation_id: str | None
    recorded_at: datetime
    updated_at: datetime
    error: str | None = None
    status: LetterStatus = "PENDING"
    version: int = 1
    history: Sequence[LetterEntry] = ()

    def shortened(self) -> "DeadLetter":
        return replace(self, data=self.data[: self.shown_characters])

    def for_its_subscription(self) -> ForSubscription | None:
        """Return the message to publish for `source`, None for data that was no message's: it is not base64."""
        try:
            data = base64.b64decode(self.data, validate=True)
        except ValueError:
            return None
        return ForSubscription(self.source, self.id, self.topic, data, {**self.attributes, LETTER_ID: str(self.id)})


class LetterDelivery(NamedTuple):
    """A delivery from a dead-letter topic. `id`: Pub/Sub's, the same at each repetition."""

    letter: DeadLetter
    id: str
    fingerprint: str


def decode_dead_letter(push: Push, topic: str) -> LetterDelivery:
    """Return the letter in a push from a dead-letter topic. `topic`: where it was published first.

    A message has one letter for each source, under an id derived from the CloudEvent's id, for foreign
    messages from Pub/Sub's. A retried message carries the id of its letter.
    """
    pushed, now = push.message.attributes, clock.now()
    source, attributes = storable(source_of(push)), original_attributes(pushed)
    attempts = pushed.get(f"{_ADDED_BY_PUBSUB}SourceDeliveryCount", "")
    name = f"{source}\n{attributes.get('ce-id', push.message.message_id)}"
    letter = DeadLetter(
        id=_letter_id(pushed) or uuid5(NAMESPACE_OID, name),
        source=source,
        topic=storable(topic),
        type=_text(attributes, "ce-type"),
        subject=_text(attributes, "ce-subject"),
        attributes=attributes,
        data=push.message.data,
        attempts=int(attempts) if attempts.isdecimal() and len(attempts) < 6 else 0,
        traceparent=_text(attributes, "traceparent"),
        correlation_id=_text(attributes, "correlation_id"),
        recorded_at=now,
        updated_at=now,
    )
    return LetterDelivery(letter, storable(push.message.message_id)[:300], fingerprint(push.message))


def source_of(push: Push) -> str:
    """Return the subscription that could not deliver the message, as Pub/Sub names it."""
    return push.message.attributes.get(f"{_ADDED_BY_PUBSUB}SourceSubscription", push.subscription_id)


def original_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes without those that Pub/Sub or an earlier retry added."""
    return {
        name: value
        for name, value in attributes.items()
        if not name.startswith(_ADDED_BY_PUBSUB) and name not in (LETTER_ID, ONLY_FOR)
    }


def fingerprint(message: PushedMessage) -> str:
    """Return a text that identifies a message also in a dead-letter topic, unlike its Pub/Sub id."""
    attributes = original_attributes(message.attributes)
    identity = attributes["ce-id"] if "ce-id" in attributes else json.dumps([message.data, sorted(attributes.items())])
    return hashlib.sha256(identity.encode()).hexdigest()


def describe_error(error: Exception) -> str:
    """Return an error as a text of up to 1,000 characters that PostgreSQL can hold."""
    return storable(error.message if isinstance(error, ShopError) else f"{type(error).__name__}: {error}")[:_MAX_TEXT]


def _letter_id(attributes: Mapping[str, str]) -> UUID | None:
    try:
        return UUID(attributes[LETTER_ID]) if attributes.get(ONLY_FOR) else None
    except (KeyError, ValueError):
        return None


def _text(attributes: Mapping[str, str], name: str) -> str | None:
    return storable(attributes[name])[:_MAX_TEXT] if name in attributes else None


@wire_command
class RetryDeadLetters:
    """Retry the letter with this id; without an id, the oldest pending ones (of a source)."""

    id: UUID | None = None
    source: Token | None = None
    limit: Annotated[int, Strict(), in_range(1, 1000)] = 100


@wire_command
class DiscardDeadLetter:
    id: UUID
    reason: Reason


def refuse(letter: DeadLetter | None, wanted: LetterStatus) -> int:
    """Raise why a letter could not get a status; return 0 when it has that status already."""
    if letter is None:
        raise NotFound("there is no dead letter with this id", ("id",))
    if letter.status == wanted:
        return 0
    if letter.status != "PENDING":
        raise Rejected(f"the dead letter has been {letter.status.lower()} already", ("id",))
    raise ConcurrencyError("another request is retrying this dead letter; try again in a few seconds", ("id",))


class LetterFilter(NamedTuple):
    """Which pending letters to claim. `without`: letters that this request has tried already."""

    id: UUID | None = None
    source: str | None = None
    without: Sequence[UUID] = ()


class Trouble(NamedTuple):
    """A subscription's failures. `pending`: its pending letters. `at`: of the last failed attempt on
    record, UTC. `error`: why, None when the function was stopped before it could report."""

    pending: int = 0
    at: datetime | None = None
    error: str | None = None


class DeadLetters(Protocol):
    """A store of letters. Its methods raise Unavailable or TimedOut if the engine is silent."""

    def note_failure(self, subscription: str, fingerprint: str, error: str) -> None:
        """Store why the last attempt to deliver a message failed."""

    def record(self, delivery: LetterDelivery) -> None:
        """Store a pending letter with the noted error, or one more failure. Idempotent."""

    def load(self, letter_id: UUID) -> DeadLetter | None: ...

    def latest(
        self, limit: int, offset: int = 0, status: LetterStatus | None = None, source: str | None = None
    ) -> list[DeadLetter]:
        """Return letters, the newest first, each with the beginning of its data."""

    def pending(self, source: str | None = None) -> int: ...

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        """Return what was recorded, by source, deleted letters included; lately in (since, until]."""

    def troubles(self, subscriptions: Sequence[str]) -> Mapping[str, Trouble]: ...

    def claim(self, wanted: LetterFilter, limit: int) -> list[DeadLetter]:
        """Lease the oldest pending letters that are not leased."""

    def release(self, letters: Sequence[DeadLetter]) -> None: ...

    def settle(self, letters: Sequence[DeadLetter], at: datetime, by: str) -> None:
        """Mark claimed letters as retried, except those that have failed again since."""

    def discard(self, letter_id: UUID, reason: str, by: str) -> bool:
        """Discard a letter if it is pending and not leased; return whether it was."""

    def forget_settled(self, before: datetime, limit: int) -> int:
        """Delete letters that were retried or discarded before; return how many."""

    def forget_failures(self, before: datetime, limit: int) -> int:
        """Delete failures that were noted before; return how many."""
