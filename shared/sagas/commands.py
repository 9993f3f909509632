"""Saga commands as messages: one topic per command, named after it."""

import re
from typing import Any

from pydantic import ValidationError

from shared.domain.decoding import adapter
from shared.domain.errors import Invalid
from shared.messaging.envelope import Message
from shared.observability.context import Context


def topic(command_type: type[Any]) -> str:
    """ReserveInventory -> reserve-inventory"""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", command_type.__name__).lower()


def command_message(command: Any, subject: str, context: Context) -> Message:
    data = adapter(type(command)).dump_python(command, mode="json", by_alias=True)
    return Message(topic(type(command)), type(command).__name__, subject, data, context)


def command_from(message: Message, command_type: type[Any]) -> Any:
    """Raises Invalid when the message is not this command."""
    if message.type != command_type.__name__:
        raise Invalid(f"a {message.type!r:.100}, not a {command_type.__name__}", ("message", "attributes", "ce-type"))
    try:
        return adapter(command_type).validate_python(message.data)
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(f"not a {command_type.__name__}: {first['msg']}", ("message", "data", *first["loc"])) from error
