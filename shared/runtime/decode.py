"""Decode what a caller sends: JSON with exact numbers, and strict dataclasses made from it."""

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, TypeVar

from pydantic import ValidationError

from shared.domain.errors import Invalid
from shared.domain.values import adapter

T = TypeVar("T")


class JsonNumber(Decimal):
    """A number as the client wrote it, also where an error message shows it."""

    def __repr__(self) -> str:
        return str(self)

    __inspect__ = __repr__  # what graphql-core shows


def parse_json(body: bytes | str) -> Any:
    """Return the JSON value with exact decimals. Raises Invalid for anything else, NaN and Infinity included."""
    try:
        decimal, whole = partial(_number, JsonNumber), partial(_number, int)
        return json.loads(body, parse_float=decimal, parse_int=whole, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the body is not JSON: {error}") from error


def _number(kind: Callable[[str], T], text: str) -> T:
    try:
        return kind(text)
    except (InvalidOperation, ValueError):
        raise ValueError(f"{text[:50]} has too many digits for a number") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


_MESSAGES = {
    "dataclass_type": "must be a JSON object",
    "tuple_type": "must be a JSON list",
    "too_long": "must have at most {max_length} items, not {actual_length}",
    "too_short": "must have at least {min_length} items, not {actual_length}",
}
"""By pydantic's type of error, where its own message uses Python's words."""


def decode(kind: type[T], value: Any) -> T:
    """Return a strict dataclass made from a value with camelCase field names. Raises Invalid with the first fault."""
    try:
        decoded: T = adapter(kind).validate_python(value, by_alias=True, by_name=False)
        return decoded
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        ours = _MESSAGES.get(first["type"])
        message = ours.format(**first.get("ctx", {})) if ours else first["msg"].removeprefix("Value error, ")
        raise Invalid(message, first["loc"]) from error
