"""Messages that no attempt could deliver, kept until a person has dealt with them, and why the attempts failed."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, NamedTuple, Protocol
from uuid import NAMESPACE_OID, UUID, uuid5

from pydantic import Field, Strict

from shared.domain.commands import wire_command
from shared.domain.errors import ConcurrencyError, NotFound, Rejected, ShopError
from shared.domain.values import Reason, Token
from shared.messaging.envelope import ONLY_FOR, Push, PushedMessage
from shared.messaging.outbox import Publisher, Traffic
from shared.resilience import clock

LetterStatus = Literal["PENDING", "RETRIED", "DISCARDED"]

LETTER = "dead-letter"
"""The attribute of a message that is published again: the id of its letter."""
LEASE_SECONDS = 15.0
"""How long whoever claimed a letter has to publish it before others may."""
SHOWN = 10_000
"""Characters of the data in a list."""

_BY_PUBSUB = "CloudPubSubDeadLetter"


@dataclass(frozen=True)
class LetterEntry:
    """What happened to a letter. `by`: the admin's id. `reason`: the error of a failure, or why it was discarded."""

    kind: Literal["FAILED", "RETRIED", "DISCARDED"]
    at: datetime
    by: str | None = None
    attempts: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class DeadLetter:
    """What one subscription, `source`, gave up. `attributes` and `data` (base64): exactly as they were published.
    `attempts`: all that there were. `version`: how often it was given up."""

    id: UUID
    source: str
    topic: str
    type: str | None
    subject: str | None
    attributes: Mapping[str, str]
    data: str
    attempts: int
    error: str | None
    traceparent: str | None
    correlation_id: str | None
    status: LetterStatus
    version: int
    recorded_at: datetime
    updated_at: datetime
    history: Sequence[LetterEntry] = ()

    @property
    def publishable(self) -> bool:
        """False for what can never have been a message's data."""
        try:
            return base64.b64decode(self.data, validate=True) is not None
        except ValueError:
            return False


@dataclass(frozen=True)
class Again:
    """A letter on its way back to the one subscription that gave it up: as it was, and saying whom it is for."""

    letter: DeadLetter

    @property
    def id(self) -> UUID:
        return self.letter.id

    @property
    def topic(self) -> str:
        return self.letter.topic

    def body(self) -> bytes:
        return base64.b64decode(self.letter.data, validate=True)

    def attributes(self) -> dict[str, str]:
        return {**self.letter.attributes, LETTER: str(self.id), ONLY_FOR: self.letter.source}


class GivenUp(NamedTuple):
    """`delivery`: the dead-letter topic's own id, the same when it comes again. `message`: as `recognised` has it."""

    letter: DeadLetter
    delivery: str
    message: str


def source_of(push: Push) -> str:
    """The subscription that gave up, which Pub/Sub wrote into the attributes."""
    return push.message.attributes.get(f"{_BY_PUBSUB}SourceSubscription", push.subscription_id)


def given_up(push: Push, topic: str) -> GivenUp:
    """What a dead-letter topic's subscription pushes. `topic`: where the message was published.

    A message has one letter for each source. It is recognised by the id of its CloudEvent, a foreign one by Pub/Sub's; one
    that was published again names its letter."""
    given, now = push.message.attributes, clock.now()
    source, own = storable(source_of(push)), original(given)
    attempts = given.get(f"{_BY_PUBSUB}SourceDeliveryCount", "")
    name = f"{source}\n{own.get('ce-id', push.message.message_id)}"
    text = {key: storable(own[key])[:1000] if key in own else None for key in ("ce-type", "ce-subject", "traceparent")}
    letter = DeadLetter(
        id=_named(given) or uuid5(NAMESPACE_OID, name),
        source=source,
        topic=storable(topic),
        type=text["ce-type"],
        subject=text["ce-subject"],
        attributes=own,
        data=push.message.data,
        attempts=int(attempts) if attempts.isdecimal() and len(attempts) < 6 else 0,
        error=None,
        traceparent=text["traceparent"],
        correlation_id=storable(own["correlation_id"])[:1000] if "correlation_id" in own else None,
        status="PENDING",
        version=1,
        recorded_at=now,
        updated_at=now,
    )
    return GivenUp(letter, storable(push.message.message_id)[:300], recognised(push.message))


def _named(attributes: Mapping[str, str]) -> UUID | None:
    try:
        return UUID(attributes[LETTER]) if attributes.get(ONLY_FOR) else None
    except (KeyError, ValueError):
        return None


