"""Subscriptions: what each follows in the log, and how it is sent, as server-sent events after the graphql-sse protocol."""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from graphql.error import located_error
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.api.context import Info, from_stores
from shared.api.history import shown, types_of
from shared.api.queries import uuid
from shared.api.statistics import dashboard_changes
from shared.domain.aggregate import Aggregate
from shared.domain.errors import Invalid, NotFound
from shared.domain.order import ORDER, Order, Status
from shared.domain.product import PRODUCT
from shared.event_store.aggregates import Loaded, load
from shared.event_store.log import Seen
from shared.event_store.protocol import Checkpoint
from shared.observability.context import UNTRACED, span
from shared.read_models.protocol import Fields
from shared.runtime.engines import Engines
from shared.runtime.execute import entity
from shared.runtime.settings import Settings
from shared.runtime.tail import PAGE

EVENT_STREAM = "text/event-stream"
STREAM_HEADERS = {
    "Content-Type": f"{EVENT_STREAM}; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
COMPLETE = b"event: complete\ndata: \n\n"
HEARTBEAT = b":\n\n"
_WRITE_SECONDS = 30.0
"""For a client to take what is written before it counts as gone."""

_PLACE = re.compile(r"(\d{1,5})\.(\d{1,20})\.(\d{1,19})", re.ASCII)
_ENDED = {Status.CONFIRMED, Status.CANCELLED, Status.FAILED}

_log = structlog.get_logger()


class Shown(NamedTuple):
    """`place`: after which to go on, where that can be said. `value`: what the field's resolvers get; None when there is
    only the place to tell."""

    place: Checkpoint | None
    value: Any


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
    seen, end = _last_seen(info), await from_stores(info.context.engines.event_store.end)
    _require_known(seen, end)
    return _events(info.context.engines, seen or end, frozenset(types or ()))


async def _events(engines: Engines, place: Checkpoint, types: frozenset[str]) -> AsyncGenerator[Shown]:
    yield Shown(place, None)  # who is cut off before the first event goes on from here
    async with aclosing(engines.tail.after(place, lambda event: not types or event.type in types)) as entries:
        async for entry in entries:
            yield Shown(entry.checkpoint, Seen(entry.checkpoint.position, entry.event))


async def _event(seen: Seen, info: Info, **_: Any) -> Fields:
    (one,) = await shown(info, [seen])
    return one


def _updates(aggregate: Aggregate[Any], argument: str) -> Source:
    """Follows one aggregate, which the argument names."""

    async def follow(info: Info, **arguments: str) -> AsyncGenerator[Shown]:
        engines, ref = info.context.engines, aggregate.ref(UUID(uuid(arguments[argument], argument)))
        seen = _last_seen(info)
        end = await from_stores(engines.event_store.end)  # first, so that nothing happens between it and what is loaded
        (present,) = await from_stores(load, engines.event_store, [ref])
        if present.version == 0:
            raise NotFound(f"{aggregate.name} {ref.id} does not exist", (argument,))
        (last,) = await from_stores(engines.event_store.read_stream, ref.stream, present.version - 1, 1)
        _require_known(seen, max(end, last.checkpoint))
        return _states(engines, present, (seen, last.checkpoint, end))

    return follow


async def _states(
    engines: Engines, present: Loaded[Any], places: tuple[Checkpoint | None, Checkpoint, Checkpoint]
) -> AsyncGenerator[Shown]:
    """The present state, or each one since `seen`, then those to come. `places`: what was seen, where the present state
    lies, and the end of the log from before it was loaded."""
    seen, place, end = places
    loaded, stream = present, present.ref.stream
    if seen is None:
        yield Shown(place, entity(present))
    async with aclosing(engines.tail.after(end, lambda event: event.stream == stream)) as entries:
        if seen is not None and seen < place:
            async for loaded, place in _missed(engines, present, seen):
                yield Shown(place, entity(loaded))
        if _is_over(loaded):
            return
        async for entry in entries:
            if entry.event.version > loaded.version:
                loaded = loaded.then([entry.event])
                yield Shown(entry.checkpoint, entity(loaded))
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
    "dashboardStatsStream": Subscription(_placed(dashboard_stats), _as_it_is),
}


def _last_seen(info: Info) -> Checkpoint | None:
    """The place that the client says it has come to. Raises Invalid."""
    given = info.context.last_event_id
    if not given:
        return None
    found = _PLACE.fullmatch(given)
    if found is None:
        raise Invalid(
            f"Last-Event-ID must be the id of an event of this subscription, not {given!r:.60}", ("Last-Event-ID",)
        )
    return Checkpoint(*map(int, found.groups()))


def _require_known(seen: Checkpoint | None, end: Checkpoint) -> None:
    """Raise Invalid for a place that this log has not come to: it is of another one, or of one that is lost."""
    if seen is not None and seen > end:
        raise Invalid("Last-Event-ID is beyond the end of this log; subscribe without it", ("Last-Event-ID",))


def dumped(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def frame(body: dict[str, Any] | None, place: Checkpoint | None = None) -> bytes:
    """A `next`; or with only a place, what moves a client's Last-Event-ID and nothing else. The place is in the extensions
    too: the client of graphql-sse does not tell ids."""
    if place is None:
        return b"event: next\ndata: " + dumped(body) + b"\n\n"
    event_id = ".".join(map(str, place))
    if body is None:
        return f"id: {event_id}\n\n".encode()
    told = body | {"extensions": {"lastEventId": event_id}}
    return f"id: {event_id}\nevent: next\ndata: ".encode() + dumped(told) + b"\n\n"


class EventStream(Response):
    """`frames`: sent as they come, then `complete`; with heartbeats while there is nothing, and for so long as is set."""

    def __init__(self, frames: AsyncGenerator[bytes], settings: Settings) -> None:
        super().__init__(headers=STREAM_HEADERS)
        del self.headers["content-length"]
        self._frames = frames
        self._pause = settings.heartbeat_seconds
        self._seconds = settings.subscription_max_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_gone(receive))
        sending = asyncio.ensure_future(self._sent(send))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except TimeoutError:
            _log.warning("a subscriber does not read", seconds=_WRITE_SECONDS)
        finally:
            gone.cancel()
            sending.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)

    async def _sent(self, send: Send) -> None:
        async def write(chunk: bytes, more: bool = True) -> None:
            async with asyncio.timeout(_WRITE_SECONDS):
                await send({"type": "http.response.body", "body": chunk, "more_body": more})

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        ends = time.monotonic() + self._seconds
        with span("subscription", parent=UNTRACED):
            async with aclosing(self._paced(ends)) as chunks:
                async for chunk in chunks:
                    await write(chunk)
        await write(COMPLETE, more=False)

    async def _paced(self, ends: float) -> AsyncGenerator[bytes]:
        """The frames, and heartbeats between them."""
        async with aclosing(self._frames):
            coming = asyncio.ensure_future(anext(self._frames, None))
            try:
                while (left := ends - time.monotonic()) > 0:
                    await asyncio.wait({coming}, timeout=min(left, self._pause))
                    if not coming.done():
                        yield HEARTBEAT
                    elif (chunk := coming.result()) is None:
                        return
                    else:
                        yield chunk
                        coming = asyncio.ensure_future(anext(self._frames, None))
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
