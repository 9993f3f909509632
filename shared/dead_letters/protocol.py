"""Dead letters: messages that could not be delivered, until an admin retries or discards them."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Literal, NamedTuple, Protocol
from uuid import NAMESPACE_OID, UUID, uuid5

from shared.dead_letters.failures import MAX_TEXT, Cause, Failure, LetterCause, OpenBreaker, Trouble
from shared.messaging.envelope import ONLY_FOR, ForSubscription, Push, PushedMessage
from shared.messaging.outbox import Traffic
from shared.observability.context import Context, fresh
from shared.postgres.slices import Slice
from shared.postgres.text import storable
from shared.resilience import clock

LetterStatus = Literal["PENDING", "RETRIED", "DISCARDED"]

LETTER_ID = "dead-letter"  # the attribute of a retried message that holds its letter's id
_ADDED_BY_PUBSUB = "CloudPubSubDeadLetter"


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
    """A message, as it was published, that one subscription, `source`, could not deliver. `data`:
    base64, in lists its first `shown_characters`. `attempts`: retries included. `first_error`,
    `error`: of the first and of the last failed attempt. `version`: its arrivals in the dead-letter
    topic."""

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
    first_error: str | None = None
    status: LetterStatus = "PENDING"
    version: int = 1
    history: Sequence[LetterEntry] = ()

    @property
    def context(self) -> Context:
        """The context of the message; a new one for a message that is not the shop's."""
        attributes, new = self.attributes, fresh()
        correlation_id = self.correlation_id or new.correlation_id
        actor = attributes.get("actor", "system")
        return Context(correlation_id, attributes.get("ce-id", new.causation_id), actor, self.traceparent)

    def shortened(self) -> "DeadLetter":
        most = self.shown_characters
        return replace(self, data=self.data[:most]) if len(self.data) > most else self

    def for_its_subscription(self) -> ForSubscription | None:
        """Return the message to publish for `source`, None for data that is not base64."""
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

    A message has one letter for each source, under an id derived from the CloudEvent's id, for
    foreign messages from Pub/Sub's. A retried message carries the id of its letter.
    """
    pushed, now = push.message.attributes, clock.now()
    source, attributes = storable(source_of(push)), original_attributes(pushed)
    attempts = pushed.get(f"{_ADDED_BY_PUBSUB}SourceDeliveryCount", "")
    letter = DeadLetter(
        id=_letter_id(pushed) or letter_id(source, attributes.get("ce-id", push.message.message_id)),
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


def letter_id(source: str, message_id: str) -> UUID:
    """Return the id of the letter of this message for this subscription."""
    return uuid5(NAMESPACE_OID, f"{source}\n{message_id}")


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
    """Return a text that identifies a message also in a dead-letter topic, unlike its Pub/Sub
    id."""
    attributes = original_attributes(message.attributes)
    return fingerprint_of(attributes.get("ce-id") or json.dumps([message.data, sorted(attributes.items())]))


def fingerprint_of(identity: str) -> str:
    """Return the fingerprint of the message with this id."""
    return hashlib.sha256(identity.encode()).hexdigest()


def _letter_id(attributes: Mapping[str, str]) -> UUID | None:
    try:
        return UUID(attributes[LETTER_ID]) if attributes.get(ONLY_FOR) else None
    except (KeyError, ValueError):
        return None


def _text(attributes: Mapping[str, str], name: str) -> str | None:
    return storable(attributes[name])[:MAX_TEXT] if name in attributes else None


class LetterFilter(NamedTuple):
    """Which pending letters are wanted. `without`: those that this request has tried already."""

    id: UUID | None = None
    source: str | None = None
    without: Sequence[UUID] = ()
    cause: Cause | None = None


@dataclass(frozen=True)
class Letters:
    """The letters to list; None matches everything. `recorded_before`: exclusive."""

    status: LetterStatus | None = None
    source: str | None = None
    topic: str | None = None
    type: str | None = None
    subject: str | None = None
    correlation_id: str | None = None
    recorded_after: datetime | None = None
    recorded_before: datetime | None = None
    cause: Cause | None = None


class DeadLetters(Protocol):
    """A store of letters. Its methods raise Unavailable or TimedOut if the engine is silent."""

    def note_failure(self, subscription: str, fingerprint: str, error: str, waits_for: str | None = None) -> None:
        """Store why an attempt to deliver a message failed, beside the first reason.

        `waits_for`: the dependency whose breaker is open; then no attempt counts, and an earlier
        reason stays, because it says more.
        """

    def failures(self, messages: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Failure]:
        """Return the failures of messages, each given by its subscription and its own id."""

    def open_breakers(self, since: datetime) -> list[OpenBreaker]:
        """Return the dependencies that messages have begun to wait for after a moment."""

    def pending_sources(self) -> list[str]: ...

    def pending_by_cause(self, limit: int) -> list[LetterCause]: ...

    def causes(self) -> int: ...

    def record(self, delivery: LetterDelivery) -> None:
        """Store a pending letter with the noted error, or one more failure. Idempotent."""

    def load(self, letter_id: UUID) -> DeadLetter | None: ...

    def latest(
        self, limit: int, offset: int = 0, status: LetterStatus | None = None, source: str | None = None
    ) -> list[DeadLetter]:
        """Return letters, the newest first, each with the beginning of its data."""

    def page(self, which: Letters, part: Slice) -> list[DeadLetter]:
        """Return a slice of the letters by time and id, each with the beginning of its data."""

    def count(self, which: Letters) -> int: ...

    def pending(self, source: str | None = None) -> int: ...

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        """Return what was recorded, by source, deleted letters included; lately in (since,
        until]."""

    def troubles(self, subscriptions: Sequence[str]) -> Mapping[str, Trouble]: ...

    def claim(self, wanted: LetterFilter, limit: int) -> list[DeadLetter]:
        """Lease the oldest pending letters that are not leased."""

    def release(self, letters: Sequence[DeadLetter]) -> None: ...

    def settle(self, letters: Sequence[DeadLetter], at: datetime, by: str) -> None:
        """Mark claimed letters as retried, except those that have failed again since."""

    def discard(self, letter_id: UUID, reason: str, by: str) -> bool:
        """Discard a letter if it is pending and not leased; return whether it was."""

    def discard_oldest(self, wanted: LetterFilter, limit: int, reason: str, by: str) -> int:
        """Discard the oldest pending letters that are not leased; return how many."""

    def forget_settled(self, before: datetime, limit: int) -> int:
        """Delete letters that were retried or discarded before; return how many."""

    def forget_failures(self, before: datetime, limit: int) -> int:
        """Delete failures that were noted before; return how many."""
