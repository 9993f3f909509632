"""A client that follows a subscription by server-sent events, and goes on from its last id whenever
the connection ends."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from pydantic.alias_generators import to_camel
from starlette.requests import Request

from shared.api.app import respond
from shared.domain.errors import TimedOut, Unavailable
from shared.domain.order import AGGREGATES, OrderStatus
from shared.event_store.aggregates import initial
from shared.event_store.protocol import EventRecord
from shared.runtime.execute import entity
from shared.sagas.store import SagaEntry
from tests.simulation.graphql import PERSONAL
from tests.simulation.loop import Loop
from tests.simulation.questions import questions
from tests.simulation.shop import Shop
from tests.simulation.world import Process, this_task

LIVES = (60.0, 3.0, 400.0)
"""Seconds after which the client or a proxy ends a connection."""
BEGINNINGS = {"eventStream": "0.0.0", "pubsubStream": "0.0.0-0.0.0", "sagaUpdates": "0.0.0"}
"""The id before the first entry; other subscriptions begin with the present state."""
FOLLOWED = (*BEGINNINGS, "orderUpdates", "stockUpdates")
"""The subscriptions with a history."""
DASHBOARD = "dashboardStatsStream"
"""It reads every store every two seconds, so to follow it takes ten times as long as a history."""
_ENDS = (OrderStatus.CONFIRMED, OrderStatus.CANCELLED, OrderStatus.FAILED)


class Follower:
    """`field`: the subscription. `seen`: what it has sent, in the order of arrival. `place`: the
    last id. `stream`: the order or product that is followed, once there is one. `refused`: the shop
    did not accept the place, because the log was restored. `broken`: answers that must never be.
    `repeated`: what came twice in a row on one connection.
    """

    def __init__(self, shop: Shop, field: str) -> None:
        self.shop, self.field, self.place, self.refused = shop, field, BEGINNINGS.get(field, ""), False
        self.question = next(one for one in questions("subscription") if one.field == field)
        self.stream = ""
        self.seen: list[Any] = []
        self.broken: list[str] = []
        self.repeated: list[Any] = []
        self._process: Process | None = None

    def keep_following(self, seconds: float | None = None) -> None:
        """Connect again unless there is a connection, or nothing to follow."""
        if (self._process is None or not self._process.alive) and self._has_what_to_follow():
            self._process = None
            self.shop.run_in("graphql", lambda: self._follow(seconds))

    def _has_what_to_follow(self) -> bool:
        kind = {"orderUpdates": "order-", "stockUpdates": "product-"}.get(self.field)
        if kind and not self.stream:
            self.stream = min((one for one in self.shop.databases.events.streams if one.startswith(kind)), default="")
        return not kind or bool(self.stream)

    @property
    def variables(self) -> Mapping[str, Any]:
        """Return the id of what is followed."""
        entity_id = self.stream.partition("-")[2]
        return self.question.variables({"id": entity_id, "productId": entity_id})

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

    def wrong(self, events: Sequence[EventRecord], commands: Sequence[SagaEntry], restored: int) -> list[str]:
        """Return what is wrong with what was seen, given the logs of events and of sagas."""
        if self.refused or (restored and self.field != "eventStream"):
            return self.broken
        promise: Callable[[], list[str]] = {
            "eventStream": lambda: self._all_events(events, restored),
            "pubsubStream": lambda: self._all_messages(events, commands),
            "sagaUpdates": lambda: self._all_states_of_sagas(commands),
            "orderUpdates": lambda: self._states(events, "status"),
            "stockUpdates": lambda: self._states(events, "stock_quantity"),
            DASHBOARD: lambda: self._statistics(events),
        }[self.field]
        return [*self.broken, *promise()]

    def _all_events(self, events: Sequence[EventRecord], restored: int) -> list[str]:
        written = [(event.stream.partition("-")[2], event.version) for event in events]
        seen = [(one["aggregateId"], one["eventVersion"]) for one in self.seen]
        missed = set(written) - set(seen)
        if restored and not missed:
            return []
        return self._compared(written, seen)

    def _all_messages(self, events: Sequence[EventRecord], commands: Sequence[SagaEntry]) -> list[str]:
        """Each log has an order of its own."""
        sent = [str(entry.entry.message) for entry in commands if entry.entry.message]
        of_events = [one["id"] for one in self.seen if one["topic"].endswith("-events")]
        of_commands = [one["id"] for one in self.seen if not one["topic"].endswith("-events")]
        written = [str(event.id) for event in events]
        return [*self._compared(written, of_events), *self._compared(sent, of_commands)]

    def _all_states_of_sagas(self, commands: Sequence[SagaEntry]) -> list[str]:
        states = [(str(entry.saga_id), entry.saga.saga.progress.status.value) for entry in commands if entry.saga]
        return self._compared(states, [(one["id"], one["status"]) for one in self.seen])

    def _states(self, events: Sequence[EventRecord], name: str) -> list[str]:
        """The state at the first connection, then each later one, at least until an order ends."""
        aggregate = AGGREGATES[self.stream.partition("-")[0]] if self.stream else None
        if aggregate is None:
            return []
        loaded, states, needed = initial(aggregate.ref(aggregate.id_of(self.stream))), list[Any](), 0
        for event in [event for event in events if event.stream == self.stream]:
            needed += getattr(loaded.state, "status", None) not in _ENDS
            loaded = loaded.then([event])
            states.append(entity(loaded)[name])
        seen = [one[to_camel(name)] for one in self.seen]
        ends = range(max(needed, len(seen)), len(states) + 1)
        if seen and any(states[end - len(seen) : end] == seen for end in ends):
            return []
        return [f"the follower of {self.field} has seen {seen} of {states}, of which it needs {needed}"]

    def _statistics(self, events: Sequence[EventRecord]) -> list[str]:
        """Each differs from the one before it on the same connection, and the last ones are those
        at rest."""
        at_rest = {"totalEvents": len(events), "activeSagas": 0}
        shown = [{name: one[name] for name in at_rest} for one in self.seen[-1:]]
        if shown != [at_rest]:
            return [f"the follower of {self.field} was told {shown} at last; at rest it is {at_rest}"]
        return [f"the follower of {self.field} was told {one} twice" for one in self.repeated]

    def _compared(self, written: Sequence[object], seen: Sequence[object]) -> list[str]:
        if seen == written:
            return []
        if missed := [one for one in written if one not in seen]:
            return [f"the follower of {self.field} has never seen {missed}"]
        return [f"the follower of {self.field} has seen {seen} in another order than the log's, or twice: {written}"]


class _Connection:
    """One request for all that comes after the follower's place."""

    def __init__(self, follower: Follower, seconds: float) -> None:
        self._follower, self._seconds, self._asked = follower, seconds, False
        self._last: Any = None
        self._broken = asyncio.Event()

    async def run(self) -> None:
        shop = self._follower.shop
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        if self._follower.place:
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
        shop.faults.marks[f"{self._follower.field} is followed"] += 1
        await response(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            follower = self._follower
            asked = {"query": follower.question.text, "variables": follower.variables}
            return {"type": "http.request", "body": json.dumps(asked).encode(), "more_body": False}
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
        if sent := (body.get("data") or {}).get(follower.field):
            follower.seen.append(sent)
            follower.repeated += [sent] if sent == self._last else []
            self._last = sent
        elif body.get("errors") and "id" in fields:
            follower.broken.append(f"the follower is sent an error instead of an event: {chunk}")
        follower.place = fields.get("id", follower.place)
