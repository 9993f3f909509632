"""What several nouns share: arguments, lists, searches, past and live states, admins only."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from unicodedata import category as character_category
from uuid import UUID

from shared.api.context import Info, Number, ResumePoint, SourceEvent, Text
from shared.api.inputs import uuid
from shared.api.limits import from_stores
from shared.api.sse import require_in_log, resume_point
from shared.auth.permissions import Permission, require
from shared.domain import faults
from shared.domain.aggregate import Aggregate
from shared.domain.errors import Invalid, NotFound
from shared.domain.faults import at, between, length
from shared.domain.order import Order, OrderStatus
from shared.domain.values import comparable, searchable
from shared.event_store.aggregates import Loaded, load, state_by
from shared.event_store.protocol import Checkpoint
from shared.event_store.tail import PAGE, Placed, Tail
from shared.read_models.protocol import Fields, Find, Where
from shared.read_models.search import matches
from shared.runtime.engines import Engines
from shared.runtime.execute import entity

T = TypeVar("T")
E = TypeVar("E", bound=Placed)

Page = Mapping[str, int | None]
"""The arguments `limit` and `offset`."""

ACTIVE = Where("active", "==", True)
_SEARCH_BATCH = 500
_RAW_PER_CHARACTER = 4  # characters that normalising may join into one, and room for spaces
_FINAL = {OrderStatus.CONFIRMED, OrderStatus.CANCELLED, OrderStatus.FAILED}


def page_of(info: Info, page: Page, default: int = 20) -> tuple[int, int]:
    """Return limit and offset, with defaults for nulls. Raise Invalid."""
    settings = info.context.engines.settings
    limit = bounded("limit", page.get("limit"), default, settings.max_list_limit)
    return limit, bounded("offset", page.get("offset"), 0, settings.max_list_offset)


def limit_of(info: Info, limit: Number, default: int) -> int:
    """Return the limit of a list that has no offset. Raise Invalid."""
    return page_of(info, {"limit": limit}, default)[0]


def bounded(argument: str, value: int | None, default: int, maximum: int) -> int:
    if value is None:
        return default
    if not 0 <= value <= maximum:
        raise Invalid(at((argument,), between(0, maximum, value)), (argument,))
    return value


def is_admin(info: Info) -> bool:
    return info.context.actor.may(Permission.ADMIN)


def require_admin(info: Info) -> None:
    """Raise Unauthenticated or Forbidden unless the actor is an admin."""
    require(Permission.ADMIN, info.context.actor)


def deleted(entity: Fields) -> Fields:
    """Return the DeleteResult of a mutation."""
    return {"success": True, "message": f"{entity['name']} has been deleted"}


def one_of(known: Iterable[str], text: Text, *argument: str) -> str | None:
    """Return the known name that the text is, in any case; None for none. Raise Invalid."""
    names = {name.lower(): name for name in known}
    if text is not None and text.lower() not in names:
        raise Invalid(at(argument, faults.one_of(names.values(), text)), argument)
    return None if text is None else names[text.lower()]


def existing(found: T | None, noun: str, id: str, argument: str = "id") -> T:
    """Return what was found. Raise NotFound when that is nothing."""
    if found is None:
        raise NotFound(f"{noun} {id} does not exist", (argument,))
    return found


async def state_at(info: Info, aggregate: Aggregate[Any], id: str, moment: datetime) -> Fields:
    """Return the state folded from the events up to the first that was recorded after `moment`.

    Raise Invalid and NotFound."""
    ref = aggregate.ref(UUID(uuid(id, "id")))
    state = existing(await info.context.loaders.past.load((ref, moment)), aggregate.name, id)
    return {**entity(state), "product_count": None}


class Sort(NamedTuple):
    """`fields`: a document field for each value of the argument `sortBy`; the first is the
    default."""

    fields: Mapping[str, str]
    by: str | None
    order: str | None


async def documents(info: Info, collection: str, where: Sequence[Where], sort: Sort, page: Page) -> Sequence[Fields]:
    """Return one page of a collection. Raise Invalid."""
    limit, offset = page_of(info, page)
    by = next(iter(sort.fields)) if sort.by is None else sort.by
    if by not in sort.fields:
        raise Invalid(at(("sortBy",), faults.one_of(sort.fields, by)), ("sortBy",))
    if limit == 0:
        return []
    descending = sort.order == "DESC"
    return await info.context.loaders.find(Find(collection, sort.fields[by], where, descending, limit, offset))


async def search(info: Info, collection: str, term: str, where: Sequence[Where], page: Page) -> Sequence[Fields]:
    """Return one page of the active documents whose name or description contains the term, by name.

    The database finds documents with the term's first two characters; they are read in batches
    until enough of them contain the whole term. Raise Invalid."""
    limit, offset = page_of(info, page)
    plain, as_before = _search_term(info, term)
    most = info.context.engines.settings.max_search_documents
    if limit == 0:
        return []
    grams = sorted({plain[:2], as_before[:2]})
    candidates = (ACTIVE, *where, Where("grams", "array_contains_any", grams))
    found: list[Fields] = []
    last: Fields | None = None
    for start in range(0, most, _SEARCH_BATCH):
        size = min(_SEARCH_BATCH, most - start)
        batch = await info.context.loaders.find(Find(collection, "name", candidates, limit=size, after=last))
        found += [fields for fields in batch if matches(plain, fields["name"], fields["description"])]
        if len(batch) < size or len(found) >= offset + limit:
            break
        last = batch[-1]
    return found[offset : offset + limit]


def _search_term(info: Info, term: str) -> tuple[str, str]:
    """Return the term as `matches` takes it, and with its accents, by which an earlier release
    indexed documents. A much too long term is not normalised: that takes long."""
    longest = info.context.engines.settings.max_search_characters
    short = len(term) <= _RAW_PER_CHARACTER * longest
    plain = searchable(term) if short else term
    if not 1 <= len(plain) <= longest:
        raise Invalid(at(("searchTerm",), length(1, longest, len(plain))), ("searchTerm",))
    if any(character_category(c) in ("Cc", "Cs") for c in plain):
        raise Invalid("searchTerm must not contain control characters", ("searchTerm",))
    return plain, comparable(term)


async def after_a_moment(
    info: Info, read: Callable[[int], Awaitable[Sequence[T]]], length: int, at: Callable[[T], datetime]
) -> Sequence[T]:
    """Return a page after whose last time a client can continue: it splits no moment.

    `read` returns a number of entries by time. The page is longer than `length` if more share its
    first time."""
    found = await read(length + 1)
    if len(found) <= length:
        return found
    whole = [entry for entry in found if at(entry) < at(found[length])]
    most = info.context.engines.settings.max_list_limit
    return whole or [entry for entry in await read(most) if at(entry) == at(found[0])]


async def follow_log(
    info: Info, read_end: Callable[[], Checkpoint], tail: Tail[E], wanted: Callable[[E], bool]
) -> AsyncGenerator[SourceEvent]:
    """Return a log's wanted entries after the resume point, or after its end. Raise Invalid."""
    seen, end = resume_point(info), (await from_stores(read_end),)
    require_in_log(seen, end)
    start = seen or end
    return _entries(start, tail.after(start[0], wanted, info.context.client))


