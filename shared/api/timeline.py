"""Everything that happened for one order, from wherever it is kept: its events, the commands and deliveries that were
carried out for it, and what its saga sent. Causes come before their effects, whatever the clocks said."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from shared.api.context import Info, from_stores
from shared.domain.errors import Invalid
from shared.domain.order import ORDER
from shared.event_store.protocol import EventRecord
from shared.monitoring.executions import Execution
from shared.read_models.protocol import Fields
from shared.runtime.engines import Engines
from shared.sagas.store import ListedSaga

_MOST = 1000

Kind = Literal["COMMAND", "EVENT", "DELIVERY", "SAGA"]
_ORDER: list[Kind] = ["COMMAND", "EVENT", "DELIVERY", "SAGA"]  # of what has the same time, the cause comes first


@dataclass(frozen=True)
class TimelineEntry:
    """`at`: when it began, by the clock of whoever did it. `causation_id`: of a delivery, the message that it brought; of an
    event, the message or command that led to it; of what a saga sent, the event that made it do so. `subject`: a stream."""

    at: datetime
    kind: Kind
    name: str
    status: str | None = None
    duration_ms: int | None = None
    subject: str | None = None
    id: str | None = None
    causation_id: str | None = None
    error: str | None = None


async def timeline(order: Fields, info: Info) -> list[Fields]:
    """Errors and ids are for admins and the order's owner. It takes several reads, so it is told of one order at a time."""
    if any(isinstance(step, int) for step in info.path.as_list()):
        raise Invalid("ask for the timeline of one order at a time: order(id: ...) { timeline { ... } }", ("timeline",))
    found = await from_stores(_told, info.context.engines, UUID(order["id"]))
    hidden = {} if info.context.actor.may_see(order["user_id"]) else {"id": None, "causation_id": None, "error": None}
    return [vars(entry) | hidden for entry in found]


def _told(engines: Engines, order_id: UUID) -> list[TimelineEntry]:
    stream = ORDER.stream(order_id)
    events = engines.event_store.read([stream])[stream]
    if not events:
        return []
    saga = engines.sagas.listed(order_id)
    own = [_recorded(event) for event in events]
    own += _sent(saga, events) if saga else []
    requests = sorted({event.metadata.correlation_id for event in events})  # whoever cancelled it made one of their own
    done = [_executed(one) for request in requests for one in engines.executions.of_correlation(request, _MOST)]
    own += _of_others(engines, own, done)
    return in_causal_order([*own, *(one for one in done if _belongs(one, own, stream))])


def _of_others(engines: Engines, own: Sequence[TimelineEntry], done: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    """Events of other streams that came of the same causes as the order's, such as those of the products' stock."""
    brought = {one.causation_id for one in done if one.kind == "DELIVERY" and one.causation_id}
    unknown = brought - {one.id for one in own}
    causes = {one.causation_id for one in own if one.kind == "EVENT"}
    found = [seen.event for seen in engines.event_log.of_ids([UUID(one) for one in unknown])]
    return [_recorded(event) for event in found if event.metadata.causation_id in causes]


def _belongs(done: TimelineEntry, own: Sequence[TimelineEntry], stream: str) -> bool:
    """One request may have made several orders."""
    if done.kind == "DELIVERY":
        return done.causation_id in {one.id for one in own}
    return done.subject == stream or done.causation_id in {one.causation_id for one in own if one.kind == "EVENT"}


def _recorded(event: EventRecord) -> TimelineEntry:
    causation = event.metadata.causation_id
    return TimelineEntry(event.recorded_at, "EVENT", event.type, None, None, event.stream, str(event.id), causation)


def _sent(saga: ListedSaga, events: Sequence[EventRecord]) -> Iterator[TimelineEntry]:
    """A saga sees every event of its stream, in order, and what it does next is because of the one it saw last."""
    unseen, cause = iter(events), None
    for at, entry in saga.history:
        if entry.kind == "event":
            cause = next((str(event.id) for event in unseen if event.type == entry.name), None)
        else:
            cause = cause if entry.kind == "command" else None  # a clock or a person moved it
            sent = str(entry.message) if entry.message else None
            yield TimelineEntry(at, "SAGA", entry.name, None, None, None, sent, cause)


def _executed(one: Execution) -> TimelineEntry:
    began = one.recorded_at - timedelta(milliseconds=one.milliseconds)
    kind: Kind = "DELIVERY" if one.kind == "delivery" else "COMMAND"
    causation: str | None = one.data.get("causationId")
    return TimelineEntry(
        began, kind, one.name, one.status, one.milliseconds, one.subject, str(one.id), causation, one.error
    )


def in_causal_order(entries: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    """By the time each began, but never before what caused it. Events, and what the saga did, are given in their order."""
    causes = _causes(entries)
    ordered: dict[int, None] = {}
    for index in sorted(range(len(entries)), key=lambda i: (entries[i].at, _ORDER.index(entries[i].kind), i)):
        waiting = [index] if index not in ordered else []
        while waiting:
            first = [cause for cause in causes[waiting[-1]] if cause not in ordered and cause not in waiting]
            if first:
                waiting.append(first[0])
            else:
                ordered[waiting.pop()] = None
    return [entries[index] for index in ordered]


def _causes(entries: Sequence[TimelineEntry]) -> list[list[int]]:
    """The indices of each entry's causes: what came before it in the same sequence, and what it names."""
    messages: dict[str | None, int] = {
        one.id: index for index, one in enumerate(entries) if one.kind in ("EVENT", "SAGA") and one.id
    }
    makers: dict[str | None, int] = {}
    for index, one in sorted(enumerate(entries), key=lambda numbered: numbered[1].at):
        if one.kind in ("COMMAND", "DELIVERY"):
            makers.setdefault(one.causation_id, index)
    causes, last = [], dict[tuple[Kind, str | None], int]()
    for index, one in enumerate(entries):
        named = makers if one.kind == "EVENT" else messages if one.kind != "COMMAND" else {}
        sequence = (one.kind, one.subject)
        before = last.get(sequence) if one.kind in ("EVENT", "SAGA") else None
        last[sequence] = index
        causes.append([cause for cause in (before, named.get(one.causation_id)) if cause is not None])
    return causes
