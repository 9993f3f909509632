"""Relay connections: pages that a client can read to the end, forwards and backwards.

A cursor is the key of an entry, so a page goes on from there whatever was added or removed
meanwhile, and a deep page costs what the first one costs. See
https://relay.dev/graphql/connections.htm
"""

import base64
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, ValidationError

from shared.api.context import Info, Resolvers
from shared.api.limits import DEFAULT_PAGE
from shared.api.resolvers.common import bounded
from shared.domain.errors import Invalid
from shared.domain.faults import at, must_be
from shared.domain.values import adapter
from shared.postgres.slices import Key, Slice

T = TypeVar("T")

_COUNTED_PER_FIELD = 100  # entries that a count passes over, in the database alone, cost as much as a field
_MAX_CURSOR = 4_000  # characters

AT = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC))]
NUMBER = Annotated[int, Field(ge=0, lt=2**63)]
TEXT = Annotated[str, AfterValidator(lambda text: text.encode().decode())]  # refuses half a surrogate pair
DOCUMENT_ID = Annotated[UUID, AfterValidator(str)]
"""The types of the parts of keys, besides UUID."""


class Edge(NamedTuple):
    node: Any
    cursor: str


@dataclass(frozen=True)
class Listing(Generic[T]):
    """A sorted list. `order`: the name of its order, which its cursors hold. `key`, `key_type`: of
    an entry.

    `read` returns a slice, `count` the number of all entries and how many of them the database had
    to count, and `show` what clients see of some entries, by default the entries themselves."""

    order: str
    key_type: Any
    key: Callable[[T], Key]
    read: Callable[[Slice], Awaitable[Sequence[T]]]
    count: Callable[[], Awaitable[tuple[int, int]]]
    show: Callable[[Sequence[T]], Awaitable[Sequence[Any]]] | None = None
    descending: bool = False


@dataclass(frozen=True)
class Page:
    """The arguments `first`, `after`, `last` and `before` with which a client asks for a page."""

    first: int | None = None
    after: Key | None = None
    last: int | None = None
    before: Key | None = None

    @property
    def length(self) -> int:
        return next((length for length in (self.first, self.last) if length is not None), DEFAULT_PAGE)

    def slice(self, descending: bool) -> Slice:
        """Return what to read: the page, and one more entry that tells whether there are more."""
        forwards = Slice(self.length + 1, descending, self.after, self.before)
        return forwards if self.last is None else turned(forwards)


def turned(forwards: Slice) -> Slice:
    """Return the slice in the opposite order, which begins at the end of the list."""
    return replace(forwards, descending=not forwards.descending, after=forwards.before, before=forwards.after)


@dataclass(frozen=True)
class Connection(Generic[T]):
    """A page of a listing. `more`: whether the listing goes on in the direction in which it was
    read."""

    listing: Listing[T]
    page: Page
    edges: Sequence[Edge]
    more: bool

    @property
    def page_info(self) -> "Connection[T]":
        return self

    @property
    def start_cursor(self) -> str | None:
        return self.edges[0].cursor if self.edges else None

    @property
    def end_cursor(self) -> str | None:
        return self.edges[-1].cursor if self.edges else None

    async def has_previous(self, info: Info) -> bool:
        """Return whether entries precede the page: by the specification, only if that is known or
        cheap to know."""
        if self.page.last is not None:
            return self.more
        return self.page.after is not None and await self._exists(info, turned, self.page.after)

    async def has_next(self, info: Info) -> bool:
        if self.page.last is None:
            return self.more
        return self.page.before is not None and await self._exists(info, lambda one: one, self.page.before)

    async def _exists(self, info: Info, direction: Callable[[Slice], Slice], key: Key) -> bool:
        """Return whether there is an entry with the key or beyond it."""
        beyond = direction(Slice(1, self.listing.descending))
        return bool(await self.listing.read(replace(beyond, after=key, closed=True)))


async def connect(info: Info, listing: Listing[T], arguments: Mapping[str, Any]) -> Connection[T]:
    """Return the page that the arguments ask for. Raise Invalid."""
    page = page_of(info, listing, arguments)
    found = await listing.read(page.slice(listing.descending))
    chosen = found[: page.length] if page.last is None else found[: page.length][::-1]
    nodes = await listing.show(chosen) if listing.show else chosen
    cursors = (encode_cursor(_name(info, listing), listing.key(entry)) for entry in chosen)
    edges = [Edge(node, cursor) for node, cursor in zip(nodes, cursors, strict=True)]
    return Connection(listing, page, edges, len(found) > page.length)


def page_of(info: Info, listing: Listing[T], arguments: Mapping[str, Any]) -> Page:
    """Read the arguments. Raise Invalid."""
    most, first, last = info.context.engines.settings.max_list_limit, arguments.get("first"), arguments.get("last")
    if first is not None and last is not None:
        raise Invalid(
            "pass first or last, not both: first entries come from the front, last ones from the end", ("last",)
        )
    for argument, length in (("first", first), ("last", last)):
        bounded(argument, length, 0, most)
    keys = {
        argument: decode_cursor(argument, cursor, _name(info, listing), listing.key_type)
        for argument in ("after", "before")
        if (cursor := arguments.get(argument)) is not None
    }
    return Page(first, keys.get("after"), last, keys.get("before"))


def _name(info: Info, listing: Listing[T]) -> str:
    return f"{info.field_name} {listing.order}"


def encode_cursor(name: str, key: Key) -> str:
    """Return an opaque text that stands for the key in the list of this name."""
    text = json.dumps([name, *(_plain(part) for part in key)], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _plain(part: Any) -> Any:
    return part.isoformat() if isinstance(part, datetime) else str(part) if isinstance(part, UUID) else part


def decode_cursor(argument: str, cursor: str, name: str, key_type: Any) -> Key:
    """Return the key. Raise Invalid for a text that is no cursor, or one of another list or
    order."""
    try:
        padded = cursor[:_MAX_CURSOR].encode("ascii") + b"=" * (-len(cursor) % 4)
        of, *parts = json.loads(base64.b64decode(padded, b"-_", validate=True))
        key: Key = adapter(key_type).validate_python(tuple(parts))
    except (ValueError, TypeError, RecursionError, ValidationError):
        of, key = None, ()
    if of == name:
        return key
    field, order = name.split(" ")
    expected = f"the cursor of an edge of {field}, sorted by {order}"
    raise Invalid(at((argument,), must_be(expected, cursor)), (argument,))


async def total_count(connection: Connection[Any], info: Info) -> int:
    """Return the number of entries on all pages. Charge for those that the database had to
    count."""
    budget = info.context.loaders.budget
    async with budget.turn():
        total, counted = await connection.listing.count()
        budget.spend(counted // _COUNTED_PER_FIELD)
    return total


_EXECUTED = ("QueryExecution", "CommandExecution", "OperatorAction")
_NODES = ("Category", "Product", "Order", "DailySales", "RebuildPartition", "Saga", "Event", "DeadLetter", *_EXECUTED)

RESOLVERS: Resolvers = {
    "PageInfo": {
        "hasNextPage": lambda connection, info: connection.has_next(info),
        "hasPreviousPage": lambda connection, info: connection.has_previous(info),
    },
    **{f"{node}Connection": {"totalCount": total_count} for node in _NODES},
}
