"""Server-sent events after the graphql-sse protocol: how results are sent, and how a client says where it was."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Literal, NamedTuple

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.api.context import Info, ResumePoint
from shared.config.settings import Settings
from shared.domain.errors import Invalid
from shared.event_store.protocol import Checkpoint
from shared.monitoring.metrics import count
from shared.observability.context import UNTRACED, span
from shared.resilience import clock

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

_MOST = Checkpoint(2**15 - 1, 2**64 - 1, 2**63 - 1)
"""What PostgreSQL has room for."""
_CHECKPOINT = re.compile(r"(\d{1,5})\.(\d{1,20})\.(\d{1,19})", re.ASCII)

_log = structlog.get_logger()


def resume_point(info: Info, logs: int = 1) -> ResumePoint | None:
    """The place that the client says it has come to, in so many logs. Raises Invalid."""
    given = info.context.last_event_id
    if not given:
        return None
    found = [_CHECKPOINT.fullmatch(part) for part in given.split("-", logs)]
    places = tuple(Checkpoint(*map(int, one.groups())) for one in found if one)
    possible = all(number <= most for place in places for number, most in zip(place, _MOST, strict=True))
    if len(places) != logs or len(found) != logs or not possible:
        raise Invalid(
            f"Last-Event-ID must be the id of an event of this subscription, not {given!r:.60}", ("Last-Event-ID",)
        )
    return places


def require_in_log(seen: ResumePoint | None, ends: ResumePoint) -> None:
    """Raise Invalid for a place that its log has not come to: it is of another one, or of one that is lost."""
    if seen is not None and any(place > end for place, end in zip(seen, ends, strict=True)):
        raise Invalid("Last-Event-ID is beyond the end of this log; subscribe without it", ("Last-Event-ID",))


def dumped(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def frame(body: dict[str, Any] | None, place: ResumePoint | None = None) -> bytes:
    """A `next`; or with only a place, what moves a client's Last-Event-ID and nothing else. The place is in the extensions
    too: the client of graphql-sse does not tell ids."""
    if place is None:
        return b"event: next\ndata: " + dumped(body) + b"\n\n"
    event_id = "-".join(".".join(map(str, checkpoint)) for checkpoint in place)
    if body is None:
        return f"id: {event_id}\n\n".encode()
    told = body | {"extensions": {"lastEventId": event_id}}
    return f"id: {event_id}\nevent: next\ndata: ".encode() + dumped(told) + b"\n\n"


End = Literal["COMPLETE", "SLOW", "GONE", "FAILED"]
"""What became of a stream: sent to its end, the client too slow, or gone by itself, or a fault at our side."""


class Frame(NamedTuple):
    """`end`: what becomes of the stream if this is its last frame."""

    chunk: bytes
    end: End = "COMPLETE"


class EventStream(Response):
    """`frames`: sent as they come, then `complete`; with heartbeats while there is nothing, and for so long as is set.
    `leave`: called when it is over."""

    def __init__(self, frames: AsyncGenerator[Frame], settings: Settings, leave: Callable[[], None]) -> None:
        super().__init__(headers=STREAM_HEADERS)
        del self.headers["content-length"]
        self._frames = frames
        self._pause = settings.heartbeat_seconds
        self._seconds = settings.subscription_max_seconds
        self._leave = leave
        self._last: End = "COMPLETE"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        end: End = "FAILED"
        gone = asyncio.ensure_future(_gone(receive))
        sending = asyncio.ensure_future(self._sent(send))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
            end = _end_of(sending, self._last)
        finally:
            gone.cancel()
            sending.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)
            self._leave()
            count("shop_subscriptions_total", end)

    async def _sent(self, send: Send) -> None:
        async def write(chunk: bytes, more: bool = True) -> None:
            async with asyncio.timeout(_WRITE_SECONDS):
                await send({"type": "http.response.body", "body": chunk, "more_body": more})

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        ends = clock.monotonic() + self._seconds
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
                while (left := ends - clock.monotonic()) > 0:
                    await asyncio.wait({coming}, timeout=min(left, self._pause))
                    if not coming.done():
                        yield HEARTBEAT
                    elif (frame := coming.result()) is None:
                        return
                    else:
                        self._last = frame.end
                        yield frame.chunk
                        coming = asyncio.ensure_future(anext(self._frames, None))
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)


def _end_of(sending: "asyncio.Future[None]", last: End) -> End:
    """`last`: what the last frame says. Raises what is a fault of ours."""
    if not sending.done():
        return "GONE"
    match sending.exception():
        case None:
            return last
        case TimeoutError():
            _log.warning("a subscriber does not read", seconds=_WRITE_SECONDS)
            return "SLOW"
        case OSError():
            return "GONE"
        case error:
            raise error


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
