"""A client of server-sent events, for the ASGI function in this process or for a server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, cast

from starlette.applications import Starlette

from shared.event_store.tail import Tail
from tests.shop_in_memory import ADMIN, Json, ShopInMemory, app

EVENT_STREAM = "text/event-stream"
SOON = 30.0
"""Seconds within which every expected event arrives."""


@dataclass
class Event:
    name: str
    id: str | None
    data: Json | None


@dataclass
class Parser:
    """Parses as a browser does (WHATWG's standard). `last_id`: what it would send as
    Last-Event-ID."""

    last_id: str = ""
    comments: int = 0
    _rest: str = ""

    def feed(self, text: str) -> list[Event]:
        *blocks, self._rest = (self._rest + text).split("\n\n")
        return [event for block in blocks if (event := self._event(block))]

    def _event(self, block: str) -> Event | None:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
            else:
                self.comments += 1
        self.last_id = fields.get("id", self.last_id)
        if "data" not in fields:
            return None
        return Event(fields["event"], fields.get("id"), json.loads(fields["data"]) if fields["data"] else None)


@dataclass
class Stream:
    """`reading`: when cleared, the client reads nothing from its socket. `taken`: the id of the
    last event that the test has taken; the parser may have read more."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    ended: bool = False
    taken: str | None = None
    parser: Parser = field(default_factory=Parser)
    reading: asyncio.Event = field(default_factory=asyncio.Event)
    _events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, message: Any) -> None:
        await self.reading.wait()
        async with self._changed:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                self.body += message.get("body", b"").decode()
                self.ended = not message.get("more_body", False)
                for event in self.parser.feed(message.get("body", b"").decode()):
                    self._events.put_nowait(event)
            self._changed.notify_all()

    async def until(self, happened: Any) -> None:
        async with asyncio.timeout(SOON), self._changed:
            await self._changed.wait_for(happened)

    async def event(self) -> Event:
        """Return the next event of any kind."""
        async with asyncio.timeout(SOON):
            event = await self._events.get()
        self.taken = event.id or self.taken
        return event

    async def next(self, field: str | None = None) -> Any:
        """Return the value of the only field in the next result, which has no errors."""
        event = await self.event()
        assert event.name == "next" and event.data is not None
        assert "errors" not in event.data, event.data
        assert event.data["extensions"]["lastEventId"] == event.id
        (value,) = event.data["data"].values()
        return value[field] if field else value

    async def some(self, number: int, field: str | None = None) -> list[Any]:
        return [await self.next(field) for _ in range(number)]

    async def refusal(self) -> Json:
        """Return the only error, after which the stream is complete."""
        event = await self.event()
        assert event.name == "next" and event.data is not None
        (error,) = event.data["errors"]
        await self.complete()
        refused: Json = error
        return refused

    async def complete(self) -> None:
        event = await self.event()
        assert (event.name, event.data) == ("complete", None)
        await self.until(lambda: self.ended)

    def nothing_waits(self) -> bool:
        return self._events.empty()


@asynccontextmanager
async def opened(
    query: str,
    variables: Json | None = None,
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
    query_string: bytes = b"",
) -> AsyncIterator[Stream]:
    """Send a request to the graphql function in this process; enter when its answer begins,
    disconnect when leaving."""
    stream, leaving = Stream(), asyncio.Event()
    stream.reading.set()
    given = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json", "Accept": EVENT_STREAM}
    sent = given | dict(headers or {})
    body = json.dumps({"query": query, "variables": variables or {}}).encode() if method == "POST" else b""
    asked = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        if message := next(asked, None):
            return message
        await leaving.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "root_path": "",
        "query_string": query_string,
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 1),
        "server": ("shop", 80),
    }
    answering = asyncio.create_task(cast(Starlette, app("graphql"))(scope, receive, stream.take))
    try:
        await stream.until(lambda: stream.status)
        yield stream
    finally:
        leaving.set()
        stream.reading.set()
        async with asyncio.timeout(SOON):
            await answering


def concurrent(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test in an event loop of its own."""

    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


async def in_thread(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    return await asyncio.to_thread(call, *arguments, **named)


def going_on(event_id: str | None) -> Mapping[str, str]:
    """Return the header with which a client continues after an event."""
    return {"Last-Event-ID": event_id or ""}


def with_settings(shop: ShopInMemory, **changes: Any) -> None:
    shop.engines.settings = replace(shop.engines.settings, **changes)


async def until_followed(tail: Tail[Any], subscribers: int = 1) -> None:
    """Wait until so many subscribers have reached the end of the log. Before that, each reads the
    log at its own pace, and is never too slow."""
    async with asyncio.timeout(SOON):
        while len(tail.queues) < subscribers:
            await asyncio.sleep(0.02)


async def until_still(calls: list[Any]) -> None:
    """Wait until no call has been added to the list for three times the shortest polling
    interval of tests."""
    async with asyncio.timeout(SOON):
        while calls:
            calls.clear()
            await asyncio.sleep(0.3)