def original(attributes: Mapping[str, str]) -> dict[str, str]:
    """Without those that Pub/Sub or an earlier retry has added."""
    return {
        name: value
        for name, value in attributes.items()
        if not name.startswith(_BY_PUBSUB) and name not in (LETTER, ONLY_FOR)
    }


def recognised(message: PushedMessage) -> str:
    """The same for every delivery of a message, also in the dead-letter topic, where Pub/Sub gives it another id."""
    own = original(message.attributes)
    what = own["ce-id"] if "ce-id" in own else json.dumps([message.data, sorted(own.items())])
    return hashlib.sha256(what.encode()).hexdigest()


def described(error: Exception) -> str:
    """An error in up to 1000 characters."""
    return storable(error.message if isinstance(error, ShopError) else f"{type(error).__name__}: {error}")[:1000]


def storable(text: str) -> str:
    """Without what PostgreSQL's text can't hold."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


@wire_command
class RetryDeadLetters:
    """The one with this id; without an id, the oldest pending ones, perhaps of one source only."""

    id: UUID | None = None
    source: Token | None = None
    limit: Annotated[int, Strict(), Field(ge=1, le=1000)] = 100


@wire_command
class DiscardDeadLetter:
    id: UUID
    reason: Reason


def refuse(letter: DeadLetter | None, wanted: LetterStatus) -> int:
    """Say why a letter could not be brought to a status, or 0 when it has it already."""
    if letter is None:
        raise NotFound("there is no dead letter with this id", ("id",))
    if letter.status == wanted:
        return 0
    if letter.status != "PENDING":
        raise Rejected(f"the dead letter has been {letter.status.lower()} already", ("id",))
    raise ConcurrencyError("somebody is retrying it at this moment; look at it again in a few seconds", ("id",))


class LetterFilter(NamedTuple):
    """Which pending letters to claim. `without`: those that have had their turn."""

    id: UUID | None = None
    source: str | None = None
    without: Sequence[UUID] = ()


class Trouble(NamedTuple):
    """With one subscription. `pending`: its dead letters that wait for somebody. `at`: when an attempt last failed, of those
    that are not long ago, UTC; `error`: why, None when nobody could say."""

    pending: int = 0
    at: datetime | None = None
    error: str | None = None


class DeadLetters(Protocol):
    """All methods raise Unavailable or TimedOut when the engine doesn't answer."""

    def note_failure(self, subscription: str, message: str, error: str) -> None:
        """Keep why the last attempt to deliver a message failed. `message`: as `recognised` has it."""

    def record(self, given_up: GivenUp) -> None:
        """Keep it, pending, with the error that was noted: once, however often it is delivered. A letter that is there
        already gets one more failure."""

    def load(self, letter_id: UUID) -> DeadLetter | None: ...

    def latest(
        self, limit: int, offset: int = 0, status: LetterStatus | None = None, source: str | None = None
    ) -> list[DeadLetter]:
        """The newest first, each with the beginning of its data."""

    def pending(self, source: str | None = None) -> int:
        """How many there are."""

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        """What was recorded, by source, also what has been deleted since. Lately is after `since`, up to `until`."""

    def troubles(self, subscriptions: Sequence[str]) -> Mapping[str, Trouble]:
        """Of each."""

    def claim(self, wanted: LetterFilter, limit: int) -> list[DeadLetter]:
        """Lease pending letters that nobody else has claimed, the oldest first."""

    def release(self, letters: Sequence[DeadLetter]) -> None: ...

    def settle(self, letters: Sequence[DeadLetter], at: datetime, by: str) -> None:
        """Claimed letters have been published. One that has been given up again since it was claimed stays pending."""

    def discard(self, letter_id: UUID, reason: str, by: str) -> bool:
        """Whether there was such a pending letter that nobody had claimed."""

    def forget_settled(self, before: datetime, limit: int) -> int:
        """Delete letters that were retried or discarded before; how many."""

    def forget_failures(self, before: datetime, limit: int) -> int:
        """Delete what was noted before; how many."""


def publish_again(
    letters: DeadLetters, publisher: Publisher, claimed: Sequence[DeadLetter], ready: Sequence[DeadLetter], by: str
) -> int:
    """Publish those of the claimed letters that are ready; how many were accepted. The others are pending again at once;
    all of them are, later, if this is killed."""
    at, accepted = clock.now(), set[UUID]()
    try:
        accepted |= {*publisher.publish([Again(letter) for letter in ready])}
        letters.settle([letter for letter in claimed if letter.id in accepted], at, by)
    finally:
        letters.release([letter for letter in claimed if letter.id not in accepted])
    return len(accepted)
