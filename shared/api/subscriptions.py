"""Subscriptions: what each of them follows."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any
from uuid import UUID

from shared.api import administration, messages
from shared.api.context import Info, ResumePoint, SourceEvent, Subscription, from_stores
from shared.api.history import shown, types_of
from shared.api.queries import uuid
from shared.api.sse import require_in_log, resume_point
from shared.api.statistics import dashboard_changes
from shared.domain.aggregate import Aggregate
from shared.domain.errors import Invalid, NotFound
from shared.domain.order import ORDER, Order, OrderStatus
from shared.domain.product import PRODUCT
from shared.event_store.aggregates import Loaded, load
from shared.event_store.protocol import Checkpoint, PositionedEvent
from shared.event_store.tail import PAGE
from shared.read_models.protocol import Fields
from shared.runtime.engines import Engines
from shared.runtime.execute import entity

_ENDED = {OrderStatus.CONFIRMED, OrderStatus.CANCELLED, OrderStatus.FAILED}

Source = Callable[..., Coroutine[Any, Any, AsyncGenerator[SourceEvent]]]


async def event_stream(
    info: Info, aggregateType: str | None = None, eventType: str | None = None
) -> AsyncGenerator[SourceEvent]:
    types = types_of(aggregateType, eventType)
    if types == []:
        raise Invalid(f"no event of {aggregateType or 'the shop'} is called {eventType!r:.60}", ("eventType",))
    seen, end = resume_point(info), (await from_stores(info.context.engines.event_store.end),)
    require_in_log(seen, end)
    return _events(info.context.engines, seen or end, frozenset(types or ()))


async def _events(engines: Engines, place: ResumePoint, types: frozenset[str]) -> AsyncGenerator[SourceEvent]:
    yield SourceEvent(place, None)  # who is cut off before the first event goes on from here
    async with aclosing(engines.tail.after(place[0], lambda entry: not types or entry.event.type in types)) as entries:
        async for entry in entries:
            yield SourceEvent((entry.checkpoint,), PositionedEvent(entry.checkpoint.position, entry.event))


async def _event(seen: PositionedEvent, info: Info, **_: Any) -> Fields:
    (one,) = await shown(info, [seen])
    return one


def _updates(aggregate: Aggregate[Any], argument: str) -> Source:
    """Follows one aggregate, which the argument names."""

    async def follow(info: Info, **arguments: str) -> AsyncGenerator[SourceEvent]:
        engines, ref = info.context.engines, aggregate.ref(UUID(uuid(arguments[argument], argument)))
        seen = resume_point(info)
        end = await from_stores(engines.event_store.end)  # first, so that nothing happens between it and what is loaded
        (present,) = await from_stores(load, engines.event_store, [ref])
        if present.version == 0:
            raise NotFound(f"{aggregate.name} {ref.id} does not exist", (argument,))
        (last,) = await from_stores(engines.event_store.read_stream, ref.stream, present.version - 1, 1)
        require_in_log(seen, (max(end, last.checkpoint),))
        return _states(engines, present, (seen[0] if seen else None, last.checkpoint, end))

    return follow


async def _states(
    engines: Engines, present: Loaded[Any], places: tuple[Checkpoint | None, Checkpoint, Checkpoint]
) -> AsyncGenerator[SourceEvent]:
    """The present state, or each one since `seen`, then those to come. `places`: what was seen, where the present state
    lies, and the end of the log from before it was loaded."""
    seen, place, end = places
    loaded, stream = present, present.ref.stream
    if seen is None:
        yield SourceEvent((place,), entity(present))
    async with aclosing(engines.tail.after(end, lambda entry: entry.event.stream == stream)) as entries:
        if seen is not None and seen < place:
            async for loaded, place in _missed(engines, present, seen):
                yield SourceEvent((place,), entity(loaded))
        if _is_over(loaded):
            return
        async for entry in entries:
            if entry.event.version > loaded.version:
                loaded = loaded.then([entry.event])
                yield SourceEvent((entry.checkpoint,), entity(loaded))
                if _is_over(loaded):
                    return


async def _missed(
    engines: Engines, present: Loaded[Any], seen: Checkpoint
) -> AsyncGenerator[tuple[Loaded[Any], Checkpoint]]:
    """Each state after what was seen up to the present one, folded page by page."""
    loaded = Loaded(present.ref, present.ref.aggregate.initial)
    while loaded.version < present.version:
        read = engines.event_store.read_stream
        for entry in await engines.tail.patiently(read, present.ref.stream, loaded.version, PAGE):
            loaded = loaded.then([entry.event])
            if entry.checkpoint > seen:
                yield loaded, entry.checkpoint


def _is_over(loaded: Loaded[Any]) -> bool:
    return isinstance(loaded.state, Order) and loaded.state.status in _ENDED


async def dashboard_stats(info: Info) -> AsyncGenerator[SourceEvent]:
    """It begins with the present, wherever the client has been: there is no history behind it."""
    return _present(info.context.engines)


async def _present(engines: Engines) -> AsyncGenerator[SourceEvent]:
    async with aclosing(dashboard_changes(engines)) as changes:
        async for stats in changes:
            yield SourceEvent(None, stats)


SUBSCRIPTIONS: Mapping[str, Subscription] = {
    "eventStream": Subscription(event_stream, _event),
    "orderUpdates": Subscription(_updates(ORDER, "id")),
    "stockUpdates": Subscription(_updates(PRODUCT, "productId")),
    "pubsubStream": Subscription(messages.pubsub_stream, messages.message),
    "sagaUpdates": Subscription(administration.saga_updates, administration.moved),
    "dashboardStatsStream": Subscription(dashboard_stats),
}
