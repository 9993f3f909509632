"""JSON from outside, once, into strict dataclasses."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from shared.domain.errors import Invalid

T = TypeVar("T")

_adapters: dict[Any, TypeAdapter[Any]] = {}


def parse_json(body: bytes | str) -> Any:
    """JSON with exact decimals. Raises Invalid for anything else, NaN and Infinity included."""
    try:
        return json.loads(body, parse_float=_decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the body is not JSON: {error}") from error


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:50]} is not a number we can hold") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def decode(kind: type[T], value: Any) -> T:
    """A strict dataclass from a value whose fields are named in camelCase. Raises Invalid naming the first fault."""
    try:
        decoded: T = adapter(kind).validate_python(value, by_alias=True, by_name=False)
        return decoded
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Invalid(first["msg"].removeprefix("Value error, "), first["loc"]) from error


def adapter(kind: Any) -> TypeAdapter[Any]:
    """pydantic's adapter of a type, made once: making one takes longer than using it a hundred times."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