async def _entries(start: ResumePoint, after: AsyncGenerator[E]) -> AsyncGenerator[SourceEvent]:
    async with aclosing(after) as entries:
        yield SourceEvent(start, None)  # a client that is cut off before the first entry resumes from here
        async for entry in entries:
            yield SourceEvent((entry.checkpoint,), entry)


async def follow(info: Info, aggregate: Aggregate[Any], id: str, argument: str) -> AsyncGenerator[SourceEvent]:
    """Return the present state, or each one since the resume point, then each later state.

    Raise Invalid and NotFound before the first of them."""
    engines, ref = info.context.engines, aggregate.ref(UUID(uuid(id, argument)))
    seen = resume_point(info)
    end = await from_stores(engines.event_store.end)  # before loading, so that no event between the two is missed
    (present,) = await from_stores(load, engines.event_store, [ref])
    if present.version == 0:
        raise NotFound(f"{aggregate.name} {ref.id} does not exist", (argument,))
    (last,) = await from_stores(engines.event_store.read_stream, ref.stream, present.version - 1, 1)
    require_in_log(seen, (max(end, last.checkpoint),))
    return _states(engines, present, last.checkpoint, (seen, end))


async def _states(
    engines: Engines, present: Loaded[Any], at: Checkpoint, seen_and_end: tuple[ResumePoint | None, Checkpoint]
) -> AsyncGenerator[SourceEvent]:
    """`at`: the checkpoint of `present`, which was loaded after the end of the log was read."""
    seen, end = seen_and_end
    loaded, stream = present, present.ref.stream
    if seen is None:
        yield SourceEvent((at,), entity(present))
    async with aclosing(engines.tail.after(end, lambda entry: entry.event.stream == stream)) as entries:
        if seen is not None and seen[0] < at:
            async for loaded, checkpoint in _states_since(engines, present, seen[0]):
                yield SourceEvent((checkpoint,), entity(loaded))
        if _is_final(loaded):
            return
        async for entry in entries:
            if entry.event.version > loaded.version:
                loaded = loaded.then([entry.event])
                yield SourceEvent((entry.checkpoint,), entity(loaded))
                if _is_final(loaded):
                    return


async def _states_since(
    engines: Engines, present: Loaded[Any], seen: Checkpoint
) -> AsyncGenerator[tuple[Loaded[Any], Checkpoint]]:
    """Yield each state after `seen` up to the present one, folded page by page."""
    loaded = await engines.tail.retry(state_by, engines.event_store, present.ref, seen)
    read = engines.event_store.read_stream
    while loaded.version < present.version:
        for entry in await engines.tail.retry(read, present.ref.stream, loaded.version, PAGE):
            loaded = loaded.then([entry.event])
            if entry.checkpoint > seen:
                yield loaded, entry.checkpoint


def _is_final(loaded: Loaded[Any]) -> bool:
    return isinstance(loaded.state, Order) and loaded.state.status in _FINAL
