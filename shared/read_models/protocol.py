"""What each query database does: atomic changes for projections, and queries for clients."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

Fields = dict[str, Any]


@dataclass(frozen=True)
class Increment:
    """Add to numbers of another document, which is created if it does not exist, and set the fields
    `about` there."""

    collection: str
    key: str
    amounts: Mapping[str, int]
    about: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """Replace these fields of a document and keep its others."""

    fields: Fields
    increments: Sequence[Increment] = ()


MakeChange = Callable[[Fields | None], Change | None]
"""Return the change of a stored document (None: it does not exist); None for no change."""


class ReadModels(Protocol):
    """The side of the projections. All methods raise Unavailable or TimedOut."""

    def update(self, collection: str, key: str, change: MakeChange, version: int | None = None) -> None:
        """Read a document and write its change, all or nothing.

        `change` is called again when another process has written the document meanwhile.
        `version`: of the document, as far as the caller can know, 0 for none. An engine that has
        written that version itself may then write the change without reading first, under the
        condition that the document is still the same.
        """

    def create(self, collection: str, changes: Mapping[str, Change]) -> int:
        """Create documents, by key, each with its increments; return how many did not exist before.

        A document that exists stays as it is, and its increments are left out.
        """

    def delete(self, collection: str, limit: int) -> int:
        """Delete at most `limit` documents, in any order; return how many were deleted."""


def _accept(_: Fields) -> None: ...


Operator = Literal["==", ">=", "<=", "<", "in", "array_contains_any"]


@dataclass(frozen=True)
class Where:
    field: str
    operator: Operator
    value: Any


@dataclass(frozen=True)
class Find:
    """A query. Documents with equal `order_by` fields are ordered by key, in the same direction.

    `after`, `before`: documents, whose `id` is their key, between which to read; then no document
    is read twice. `closed`: they belong to what is read. They need not exist any more. `on_read`:
    called with each document when it is read; what it raises ends the query. `only`: read no other
    fields, which takes less.
    """

    collection: str
    order_by: str
    where: Sequence[Where] = ()
    descending: bool = False
    limit: int = 20
    offset: int = 0
    after: Fields | None = None
    before: Fields | None = None
    closed: bool = False
    on_read: Callable[[Fields], None] = _accept
    only: Sequence[str] = ()


@dataclass(frozen=True)
class Extent:
    """The size of a collection. `events`: how many it has applied, the sum of its documents'
    versions. `updated_at`: when the newest of these was recorded, UTC."""

    documents: int
    events: int
    updated_at: datetime | None


class Queries(Protocol):
    """The side of the clients. All methods raise Unavailable or TimedOut."""

    async def get_many(self, collection: str, keys: Sequence[str], only: Sequence[str] = ()) -> Mapping[str, Fields]:
        """Return the documents that exist, by key, in one round trip. `only`: read no other fields,
        which takes less."""

    async def find(self, find: Find) -> Sequence[Fields]: ...

    async def count(self, collection: str, where: Sequence[Where]) -> int:
        """Count documents in the database."""

    async def extent(self, collection: str) -> Extent:
        """Compute the size in the database; documents that have applied no event do not count."""
