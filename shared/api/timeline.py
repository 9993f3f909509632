"""Everything that happened for one order, from wherever it is kept: its events, the commands and deliveries that were
carried out for it, and what its saga sent."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from shared.api.context import Info, from_stores
from shared.domain.errors import Invalid
from shared.domain.order import ORDER
from shared.read_models.protocol import Fields
from shared.runtime.engines import Engines
from shared.runtime.execution_store import Execution

_MOST = 1000

Kind = Literal["COMMAND", "EVENT", "DELIVERY", "SAGA"]
_ORDER: list[Kind] = ["COMMAND", "EVENT", "DELIVERY", "SAGA"]  # of what has the same time, the cause comes first


@dataclass(frozen=True)
class Entry:
    """`at`: when it began. `id` and `causation_id` tie a delivery to the message it brought, and an event to what made
    it."""

    at: datetime
    kind: Kind
    name: str
    status: str | None = None
    duration_ms: int | None = None
    id: str | None = None
    causation_id: str | None = None
    error: str | None = None


async def timeline(order: Fields, info: Info) -> list[Fields]:
    """Errors and ids are for admins and the order's owner. It takes several reads, so it is told of one order at a time."""
    if any(isinstance(step, int) for step in info.path.as_list()):
        raise Invalid("ask for the timeline of one order at a time: order(id: ...) { timeline { ... } }", ("timeline",))
    found = await from_stores(lambda: list(_entries(info.context.engines, UUID(order["id"]))))
    found.sort(key=lambda entry: (entry.at, _ORDER.index(entry.kind)))
    hidden = {} if info.context.actor.may_see(order["user_id"]) else {"id": None, "causation_id": None, "error": None}
    return [vars(entry) | hidden for entry in found]


def _entries(engines: Engines, order_id: UUID) -> Iterator[Entry]:
    events = engines.event_store.read([ORDER.stream(order_id)])[ORDER.stream(order_id)]
    for event in events:
        yield Entry(event.recorded_at, "EVENT", event.type, None, None, str(event.id), event.metadata.causation_id)
    saga = engines.sagas.listed(order_id)
    for at, entry in saga.history if saga else ():
        if entry.kind != "event":
            yield Entry(at, "SAGA", entry.name)
    if events:
        correlation = events[0].metadata.correlation_id
        yield from map(_executed, engines.executions.of_correlation(correlation, _MOST))


def _executed(one: Execution) -> Entry:
    began = one.recorded_at - timedelta(milliseconds=one.milliseconds)
    kind: Kind = "DELIVERY" if one.kind == "delivery" else "COMMAND"
    causation: str | None = one.data.get("causationId")
    return Entry(began, kind, one.name, one.status, one.milliseconds, str(one.id), causation, one.error)
