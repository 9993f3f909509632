"""Sentences for operators, which a client can say in another language: each is made of phrases, and
a phrase is a code with its parts.

`str(sentence)` is the English text. The console has words of its own for every code.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import add
from typing import Any, Self

from shared.observability.phrases import ENGLISH

Part = str | int | float | datetime


@dataclass(frozen=True)
class Phrase:
    """`parts`: the values of the places of `ENGLISH[code]`, by name; a moment is called `at`."""

    code: str
    parts: Mapping[str, Part]

    def __str__(self) -> str:
        return ENGLISH[self.code].format_map({name: _in_english(part) for name, part in self.parts.items()})


@dataclass(frozen=True)
class Sentence:
    """Phrases, one after the other without a space between them."""

    phrases: tuple[Phrase, ...] = ()

    def __str__(self) -> str:
        return "".join(map(str, self.phrases))

    def __add__(self, other: Self) -> "Sentence":
        return Sentence(self.phrases + other.phrases)

    @property
    def shown(self) -> list[dict[str, Any]]:
        """Return the phrases as JSON; moments after RFC 3339, in UTC."""
        return [
            {"code": one.code, "parts": {name: _as_json(part) for name, part in one.parts.items()}}
            for one in self.phrases
        ]


def said(code: str, **parts: Part) -> Sentence:
    """Return a sentence of one phrase."""
    return Sentence((Phrase(code, parts),))


def joined(separator: str, sentences: Iterable[Sentence]) -> Sentence:
    """Return the sentences with the phrase `separator`, which has no parts, between them."""
    found = list(sentences)
    return reduce(add, [one for sentence in found for one in (said(separator), sentence)][1:], Sentence())


def _in_english(part: Part) -> Part:
    return f"{part:%H:%M:%S} UTC" if isinstance(part, datetime) else part


def _as_json(part: Part) -> str | int | float:
    return part.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(part, datetime) else part
