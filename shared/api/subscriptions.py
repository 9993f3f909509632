"""Subscriptions: what each of them follows."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from graphql.error import located_error

from shared.api import administration, messages
from shared.api.context import Info, from_stores
from shared.api.history import shown, types_of
from shared.api.queries import uuid
from shared.api.sse import Place, Shown, last_seen, require_known
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

Source = Callable[..., Coroutine[Any, Any, AsyncGenerator[Shown]]]


@dataclass(frozen=True)
class Subscription:
    """`source`: answers with what is to be shown as it comes. `shown`: resolves each."""

    source: Source
    shown: Callable[..., Any]


def _placed(follow: Source) -> Source:
    """The same, its later errors told at the field, as those at the beginning are."""

    async def source(_: Any, info: Info, **arguments: Any) -> AsyncGenerator[Shown]:
        return located(await follow(info, **arguments), info)

    async def located(found: AsyncGenerator[Shown], info: Info) -> AsyncGenerator[Shown]:
        try:
            async with aclosing(found):
                async for one in found:
                    yield one
        except Exception as error:
            raise located_error(error, info.field_nodes, info.path.as_list()) from error

    return source


async def event_stream(
    info: Info, aggregateType: str | None = None, eventType: str | None = None
) -> AsyncGenerator[Shown]:
    types = types_of(aggregateType, eventType)
    if types == []:
        raise Invalid(f"no event of {aggregateType or 'the shop'} is called {eventType!r:.60}", ("eventType",))
    seen, end = last_seen(info), (await from_stores(info.context.engines.event_store.end),)
    require_known(seen, end)
    return _events(info.context.engines, seen or end, frozenset(types or ()))


async def _events(engines: Engines, place: Place, types: frozenset[str]) -> AsyncGenerator[Shown]:
    yield Shown(place, None)  # who is cut off before the first event goes on from here
    async with aclosing(engines.tail.after(place[0], lambda entry: not types or entry.event.type in types)) as entries:
        async for entry in entries:
            yield Shown((entry.checkpoint,), PositionedEvent(entry.checkpoint.position, entry.event))


async def _event(seen: PositionedEvent, info: Info, **_: Any) -> Fields:
    (one,) = await shown(info, [seen])
    return one


def _updates(aggregate: Aggregate[Any], argument: str) -> Source:
    """Follows one aggregate, which the argument names."""

    async def follow(info: Info, **arguments: str) -> AsyncGenerator[Shown]:
        engines, ref = info.context.engines, aggregate.ref(UUID(uuid(arguments[argument], argument)))
        seen = last_seen(info)
        end = await from_stores(engines.event_store.end)  # first, so that nothing happens between it and what is loaded
        (present,) = await from_stores(load, engines.event_store, [ref])
        if present.version == 0:
            raise NotFound(f"{aggregate.name} {ref.id} does not exist", (argument,))
        (last,) = await from_stores(engines.event_store.read_stream, ref.stream, present.version - 1, 1)
        require_known(seen, (max(end, last.checkpoint),))
        return _states(engines, present, (seen[0] if seen else None, last.checkpoint, end))

    return follow


async def _states(
    engines: Engines, present: Loaded[Any], places: tuple[Checkpoint | None, Checkpoint, Checkpoint]
) -> AsyncGenerator[Shown]:
    """The present state, or each one since `seen`, then those to come. `places`: what was seen, where the present state
    lies, and the end of the log from before it was loaded."""
    seen, place, end = places
    loaded, stream = present, present.ref.stream
    if seen is None:
        yield Shown((place,), entity(present))
    async with aclosing(engines.tail.after(end, lambda entry: entry.event.stream == stream)) as entries:
        if seen is not None and seen < place:
            async for loaded, place in _missed(engines, present, seen):
                yield Shown((place,), entity(loaded))
        if _is_over(loaded):
            return
        async for entry in entries:
            if entry.event.version > loaded.version:
                loaded = loaded.then([entry.event])
                yield Shown((entry.checkpoint,), entity(loaded))
                if _is_over(loaded):
                    return


async def _missed(
    engines: Engines, present: Loaded[Any], seen: Checkpoint
) -> AsyncGenerator[tuple[Loaded[Any], Checkpoint]]:
    """Each state after what was seen up to the present one, folded page by page."""
    loaded = Loaded(present.ref, present.ref.aggregate.initial)
    while loaded.version < present.version:
        read = engines.event_store.read_stream
        for entry in await engines.tail.retry(read, present.ref.stream, loaded.version, PAGE):
            loaded = loaded.then([entry.event])
            if entry.checkpoint > seen:
                yield loaded, entry.checkpoint


def _is_over(loaded: Loaded[Any]) -> bool:
    return isinstance(loaded.state, Order) and loaded.state.status in _ENDED


async def dashboard_stats(info: Info) -> AsyncGenerator[Shown]:
    """It begins with the present, wherever the client has been: there is no history behind it."""
    return _present(info.context.engines)


async def _present(engines: Engines) -> AsyncGenerator[Shown]:
    async with aclosing(dashboard_changes(engines)) as changes:
        async for stats in changes:
            yield Shown(None, stats)


def _as_it_is(value: Fields, _info: Info, **_: Any) -> Fields:
    return value


SUBSCRIPTIONS: Mapping[str, Subscription] = {
    "eventStream": Subscription(_placed(event_stream), _event),
    "orderUpdates": Subscription(_placed(_updates(ORDER, "id")), _as_it_is),
    "stockUpdates": Subscription(_placed(_updates(PRODUCT, "productId")), _as_it_is),
    "pubsubStream": Subscription(_placed(messages.pubsub_stream), messages.message),
    "sagaUpdates": Subscription(_placed(administration.saga_updates), administration.moved),
    "dashboardStatsStream": Subscription(_placed(dashboard_stats), _as_it_is),
}
