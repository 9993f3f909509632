"""The words for what is wrong with a value: one wording per fault, for GraphQL, HTTP, messages and
settings alike.

The wording is our own, because pydantic's, graphql-core's and Python's differ for the same fault,
change with their versions, and use the words of their language ("None", "dataclass", "codec").
"""

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from shared.domain.errors import Path
from shared.domain.personal import is_personal

REQUIRED = "is required"
NULL = "must not be null"
STRING = "a string"
BOOLEAN = "true or false"
OBJECT = "an object"
LIST = "a list"
WHOLE_NUMBER = "a whole number"
NUMBER = 'a number such as "12.50"'
UUID_FORM = "a UUID such as 0190b1b6-7c5e-7000-8000-000000000000"
DAY = "a day such as 2026-04-01"
MOMENT = "a time of RFC 3339 such as 2026-04-01T09:00:00Z"
HALF_A_PAIR = "must not contain half of a surrogate pair"


_HIDDEN = object()
"""Stands for a personal value, which no error may show: errors are logged and stored where no
erasure looks."""


def must_be(allowed: str, value: Any) -> str:
    """Return that a value is not what is `allowed`, one of the above; null has words of its own."""
    if value is None:
        return NULL
    return f"must be {allowed}" if value is _HIDDEN else f"must be {allowed}; got {shown(value)}"


def one_of(allowed: Iterable[str], value: Any) -> str:
    return must_be(f"one of {', '.join(allowed)}", value)


def between(least: Any, most: Any, value: Any) -> str:
    return f"must be between {least:,} and {most:,}; got {shown(value)}"


def length(least: int, most: int, value: int, of: str = "characters") -> str:
    """Return that a text has the wrong number of characters, or a list of items."""
    allowed = f"{least:,} to {most:,}" if least else f"at most {most:,}"
    return f"must have {allowed} {of}; got {value:,}"


def unknown(kind: str, fields: Iterable[str]) -> str:
    """Return that a name is no field of an input. Without `fields`, say nothing about those that
    exist."""
    known = ", ".join(fields)
    return f"is not a field of {kind}" + (f"; its fields are {known}" if known else "")


def shown(value: Any) -> str:
    """Return a value as the client wrote it, in JSON and shortened to about 60 characters."""
    cut = value[:60] if isinstance(value, list | tuple) else value
    if isinstance(value, str) and len(value) > 50:
        cut = f"{value[:47]}..."
    try:
        text = str(value) if isinstance(value, Decimal) else json.dumps(cut, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or lists of thousands of levels
        text = "a value too large to show"
    text = "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)
    return text if len(text) <= 60 or isinstance(value, str) else f"{text[:57]}..."


def at(path: Path, fault: str) -> str:
    """Return the fault with the place of the value before it: "items[0].quantity must be ..."."""
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return f"{place} {fault}" if place else fault


_WORDS: Mapping[str, str] = {
    "string": STRING,
    "uuid": UUID_FORM,
    "int": WHOLE_NUMBER,
    "float": "a number",
    "decimal": NUMBER,
    "finite_number": NUMBER,
    "bool": BOOLEAN,
    "dataclass": OBJECT,
    "model": OBJECT,
    "dict": OBJECT,
    "mapping": OBJECT,
    "list": LIST,
    "tuple": LIST,
    "datetime": MOMENT,
    "timezone": MOMENT,
    "is_instance": OBJECT,
}
"""What is allowed, by the beginning of pydantic's type of error: "uuid" for uuid_parsing, uuid_type
and uuid_version."""


def first_fault(error: ValidationError) -> tuple[Path, str]:
    """Return the path and the words of pydantic's first error, which don't show a personal
    value."""
    first = error.errors(include_url=False)[0]
    given = _HIDDEN if first["input"] is not None and any(map(is_personal, first["loc"])) else first["input"]
    return first["loc"], _fault(first["type"], given, first.get("ctx", {}), first["msg"])


def _fault(kind: str, value: Any, context: Mapping[str, Any], message: str) -> str:
    match kind:
        case "missing":
            return REQUIRED
        case "unexpected_keyword_argument" | "extra_forbidden":
            return "is not a field here"
        case "value_error":
            return message.removeprefix("Value error, ")
        case "string_unicode":
            return HALF_A_PAIR
        case "literal_error" | "enum":
            return one_of(re.findall(r"'([^']*)'", context["expected"]), value)
        case "greater_than_equal":
            return must_be(f"at least {context['ge']:,}", value)
        case "greater_than":
            return must_be(f"greater than {context['gt']:,}", value)
        case "less_than_equal":
            return must_be(f"at most {context['le']:,}", value)
        case "json_invalid":
            return "is not JSON"
        case _:
            words = (allowed for beginning, allowed in _WORDS.items() if kind.startswith(beginning))
            return must_be(next(words, "of another form"), value)
