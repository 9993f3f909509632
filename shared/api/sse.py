"""Send server-sent events after the graphql-sse protocol; read where a client continues.

Not with sse-starlette: it patches uvicorn at import, and does not say why a stream ended.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, Literal, NamedTuple

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.api.context import Info, ResumePoint
from shared.config.settings import Settings
from shared.domain.errors import Invalid
from shared.domain.faults import at, must_be
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
WRITE_SECONDS = 30.0  # after which a client that reads nothing counts as too slow

_MAX_CHECKPOINT = Checkpoint(2**63 - 1, 2**64 - 1, 2**63 - 1)  # PostgreSQL's range
_EPOCH = datetime.fromtimestamp(0, UTC)
_CHECKPOINT = re.compile(r"(\d{1,19})\.(\d{1,20})\.(\d{1,19})", re.ASCII)

_log = structlog.get_logger()


def resume_point(info: Info, logs: int = 1) -> ResumePoint | None:
    """Read the header Last-Event-ID: one checkpoint for each of `logs` logs. Raises Invalid."""
    header = info.context.last_event_id
    if not header:
        return None
    matches = [_CHECKPOINT.fullmatch(part) for part in header.split("-", logs)]
    point = tuple(Checkpoint(*map(int, match.groups())) for match in matches if match)
    storable = all(n <= most for checkpoint in point for n, most in zip(checkpoint, _MAX_CHECKPOINT, strict=True))
    if len(point) != logs or len(matches) != logs or not storable:
        raise Invalid(
            at(("Last-Event-ID",), must_be("the id of an event of this subscription", header)), ("Last-Event-ID",)
        )
    return point


def require_in_log(seen: ResumePoint | None, ends: ResumePoint) -> None:
    """Raise Invalid for a point beyond the end of its log: it is from another or a lost log."""
    if seen is not None and any(checkpoint > end for checkpoint, end in zip(seen, ends, strict=True)):
        raise Invalid("Last-Event-ID is beyond the end of this log; subscribe without it", ("Last-Event-ID",))


def cursor_of(at: datetime, place: object) -> str:
    """Return the cursor of an entry of a list. `place`: what orders entries of the same time."""
    return f"{(at - _EPOCH) // timedelta(microseconds=1)}-{place}"


def read_cursor(cursor: str | None, since: datetime | None, place: str) -> tuple[datetime, re.Match[str] | None] | None:
    """Return the time after which a list goes on, with a cursor's place as a pattern matches it.

    None stands for the newest entries. Raise Invalid."""
    if cursor is None:
        return (since, None) if since else None
    moment, _, rest = cursor.partition("-")
    match = re.fullmatch(place, rest, re.ASCII)
    if since or not match or not re.fullmatch(r"\d{1,16}", moment, re.ASCII):
        expected = "the cursor of an entry of this list, without afterTimestamp"
        raise Invalid(at(("after",), must_be(expected, cursor)), ("after",))
    return _EPOCH + timedelta(microseconds=int(moment)), match


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def to_json(body: object) -> bytes:
    return _ENCODER.encode(body).encode("utf-8", "backslashreplace")


def encode_event(body: dict[str, Any] | None, resume_point: ResumePoint | None = None) -> bytes:
    """Return a `next` event; or without a body an event that only moves the client's Last-Event-ID.

    The id is also in the body's extensions, since the client of graphql-sse does not expose it.
    """
    if resume_point is None:
        return b"event: next\ndata: " + to_json(body) + b"\n\n"
    event_id = "-".join(".".join(map(str, checkpoint)) for checkpoint in resume_point)
    if body is None:
        return f"id: {event_id}\n\n".encode()
    with_id = body | {"extensions": body.get("extensions", {}) | {"lastEventId": event_id}}
    return f"id: {event_id}\nevent: next\ndata: ".encode() + to_json(with_id) + b"\n\n"


_EXPIRED = "the ID token has expired; subscribe again with a new one and the last event id"
_UNAUTHENTICATED = {"code": "UNAUTHENTICATED"}

End = Literal["COMPLETE", "SLOW", "GONE", "FAILED"]
"""Why a stream ended: complete, client too slow, client disconnected, or an error of ours."""


class Frame(NamedTuple):
    """`end`: why the stream ends if this is its last frame."""

    chunk: bytes
    end: End = "COMPLETE"


class EventStream(Response):
    """Sends frames as they come, heartbeats while there are none, and `complete` at the end or when
    the stream's time is up. `expires`: when it ends with the error that the caller's token has
    expired, in seconds since 1970. `release`: called once it has ended, whatever the reason.
    """

    def __init__(
        self, frames: AsyncGenerator[Frame], settings: Settings, expires: float | None, release: Callable[[], None]
    ) -> None:
        super().__init__(headers=STREAM_HEADERS)
        del self.headers["content-length"]
        self._frames = frames
        self._heartbeat_seconds = settings.heartbeat_seconds
        self._max_seconds = settings.subscription_max_seconds
        self._expires = inf if expires is None else expires
        self._release = release
        self._last: End = "COMPLETE"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        end: End = "FAILED"
        disconnected = asyncio.ensure_future(_disconnected(receive))
        sending = asyncio.ensure_future(self._send_all(send))
        try:
            await asyncio.wait({disconnected, sending}, return_when=asyncio.FIRST_COMPLETED)
            end = self._end_of(sending)
        finally:
            disconnected.cancel()
            sending.cancel()
            await asyncio.gather(disconnected, sending, return_exceptions=True)
            self._release()
            count("shop_subscriptions_total", end)

    async def _send_all(self, send: Send) -> None:
        async def write(chunk: bytes, more: bool = True) -> None:
            async with asyncio.timeout(WRITE_SECONDS):
                await send({"type": "http.response.body", "body": chunk, "more_body": more})

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        ends_at = clock.monotonic() + self._max_seconds
        with span("subscription", parent=UNTRACED):
            async with aclosing(self._with_heartbeats(ends_at)) as chunks:
                async for chunk in chunks:
                    await write(chunk)
        await write(COMPLETE, more=False)

    async def _with_heartbeats(self, ends_at: float) -> AsyncGenerator[bytes]:
        async with aclosing(self._frames):
            coming = asyncio.ensure_future(anext(self._frames, None))
            try:
                while (left := ends_at - clock.monotonic()) > 0:
                    await asyncio.wait({coming}, timeout=min(left, self._heartbeat_seconds, self._valid_seconds()))
                    if self._valid_seconds() <= 0:
                        yield encode_event({"errors": [{"message": _EXPIRED, "extensions": _UNAUTHENTICATED}]})
                        return
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

    def _valid_seconds(self) -> float:
        return self._expires - clock.now().timestamp()

    def _end_of(self, sending: "asyncio.Future[None]") -> End:
        """Return why the stream ended. Raises errors of ours."""
        if not sending.done():
            return "GONE"
        match sending.exception():
            case None:
                return self._last
            case TimeoutError():
                _log.warning("a subscriber does not read", seconds=WRITE_SECONDS)
                return "SLOW"
            case OSError():
                return "GONE"
            case error:
                raise error


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
