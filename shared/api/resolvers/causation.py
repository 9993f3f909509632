"""What led to an event, and what it led to."""

from typing import Any, NamedTuple

from shared.api.context import Info, Resolvers
from shared.api.limits import from_stores
from shared.api.resolvers.common import existing, require_admin
from shared.api.resolvers.events import events_for_actor
from shared.api.resolvers.timeline import with_causes
from shared.domain.order import ORDER
from shared.event_store.protocol import EventLog, Events, EventStore, PositionedEvent
from shared.postgres.slices import Slice
from shared.read_models.protocol import Fields
from shared.sagas.store import SagaStore

_MOST = 100  # events of one command: an order has fewer lines


class _Causation(NamedTuple):
    causes: list[PositionedEvent]
    effects: list[PositionedEvent]


async def event_causation(_: Any, info: Info, id: int) -> Fields:
    """Follow causation one event back and one forward. Raise NotFound."""
    require_admin(info)
    engines, budget = info.context.engines, info.context.loaders.budget
    found = await budget.rows(engines.event_log.everything, max(0, id - 1), 1)
    event = existing(next((one for one in found if one.position == id), None), "event", str(id))
    led = await from_stores(_causation, engines.event_store, engines.event_log, engines.sagas, event)
    return {
        "causes": await events_for_actor(info, led.causes),
        "effects": await events_for_actor(info, led.effects),
    }


def _causation(store: EventStore, log: EventLog, sagas: SagaStore, event: PositionedEvent) -> _Causation:
    """An order's events are connected by the commands that its saga sends: one event makes the saga
    send a command, which names that event as its cause, and the next event names the command."""
    cause = event.event.metadata.causation_id
    together = [event, *_caused_by(log, cause)]
    order = next((one.event.stream for one in together if one.event.stream.startswith(f"{ORDER.name}-")), None)
    if order is None:
        return _Causation([], [])
    events = store.read([order])[order]
    sent = {
        str(entry.message): caused_by
        for entry, caused_by in with_causes(sagas.history(ORDER.id_of(order)), events)
        if entry.message and caused_by
    }
    before = [one for one in events if str(one.id) == sent.get(cause)]
    after = [message for message, caused_by in sent.items() if caused_by == str(event.event.id)]
    return _Causation(
        log.of_ids([one.id for one in before]), [one for message in after for one in _caused_by(log, message)]
    )


def _caused_by(log: EventLog, causation_id: str) -> list[PositionedEvent]:
    found = log.page(Events(causation_id=causation_id), Slice(_MOST))
    return [PositionedEvent(one.checkpoint.position, one.event) for one in found]


RESOLVERS: Resolvers = {"Query": {"eventCausation": event_causation}}
