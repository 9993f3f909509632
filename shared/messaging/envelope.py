"""What travels over Pub/Sub: a CloudEvent in binary mode, a saga's command as one, and the push request that brings it."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic.alias_generators import to_camel

from shared.domain.errors import Invalid
from shared.domain.values import adapter
from shared.observability.context import Context
from shared.resilience import clock


class Publishable(Protocol):
    """What a publisher takes. `id`: names it in the publisher's answer. `body`, `attributes`: go out as they are."""

    @property
    def id(self) -> UUID: ...

    @property
    def topic(self) -> str: ...

    def body(self) -> bytes: ...

    def attributes(self) -> dict[str, str]: ...


@dataclass(frozen=True)
class Message:
    """`subject`: what it is about (a stream). `data`: a JSON object. `time`: UTC."""

    topic: str
    type: str
    subject: str
    data: dict[str, Any]
    context: Context
    id: UUID = field(default_factory=clock.new_id)
    time: datetime = field(default_factory=clock.now)

    def body(self) -> bytes:
        return json.dumps(self.data, ensure_ascii=False).encode()

    def attributes(self) -> dict[str, str]:
        attributes = {
            "ce-specversion": "1.0",
            "ce-id": str(self.id),
            "ce-source": f"//shop/{self.topic}",
            "ce-type": self.type,
            "ce-subject": self.subject,
            "ce-time": self.time.isoformat(),
            "content-type": "application/json",
            "correlation_id": self.context.correlation_id,
            "causation_id": self.context.causation_id,
            "actor": self.context.actor,
        }
        return attributes | ({"traceparent": self.context.traceparent} if self.context.traceparent else {})


SUBJECT = ("message", "attributes", "ce-subject")
TYPE = ("message", "attributes", "ce-type")
"""Where in a push they are."""

ONLY_FOR = "only-for"
"""The attribute that names the subscription which a message was published again for."""


@with_config(ConfigDict(alias_generator=to_camel))
@dataclass(frozen=True)
class PushedMessage:
    message_id: str
    data: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@with_config(ConfigDict(alias_generator=to_camel))
@dataclass(frozen=True)
class Push:
    """The JSON body of a push request, as far as it is used."""

    message: PushedMessage
    subscription: str

    @property
    def subscription_id(self) -> str:
        """The name without the project's."""
        return self.subscription.rpartition("/")[2]

    @property
    def is_for_another(self) -> bool:
        """Whether it was published again for one consumer, which isn't this one."""
        return self.message.attributes.get(ONLY_FOR, self.subscription_id) != self.subscription_id


_PUSH = TypeAdapter(Push)
_MESSAGE = TypeAdapter(Message)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def decode_push(body: bytes) -> Push:
    """Invalid when the body is not a Pub/Sub push."""
    try:
        return _PUSH.validate_json(_without_half_characters(body))
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(f"not a Pub/Sub push: {first['msg']}", first["loc"]) from error


def _without_half_characters(body: bytes) -> bytes:
    """Halves of surrogate pairs as question marks, so that who receives poison can at least keep it."""
    if not _SURROGATE.search(body):
        return body
    try:
        return json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return body  # which is refused for what it is


def decode_message(push: Push) -> Message:
    """Invalid when what was pushed is not one of our messages."""
    attributes = push.message.attributes
    try:
        data = json.loads(base64.b64decode(push.message.data, validate=True))
        return _MESSAGE.validate_python(
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
    except (KeyError, binascii.Error, ValueError, RecursionError) as error:
        raise Invalid(f"not a message of this shop: {type(error).__name__}: {error}", ("message",)) from error


def encode_stored(message: Message) -> str:
    """The outbox's form of a message."""
    return _MESSAGE.dump_json(message).decode()


def decode_stored(message: Any) -> Message:
    return _MESSAGE.validate_python(message)


def topic(command_type: type[Any]) -> str:
    """ReserveInventory -> reserve-inventory"""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", command_type.__name__).lower()


def command_message(command: Any, subject: str, context: Context) -> Message:
    data = adapter(type(command)).dump_python(command, mode="json", by_alias=True)
    return Message(topic(type(command)), type(command).__name__, subject, data, context)


def command_from(message: Message, command_type: type[Any]) -> Any:
    """Raises Invalid when the message is not this command."""
    if message.type != command_type.__name__:
        raise Invalid(f"a {message.type!r:.100}, not a {command_type.__name__}", TYPE)
    try:
        return adapter(command_type).validate_python(message.data)
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(f"not a {command_type.__name__}: {first['msg']}", ("message", "data", *first["loc"])) from error
