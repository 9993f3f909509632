"""What the query database does, whichever engine is below it: atomic changes for projections, queries for clients. And the
engine in memory, for tests and for `scripts/dev --memory`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

Fields = dict[str, Any]


@dataclass(frozen=True)
class Increment:
    """Add `amount` to a number of another document, which is made if it isn't there."""

    collection: str
    key: str
    field: str
    amount: int


@dataclass(frozen=True)
class Change:
    """`fields` replace those of the same name; others stay."""

    fields: Fields
    increments: Sequence[Increment] = ()


class ReadModels(Protocol):
    def update(self, collection: str, key: str, change: Callable[[Fields | None], Change | None]) -> None:
        """Read a document, write what `change` makes of it, all or nothing; None changes nothing.

        `change` may be called again when somebody else wrote meanwhile. Raises Unavailable.
        """

    def delete(self, collection: str, limit: int) -> int:
        """Delete up to so many documents, whichever; how many there were. Raises Unavailable."""


Operator = Literal["==", ">=", "<=", "in", "array_contains"]


@dataclass(frozen=True)
class Where:
    field: str
    operator: Operator
    value: Any


@dataclass(frozen=True)
class Find:
    """`order_by`: a field; documents with equal values follow each other by key, in the same direction."""

    collection: str
    order_by: str
    where: Sequence[Where] = ()
    descending: bool = False
    limit: int = 20
    offset: int = 0


@dataclass(frozen=True)
class Extent:
    """Of a collection. `events`: the sum of its documents' versions, so how many events they have applied. `updated_at`:
    when the newest of these was recorded, UTC."""

    documents: int
    events: int
    updated_at: datetime | None


class Queries(Protocol):
    async def get_many(self, collection: str, keys: Sequence[str]) -> Mapping[str, Fields]:
        """Those that are there, in one round trip. Raises Unavailable."""

    async def find(self, find: Find) -> Sequence[Fields]:
        """Raises Unavailable."""

    async def extent(self, collection: str) -> Extent:
        """Counted where the documents are; those that have applied no event don't count. Raises Unavailable."""
