"""Decode what a caller sends: JSON with exact numbers, and strict dataclasses made from it."""

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, TypeVar

from pydantic import ValidationError

from shared.domain.errors import Invalid
from shared.domain.faults import at, first_fault
from shared.domain.values import adapter

T = TypeVar("T")


def parse_json(text: bytes | str, what: str = "the body") -> Any:
    """Return the JSON value with exact decimals. Raise Invalid, about `what`, for anything else,
    NaN included."""
    try:
        return _EXACT.decode(
            text if isinstance(text, str) else text.decode(json.detect_encoding(text), "surrogatepass")
        )
    except json.JSONDecodeError as error:
        raise Invalid(f"{what} is not JSON: see line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{what} is not JSON: byte {error.start + 1} is not UTF-8") from error
    except RecursionError as error:
        raise Invalid(f"{what} is not JSON: it is nested too deeply") from error
    except NotANumber as error:
        raise Invalid(f"{what} is not JSON: {error}") from error


class NotANumber(ValueError):
    """JSON has no such number, or it has more digits than we read."""


def _number(kind: Callable[[str], T], text: str) -> T:
    try:
        return kind(text)
    except (InvalidOperation, ValueError):
        raise NotANumber(f"{text[:50]} has too many digits for a number") from None


def _no_constant(name: str) -> Any:
    raise NotANumber(f"{name} is not a number")


_EXACT = json.JSONDecoder(
    parse_float=partial(_number, Decimal), parse_int=partial(_number, int), parse_constant=_no_constant
)


def decode(kind: type[T], value: Any) -> T:
    """Return a strict dataclass made from a value with camelCase field names. Raise Invalid with
    the first fault."""
    try:
        decoded: T = adapter(kind).validate_python(value, by_alias=True, by_name=False)
        return decoded
    except ValidationError as error:
        path, fault = first_fault(error)
        raise Invalid(at(path or ("the body",), fault), path) from error
