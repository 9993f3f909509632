"""What the measurements found, beside their goals."""

from collections.abc import Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """`reached`: times what it stands `beside`. `most`: the goal is the most it may be, otherwise
    the least."""

    what: str
    reached: float
    goal: float
    beside: str
    most: bool = False

    @property
    def met(self) -> bool:
        return self.reached <= self.goal if self.most else self.reached >= self.goal


def table_of(figures: Sequence[Figure]) -> str:
    """Return the figures as a table of Markdown."""
    rows = [
        f"| {one.what} | {one.beside} | {'at most' if one.most else 'at least'} {one.goal:g} | {one.reached:.2f} |"
        f" {'met' if one.met else 'missed'} |"
        for one in figures
    ]
    return "\n".join(["| what | beside | goal | reached | |", "|---|---|---|---|---|", *rows])


def verdict(figures: Sequence[Figure]) -> int:
    """Return the exit status: 1 when a goal is missed."""
    return 0 if all(one.met for one in figures) else 1
