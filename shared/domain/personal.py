"""What orders say about a person, and what is left of it after an erasure."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from pydantic.alias_generators import to_camel

T = TypeVar("T")

ERASED = "erased"
"""Stands for every personal value of a person who was erased. No user may have it as an id."""

PERSONAL = frozenset(
    {"user_id", "payment_id", "shipping_id", "notification_id", "payment_method", "shipping_method", "reason"}
)
"""Fields of orders, in events, states and documents alike, that identify a person or hold a
person's own words."""

_ON_THE_WIRE = PERSONAL | {to_camel(name) for name in PERSONAL}  # commands have them in camel case


def masked(value: Any) -> Any:
    """Return JSON data with asterisks for the personal values in it, at every depth."""
    if isinstance(value, Mapping):
        return {name: "***" if name in _ON_THE_WIRE else masked(inner) for name, inner in value.items()}
    return [masked(inner) for inner in value] if isinstance(value, list | tuple) else value


def is_personal(name: object) -> bool:
    """Return whether a step of a path, a field's name in either case, is that of a personal
    field."""
    return name in _ON_THE_WIRE


def forget(about: T, instead: str = ERASED) -> T:
    """Return the state, document or event with `instead` for every personal value that it has."""
    known: Any = about
    personal = [field.name for field in fields(known) if field.name in PERSONAL]
    return replace(known, **{name: instead for name in personal if getattr(known, name) is not None})  # type: ignore[no-any-return]
