"""The version rule: how a projection stays right whatever happens to the messages that drive it.

A message says that a stream has reached a version. A document that is there already has nothing to do; one that is just
before applies the event; one further behind reads what it missed from the event store. So duplicates, any order, and the
loss of all but the last message make the same document.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from shared.domain.aggregate import Aggregate
from shared.domain.errors import Unavailable
from shared.domain.values import adapter
from shared.event_store.aggregates import CODEC
from shared.event_store.protocol import EventRecord
from shared.messaging.envelope import SUBJECT
from shared.read_models.protocol import Change, Fields, Increment, Queries, ReadModels

Document = TypeVar("Document")
ReadMissing = Callable[[str, int], Sequence[EventRecord]]
"""The next events of a stream above a version, from the event store; at least one where there is any."""


@dataclass(frozen=True)
class Count(Generic[Document]):
    """Keep a number in documents of another collection: how many documents belong to each of them."""

    collection: str
    field: str
    belongs_to: Callable[[Document], UUID | None]


@dataclass(frozen=True)
class Projection(Generic[Document]):
    """One document per stream of `aggregate`, its key being the aggregate's id, made by folding `apply`.

    `index`: further fields, derived from the document, to look it up by. `counter`: the field that other projections
    count in, 0 until they do.
    """

    collection: str
    aggregate: Aggregate[Any]
    document: type[Document]
    apply: Callable[[Document | None, Any], Document]
    count: Count[Document] | None = None
    index: Callable[[Document], Fields] | None = None
    counter: str | None = None


def project(models: ReadModels, projection: Projection[Any], event: EventRecord, read_missing: ReadMissing) -> None:
    """Bring the event's document to the event's version or beyond. Raises Invalid for the stream of something else."""
    key = str(projection.aggregate.id_of(event.stream, SUBJECT))

    comes_short = True

    def change(stored: Fields | None) -> Change | None:
        nonlocal comes_short
        version = (stored or {}).get("version", 0)
        if version >= event.version:
            return None
        events = [event] if version == event.version - 1 else read_missing(event.stream, version)
        if not events:
            raise Unavailable(f"{event.stream} {event.version} was announced, but the event store does not have it")
        comes_short |= events[-1].version < event.version
        return _change(projection, stored or {}, events)

    while (
        comes_short
    ):  # a long history is applied page by page, so that it neither has to fit into memory nor begins anew
        comes_short = False
        models.update(projection.collection, key, change)


def _change(projection: Projection[Any], stored: Fields, events: Sequence[EventRecord]) -> Change:
    documents = adapter(projection.document)
    is_there = "version" in stored  # or it holds nothing but what others have counted in it
    before = documents.validate_python(stored) if is_there else None
    after = before
    for event in events:
        after = projection.apply(after, CODEC.decode(event))
    fields = {
        **documents.dump_python(after, mode="json"),
        **(projection.index(after) if projection.index else {}),
        **({projection.counter: stored.get(projection.counter, 0)} if projection.counter else {}),
        "version": events[-1].version,
        "created_at": stored["created_at"] if is_there else events[0].recorded_at,
        "updated_at": events[-1].recorded_at,
    }
    return Change(fields, _increments(projection.count, before, after))


def _increments(count: Count[Any] | None, before: Any, after: Any) -> list[Increment]:
    if count is None:
        return []
    left = count.belongs_to(before) if before else None
    joined = count.belongs_to(after)
    if left == joined:
        return []
    moves = [(left, -1), (joined, 1)]
    return [Increment(count.collection, str(key), count.field, amount) for key, amount in moves if key]


FED_BY: Mapping[str, Sequence[tuple[str, str]]] = {
    "categories": (("category", "categories"), ("product", "category_members")),
    "products": (("product", "products"),),
    "orders": (("order", "orders"),),
}
"""For each collection that is read: where it is seen how far a kind of stream has got into it."""


async def not_yet_in(queries: Queries, collection: str, events: Sequence[EventRecord]) -> list[EventRecord]:
    """Those of the events, all of one kind of stream, that the collection's documents have not applied."""
    keys = {event.stream: event.stream.partition("-")[2] for event in events}
    found = await queries.get_many(collection, list(keys.values())) if keys else {}
    return [event for event in events if found.get(keys[event.stream], {}).get("version", 0) < event.version]
