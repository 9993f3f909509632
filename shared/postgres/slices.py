"""Pages by key: a page goes on from the key of an entry, so a deep page costs what the first one
costs."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString, TypeVar

T = TypeVar("T")

Key = tuple[Any, ...]
"""What a list is sorted by: values that no two entries share."""


@dataclass(frozen=True)
class Slice:
    """The first `limit` entries of a sorted list that lie after one key and before another.

    `after`, `before`: in the order of the slice, None for the ends of the list. `closed`: an entry
    with one of these keys belongs to the slice.
    """

    limit: int
    descending: bool = False
    after: Key | None = None
    before: Key | None = None
    closed: bool = False

    def of(self, entries: Iterable[T], key: Callable[[T], Key]) -> list[T]:
        """Return the slice of entries in memory, which may come in any order."""
        return sorted((one for one in entries if self._holds(key(one))), key=key, reverse=self.descending)[: self.limit]

    def range_of(self, entries: Sequence[T], key: Callable[[T], Key]) -> range:
        """Return the indices of all entries between the keys, in the slice's order. `entries`:
        sorted by key."""
        lower, upper = self._bounds
        below, above = (bisect_left, bisect_right) if self.closed else (bisect_right, bisect_left)
        start = 0 if lower is None else below(entries, lower, key=key)
        end = len(entries) if upper is None else max(start, above(entries, upper, key=key))
        return range(start, end)[:: -1 if self.descending else 1]

    def _holds(self, key: Key) -> bool:
        lower, upper = self._bounds
        if self.closed and key in (lower, upper):
            return True
        return (lower is None or key > lower) and (upper is None or key < upper)

    def sql(self, columns: Mapping[LiteralString, LiteralString]) -> tuple[list[LiteralString], LiteralString]:
        """Return the conditions and the end of a statement that selects the slice; `values` are its
        parameters.

        `columns`: those of the key, each with the cast that a parameter needs to be compared with
        it."""
        names: LiteralString = ", ".join(columns)
        conditions: list[LiteralString] = []
        equal: LiteralString = "=" if self.closed else ""
        if self._bounds[0] is not None:
            casts: LiteralString = ", ".join(f"%(lower{n})s{cast}" for n, cast in enumerate(columns.values()))
            conditions.append(f"({names}) >{equal} ({casts})")
        if self._bounds[1] is not None:
            casts = ", ".join(f"%(upper{n})s{cast}" for n, cast in enumerate(columns.values()))
            conditions.append(f"({names}) <{equal} ({casts})")
        order: LiteralString = ", ".join(f"{name} DESC" for name in columns) if self.descending else names
        return conditions, f"ORDER BY {order} LIMIT %(limit)s"

    @property
    def values(self) -> dict[str, Any]:
        bounds = {"lower": self._bounds[0] or (), "upper": self._bounds[1] or ()}
        named = {f"{name}{n}": value for name, key in bounds.items() for n, value in enumerate(key)}
        return {"limit": self.limit, **named}

    @property
    def _bounds(self) -> tuple[Key | None, Key | None]:
        """Return the lower and the upper key."""
        return (self.before, self.after) if self.descending else (self.after, self.before)


def where(conditions: Iterable[LiteralString]) -> LiteralString:
    """Return the WHERE of a statement; empty without conditions."""
    joined: LiteralString = " AND ".join(conditions)
    return f"WHERE {joined}" if joined else ""
