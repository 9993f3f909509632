"""The timeline of one order: everything that happened for it, and what happens now."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal
from uuid import UUID

from shared.api.budget import COST_OF_RECORD
from shared.api.context import Info
from shared.api.limits import from_stores
from shared.domain.errors import Invalid
from shared.domain.order import ORDER
from shared.event_store.protocol import EventRecord
from shared.monitoring.executions import Execution
from shared.monitoring.stuck_order import outcome
from shared.read_models.protocol import Fields
from shared.runtime.engines import Engines
from shared.sagas.store import HistoryEntry, ListedSaga

_MAX_EXECUTIONS = 1000

TimelineKind = Literal["COMMAND", "EVENT", "DELIVERY", "SAGA", "OUTBOX"]
_CAUSES_FIRST: list[TimelineKind] = ["COMMAND", "EVENT", "DELIVERY", "SAGA", "OUTBOX"]  # of entries of the same time


@dataclass(frozen=True)
class TimelineEntry:
    """One thing that happened for an order.

    `at`: when it began, by the clock of the process that did it. `subject`: a stream.
    `causation_id`: for a delivery, the message it brought; for an event, the message or command
    that led to it; for a message that the saga sent, the event that made it do so. `times`: how
    often the same message was handled with the same result; `duration_ms` is of all together,
    `error` of the last, which began at `last_at`."""

    at: datetime
    kind: TimelineKind
    name: str
    status: str | None = None
    duration_ms: int | None = None
    subject: str | None = None
    id: str | None = None
    causation_id: str | None = None
    error: str | None = None
    times: int = 1
    last_at: datetime | None = None


async def timeline(order: Fields, info: Info) -> Sequence[TimelineEntry]:
    """Return everything that happened for the order, causes first. Only owner and admins see ids
    and errors.

    Raise Invalid inside a list: a timeline takes several reads."""
    _require_single(info, "timeline { ... }")
    budget = info.context.loaders.budget
    spend = partial(budget.spend, COST_OF_RECORD)
    entries = await budget.rows(_timeline, info.context.engines, UUID(order["id"]), spend)
    budget.charge_list(info.field_nodes, len(entries))
    if info.context.actor.may_see(order["user_id"]):
        return entries
    return [replace(entry, id=None, causation_id=None, error=None) for entry in entries]


async def what_happens_now(order: Fields, info: Info) -> str:
    """Return a sentence about the order. Raise Invalid inside a list, like `timeline`."""
    _require_single(info, "whatHappensNow")
    found = await from_stores(outcome, info.context.engines, UUID(order["id"]), None)
    return str(found.sentence) if found else "it does not exist"


def _require_single(info: Info, field: str) -> None:
    if any(isinstance(step, int) for step in info.path.as_list()):
        message = f"ask for one order at a time: order(id: ...) {{ {field} }}"
        raise Invalid(message, (field.partition(" ")[0],))


def _timeline(engines: Engines, order_id: UUID, spend: Callable[[], None]) -> list[TimelineEntry]:
    """`spend`: called for each execution and each event of another stream that is read, of which a
    request for many orders has many."""
    stream = ORDER.stream(order_id)
    events = engines.event_store.read([stream])[stream]
    if not events:
        return []
    saga = engines.sagas.listed(order_id)
    own = [_of_event(event) for event in events]
    own += _of_saga(saga, events) if saga else []
    correlation_ids = sorted({event.metadata.correlation_id for event in events})  # cancelling has one of its own
    executed = []
    for correlation_id in correlation_ids:
        for execution in engines.executions.of_correlation(correlation_id, _MAX_EXECUTIONS):
            spend()
            if execution.kind != "operation":  # its command is there too
                executed.append(_of_execution(execution))
    own += _of_other_streams(engines, own, executed, spend)
    belonging = [entry for entry in executed if _belongs(entry, own, stream)]
    return in_causal_order([*own, *grouped(belonging), *_unpublished(engines, stream)])


def grouped(executed: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    """Return one entry for all executions of the same message or command with the same result."""
    groups: dict[tuple[str | None, ...], TimelineEntry] = {}
    for entry in sorted(executed, key=lambda one: one.at):
        alike = (entry.kind, entry.name, entry.status, entry.subject, entry.causation_id)
        if entry.causation_id and alike in groups:
            first = groups[alike]
            groups[alike] = replace(
                first,
                times=first.times + 1,
                last_at=entry.at,
                duration_ms=(first.duration_ms or 0) + (entry.duration_ms or 0),
                error=entry.error,
            )
        else:
            groups[(*alike, entry.id) if not entry.causation_id else alike] = entry
    return list(groups.values())


def _unpublished(engines: Engines, stream: str) -> list[TimelineEntry]:
    """Return the messages about the order that wait in an outbox, and what they wait for."""
    waiting = [message for outbox in engines.outboxes for message in outbox.about(stream)]
    return [
        TimelineEntry(
            message.time,
            "OUTBOX",
            message.type,
            "WAITING",
            subject=stream,
            id=str(message.id),
            causation_id=str(message.postponed.id if message.postponed else message.id),
            error=f"waits for {message.postponed.dependency}" if message.postponed else "is not published yet",
        )
        for message in waiting
    ]


def _of_other_streams(
    engines: Engines, own: Sequence[TimelineEntry], executed: Sequence[TimelineEntry], spend: Callable[[], None]
) -> list[TimelineEntry]:
    """Return events of other streams, of products' stock, with the same causes as the order's."""
    delivered = {entry.causation_id for entry in executed if entry.kind == "DELIVERY" and entry.causation_id}
    unknown = delivered - {entry.id for entry in own}
    causes = {entry.causation_id for entry in own if entry.kind == "EVENT"}
    for _ in unknown:
        spend()
    found = [positioned.event for positioned in engines.event_log.of_ids([UUID(event_id) for event_id in unknown])]
    return [_of_event(event) for event in found if event.metadata.causation_id in causes]


def _belongs(executed: TimelineEntry, own: Sequence[TimelineEntry], stream: str) -> bool:
    """Return False for what the same request did for another order."""
    if executed.kind == "DELIVERY":
        return executed.causation_id in {entry.id for entry in own}
    causes = {entry.causation_id for entry in own if entry.kind == "EVENT"}
    return executed.subject == stream or executed.causation_id in causes


def _of_event(event: EventRecord) -> TimelineEntry:
    about: dict[str, Any] = {"id": str(event.id), "causation_id": event.metadata.causation_id}
    why = event.data.get("reason")  # the saga keeps none, since it may name a person
    return TimelineEntry(event.recorded_at, "EVENT", event.type, subject=event.stream, error=why, **about)


def with_causes(
    history: Iterable[HistoryEntry], events: Sequence[EventRecord]
) -> Iterator[tuple[HistoryEntry, str | None]]:
    """Yield what a saga did, each with the id of the event that caused it: a saga handles its
    stream's `events` in order, and the last one handled causes what it sends. A timer or an admin
    has no cause, and is that of what follows."""
    unhandled, cause = iter(events), None
    for entry in history:
        if entry.kind == "event":
            cause = next((str(event.id) for event in unhandled if event.type == entry.name), None)
        elif entry.kind not in ("command", "note"):
            cause = None
        yield entry, cause


def _of_saga(saga: ListedSaga, events: Sequence[EventRecord]) -> Iterator[TimelineEntry]:
    entries = with_causes([entry for _, entry in saga.history], events)
    for (at, _), (entry, cause) in zip(saga.history, entries, strict=True):
        if entry.kind != "event":
            message_id = str(entry.message) if entry.message else None
            yield TimelineEntry(at, "SAGA", entry.name, id=message_id, causation_id=cause, error=_why(entry))


def _why(entry: HistoryEntry) -> str | None:
    """Return why a saga gave a step up, or what it awaited when its deadline passed."""
    if entry.kind == "timer":
        return f"{entry.data['command']}: no answer in time" if "command" in entry.data else None
    return f"{entry.data['command']}: {entry.data['reason']}" if entry.kind == "note" else None


def _of_execution(execution: Execution) -> TimelineEntry:
    return TimelineEntry(
        at=execution.recorded_at - timedelta(milliseconds=execution.milliseconds),
        kind="DELIVERY" if execution.kind == "delivery" else "COMMAND",
        name=execution.name,
        status=execution.status,
        duration_ms=execution.milliseconds,
        subject=execution.subject,
        id=str(execution.id),
        causation_id=execution.data.get("causationId"),
        error=execution.error,
    )


def in_causal_order(entries: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    """Sort by time, but no entry before its causes. Events and saga entries keep their order.

    Not with graphlib, which emits nothing from a cycle on: bad causation ids must lose no entry."""
    causes = _causes(entries)
    ordered: dict[int, None] = {}
    for index in sorted(range(len(entries)), key=lambda i: (entries[i].at, _CAUSES_FIRST.index(entries[i].kind), i)):
        waiting = [index] if index not in ordered else []
        while waiting:
            missing = [cause for cause in causes[waiting[-1]] if cause not in ordered and cause not in waiting]
            if missing:
                waiting.append(missing[0])
            else:
                ordered[waiting.pop()] = None
    return [entries[index] for index in ordered]


def _causes(entries: Sequence[TimelineEntry]) -> list[list[int]]:
    """Return indices of each entry's causes: its predecessor in its sequence, and the named one."""
    messages: dict[str | None, int] = {
        entry.id: index for index, entry in enumerate(entries) if entry.kind in ("EVENT", "SAGA") and entry.id
    }
    executions: dict[str | None, int] = {}
    for index, entry in sorted(enumerate(entries), key=lambda numbered: numbered[1].at):
        if entry.kind in ("COMMAND", "DELIVERY"):
            executions.setdefault(entry.causation_id, index)
    causes, last = [], dict[tuple[TimelineKind, str | None], int]()
    for index, entry in enumerate(entries):
        named = executions if entry.kind == "EVENT" else messages if entry.kind != "COMMAND" else {}
        sequence = (entry.kind, entry.subject)
        before = last.get(sequence) if entry.kind in ("EVENT", "SAGA") else None
        last[sequence] = index
        causes.append([cause for cause in (before, named.get(entry.causation_id)) if cause is not None])
    return causes
