"""All choices of a history, in one place.

A choice has a label and a bound, and 0 is always the harmless one: no fault, the first in line. A
tape holds the others, each under its label and its number among the choices with this label. So a
choice that is removed moves no choice with another label, which keeps a shrunk history like the
original.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

Place = tuple[str, int]
"""A label, and the number of the choice among those with this label."""
Choices = Mapping[Place, int]


class Tape:
    """Draws choices from a seed, or reads them from the choices of an earlier history.

    `chosen`: every choice so far that is not 0.
    """

    def __init__(self, seed: int | None = None, written: Choices | None = None) -> None:
        self._random = Random(seed) if seed is not None else None
        self._written = written or {}
        self._numbers: dict[str, int] = {}
        self.chosen: dict[Place, int] = {}

    def choose(self, label: str, bound: int) -> int:
        """Return a number from 0 up to, but without, `bound`; each is as likely."""
        return self._note(label, bound, self._random.randrange(bound) if self._random else None)

    def pick(self, label: str, rates: Sequence[float]) -> int:
        """Return 0, or n with the probability of the n-th rate, counted from 1."""
        drawn = 0
        if self._random and (left := self._random.random()) < sum(rates):
            for drawn, rate in enumerate(rates, 1):  # noqa: B007 - the last one catches what rounding leaves
                left -= rate
                if left < 0:
                    break
        return self._note(label, len(rates) + 1, drawn if self._random else None)

    def chance(self, label: str, rate: float) -> bool:
        drawn = self._random.random() < rate if self._random else None
        return bool(self._note(label, 2, drawn))

    def _note(self, label: str, bound: int, drawn: int | None) -> int:
        number = self._numbers.get(label, 0)
        self._numbers[label] = number + 1
        if drawn is None:
            drawn = min(self._written.get((label, number), 0), bound - 1)
        if drawn:
            self.chosen[label, number] = int(drawn)
        return drawn


def save(choices: Choices, file: Path) -> None:
    """Write the choices as JSON, one on each line."""
    lines = (json.dumps([*place, value]) for place, value in sorted(choices.items()))
    file.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def load(file: Path) -> Choices:
    return {(label, number): value for label, number, value in json.loads(file.read_text())}


def smaller(choices: Choices) -> Iterator[Choices]:
    """Yield the choices with parts left out, the largest parts first, then with single values
    lowered."""
    by_label: dict[str, list[Place]] = {}
    for place in choices:
        by_label.setdefault(place[0], []).append(place)
    for places in sorted(by_label.values(), key=len, reverse=True):
        yield without(choices, places)
    order = sorted(choices)
    size = len(order) // 2
    while size:
        for start in range(0, len(order), size):
            yield without(choices, order[start : start + size])
        size //= 2
    for place in order:
        for value in {1, choices[place] // 2, choices[place] - 1}:
            if 0 < value < choices[place]:
                yield {**choices, place: value}


def without(choices: Choices, places: Sequence[Place]) -> Choices:
    left_out = set(places)
    return {place: value for place, value in choices.items() if place not in left_out}
