"""Messages on Pub/Sub: events and saga commands as CloudEvents, and the pushes that carry them."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ConfigDict, ValidationError, with_config
from pydantic.alias_generators import to_camel

from shared.domain.errors import Invalid
from shared.domain.faults import at, first_fault, one_of
from shared.domain.values import adapter
from shared.observability.context import Context
from shared.resilience import clock

ONLY_FOR = "only-for"
"""The attribute of a message for one subscription: that subscription's name."""


@dataclass(frozen=True)
class Postponed:
    """Why a message is published again for one subscription. `id`: the message's own; the new
    message has another one, so that deleting the published one from the outbox never deletes it.
    `dependency`: what it waits for."""

    id: UUID
    subscription: str
    dependency: str

    @property
    def place(self) -> str:
        """What an outbox holds once. A delivery that could not tell whether it has stored its
        message comes again; if each stored another one, these would double with every wait."""
        return f"{self.subscription} {self.id}"


@dataclass(frozen=True)
class Message:
    """A message. `subject`: the stream it is about. `data`: a JSON object. `time`: UTC.
    `postponed`: for a message that waits in an outbox for a dependency."""

    topic: str
    type: str
    subject: str
    data: dict[str, Any]
    context: Context
    id: UUID = field(default_factory=clock.new_id)
    time: datetime = field(default_factory=clock.now)
    postponed: Postponed | None = None

    def body(self) -> bytes:
        return json.dumps(self.data, ensure_ascii=False).encode()

    def attributes(self) -> dict[str, str]:
        attributes = {
            "ce-specversion": "1.0",
            "ce-id": str(self.postponed.id if self.postponed else self.id),
            "ce-source": f"//shop/{self.topic}",
            "ce-type": self.type,
            "ce-subject": self.subject,
            "ce-time": self.time.isoformat(),
            "content-type": "application/json",
            "correlation_id": self.context.correlation_id,
            "causation_id": self.context.causation_id,
            "actor": self.context.actor,
        }
        attributes |= {ONLY_FOR: self.postponed.subscription} if self.postponed else {}
        return attributes | ({"traceparent": self.context.traceparent} if self.context.traceparent else {})


@dataclass(frozen=True)
class ForSubscription:
    """A message for one subscription; the topic's other subscriptions acknowledge it unread."""

    subscription: str
    id: UUID
    topic: str
    data: bytes
    original_attributes: Mapping[str, str]

    def body(self) -> bytes:
        return self.data

    def attributes(self) -> dict[str, str]:
        return {**self.original_attributes, ONLY_FOR: self.subscription}


Publishable = Message | ForSubscription
"""A message that a publisher can send. The publisher reports accepted messages by `id`."""

SUBJECT = ("message", "attributes", "ce-subject")
TYPE = ("message", "attributes", "ce-type")
DATA = ("message", "data")
"""The paths of both attributes in a push request, for errors."""


@with_config(ConfigDict(alias_generator=to_camel))
@dataclass(frozen=True)
class PushedMessage:
    message_id: str
    data: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@with_config(ConfigDict(alias_generator=to_camel))
@dataclass(frozen=True)
class Push:
    """The parts of a push request's JSON body that the shop reads."""

    message: PushedMessage
    subscription: str

    @property
    def subscription_id(self) -> str:
        """Return the subscription's name without the project's."""
        return self.subscription.rpartition("/")[2]

    @property
    def is_for_another(self) -> bool:
        """Return whether the message was published for one subscription, and not for this one."""
        return self.message.attributes.get(ONLY_FOR, self.subscription_id) != self.subscription_id


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def decode_push(body: bytes) -> Push:
    """Return the push request with this body. Raise Invalid when it is not a Pub/Sub push."""
    try:
        push: Push = adapter(Push).validate_json(_without_lone_surrogates(body))
        return push
    except ValidationError as error:
        path, fault = first_fault(error)
        raise Invalid(f"not a Pub/Sub push: {at(path or ('the body',), fault)}", path) from error


def _without_lone_surrogates(body: bytes) -> bytes:
    """Replace lone surrogates by `?`, so that such a message can be stored as a dead letter."""
    if not _SURROGATE.search(body):
        return body
    try:
        return json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return body  # `decode_push` then raises Invalid with the reason


def decode_message(push: Push) -> Message:
    """Return the message in a push. Raise Invalid when it is not a message of this shop."""
    attributes = push.message.attributes
    try:
        data = json.loads(base64.b64decode(push.message.data, validate=True))
    except (ValueError, RecursionError) as error:
        raise Invalid("not a message of this shop: its data is not JSON in base64", DATA) from error
    try:
        message: Message = adapter(Message).validate_python(
            {
                "id": attributes["ce-id"],
                "topic": attributes["ce-source"].removeprefix("//shop/"),
                "type": attributes["ce-type"],
                "subject": attributes["ce-subject"],
                "time": attributes["ce-time"],
                "data": data,
                "context": {name: attributes.get(name) for name in ("correlation_id", "causation_id", "traceparent")}
                | {"actor": attributes.get("actor", "system")},
            }
        )
        return message
    except KeyError as error:
        raise Invalid(f"not a message of this shop: it has no attribute {error.args[0]}", ("message",)) from error
    except ValidationError as error:
        path, fault = first_fault(error)
        raise Invalid(f"not a message of this shop: {at(path, fault)}", ("message",)) from error


def postponed(message: Message, subscription: str, dependency: str) -> Message:
    """Return the message to publish later for this subscription, which could not call the
    dependency."""
    why = Postponed(message.id, subscription, dependency)
    return replace(message, id=clock.new_id(), time=clock.now(), postponed=why)


def encode_stored(message: Message) -> str:
    """Return the JSON in which an outbox stores a message."""
    return adapter(Message).dump_json(message).decode()


def decode_stored(message: Any) -> Message:
    stored: Message = adapter(Message).validate_python(message)
    return stored


def topic(command_type: type[Any]) -> str:
    """Return the topic of a saga command: `reserve-inventory` for ReserveInventory."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", command_type.__name__).lower()


def command_message(command: Any, subject: str, context: Context) -> Message:
    data = adapter(type(command)).dump_python(command, mode="json", by_alias=True)
    return Message(topic(type(command)), type(command).__name__, subject, data, context)


def command_from(message: Message, command_type: type[Any]) -> Any:
    """Return the saga command in a message. Raise Invalid when it holds something else."""
    if message.type != command_type.__name__:
        raise Invalid(at(("type",), one_of([command_type.__name__], message.type)), TYPE)
    try:
        return adapter(command_type).validate_python(message.data)
    except ValidationError as error:
        path, fault = first_fault(error)
        raise Invalid(f"not a {command_type.__name__}: {at(path or ('the data',), fault)}", (*DATA, *path)) from error
