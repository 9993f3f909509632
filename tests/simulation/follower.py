"""A client that follows all events by server-sent events, and goes on from its last id whenever the
connection ends."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any

from starlette.requests import Request

from shared.api.app import respond
from shared.domain.errors import TimedOut, Unavailable
from shared.event_store.protocol import EventRecord
from tests.simulation.graphql import PERSONAL
from tests.simulation.loop import Loop
from tests.simulation.shop import Shop
from tests.simulation.world import Process, this_task

_QUERY = "subscription { eventStream { aggregateId eventVersion eventData metadata } }"
LIVES = (60.0, 3.0, 400.0)
"""Seconds after which the client or a proxy ends a connection."""


class Follower:
    """`seen`: the aggregate and version of each event, in the order of arrival. `place`: the last
    id. `refused`: the shop did not accept it, because the log was restored. `broken`: answers that
    must never be."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.place, self.refused = shop, "0.0.0", False
        self.seen: list[tuple[str, int]] = []
        self.broken: list[str] = []
        self._process: Process | None = None

    def keep_following(self, seconds: float | None = None) -> None:
        """Connect again unless there is a connection."""
        if self._process is None or not self._process.alive:
            self._process = None
            self.shop.run_in("graphql", lambda: self._follow(seconds))

    def _follow(self, seconds: float | None) -> None:
        process = self._process = this_task().process
        life = seconds or LIVES[self.shop.tape.choose("a connection's life", len(LIVES))]
        try:
            with closing(Loop(self.shop.world)) as loop, suppress(Unavailable, TimedOut):
                try:
                    loop.run_until_complete(_Connection(self, life).run())
                finally:
                    loop.abandon()
        finally:
            if self._process is process:
                self._process = None

    def wrong(self, entries: Sequence[EventRecord], restored: int) -> list[str]:
        """Return what is wrong with the events that were seen, given all that are in the log."""
        written = [(event.stream.partition("-")[2], event.version) for event in entries]
        if self.refused:
            return self.broken
        missed = set(written) - set(self.seen)
        found = [f"the follower has never seen {sorted(missed)}"] if missed else []
        if not restored and not missed and self.seen != written:
            found.append(f"the follower has seen {len(self.seen)} events in another order than the log's, or twice")
        return [*self.broken, *found]


class _Connection:
    """One request for all events after the follower's place."""

    def __init__(self, follower: Follower, seconds: float) -> None:
        self._follower, self._seconds, self._asked = follower, seconds, False
        self._broken = asyncio.Event()

    async def run(self) -> None:
        shop = self._follower.shop
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        headers["last-event-id"] = self._follower.place
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/graphql",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("192.0.2.2", 1),
        }
        response = await respond(Request(scope, self._receive))
        shop.faults.marks["subscription"] += 1
        await response(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": json.dumps({"query": _QUERY}).encode(), "more_body": False}
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                await self._broken.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        shop = self._follower.shop
        if shop.faults.on and shop.tape.chance("a connection breaks", 0.02):
            self._broken.set()
        if not self._broken.is_set():
            self._read(message.get("body", b"").decode())

    def _read(self, chunk: str) -> None:
        """Take in one frame."""
        follower = self._follower
        fields = dict(line.partition(": ")[::2] for line in chunk.splitlines() if line)
        if PERSONAL.search(chunk):
            follower.broken.append(f"a reader without sign-in is sent {chunk}")
        if "beyond the end of this log" in chunk:
            follower.refused = True
        body = json.loads(fields["data"]) if fields.get("data") else {}
        if event := (body.get("data") or {}).get("eventStream"):
            follower.seen.append((event["aggregateId"], event["eventVersion"]))
        elif body.get("errors") and "id" in fields:
            follower.broken.append(f"the follower is sent an error instead of an event: {chunk}")
        follower.place = fields.get("id", follower.place)
