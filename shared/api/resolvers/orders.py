"""Orders: queries, live updates, mutations, and the timeline of one order."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal
from unicodedata import category as character_category
from uuid import UUID

from shared.api.budget import COST_OF_RECORD
from shared.api.command_client import CommandMutation
from shared.api.context import Info, LiveField, Number, Resolver, Resolvers, SourceEvent, Text
from shared.api.resolvers.common import Sort, documents, existing, follow, state_at, uuid
from shared.auth.permissions import Permission
from shared.domain.errors import Forbidden, Invalid, Unauthenticated
from shared.domain.order import ORDER
from shared.event_store.protocol import EventRecord
from shared.monitoring.executions import Execution
from shared.read_models.protocol import Fields, Where
from shared.runtime.engines import Engines
from shared.sagas.store import ListedSaga

_MAX_EXECUTIONS = 1000
_STEPS = {
    "PENDING": "reserve_inventory",
    "INVENTORY_RESERVED": "process_payment",
    "PAYMENT_PROCESSED": "arrange_shipping",
    "SHIPPED": "confirm_order",
}
_SAGA_ENDS = {"CONFIRMED": "COMPLETED", "CANCELLED": "FAILED", "FAILED": "FAILED"}


async def order(_: Any, info: Info, id: str, asOf: datetime | None = None) -> Fields:
    if asOf is not None:
        return await state_at(info, ORDER, id, asOf)
    return existing(await info.context.loaders.orders.load(uuid(id, "id")), "order", id)


async def orders(_: Any, info: Info, userId: Text = None, status: Text = None, **page: Number) -> Sequence[Fields]:
    """Return orders, the newest first. The filter by user is for that user and admins.

    Raise Unauthenticated or Forbidden: who ordered what is masked for others."""
    if userId is not None and not (len(userId) <= 128 and "Cs" not in map(character_category, userId)):
        raise Invalid("userId must have at most 128 characters and no half of a surrogate pair", ("userId",))
    actor = info.context.actor
    if userId is not None and not actor.may_see(userId):
        refused = "orders of one user are for that user and admins only: sign in as one of them"
        raise (Forbidden if actor.uid else Unauthenticated)(actor.problem or refused, ("userId",))
    wanted = {"user_id": userId, "status": status}
    where = [Where(field, "==", value) for field, value in wanted.items() if value is not None]
    return await documents(info, "orders", where, Sort({"createdAt": "created_at"}, "createdAt", "DESC"), page)


async def user_orders(_: Any, info: Info, userId: str, **page: Number) -> Sequence[Fields]:
    return await orders(_, info, userId, None, **page)


async def order_updates(info: Info, id: str) -> AsyncGenerator[SourceEvent]:
    return await follow(info, ORDER, id, "id")


def _personal(key: str, masked: Text = None) -> Resolver:
    """Resolve a field that only the order's owner and admins may see."""
    return lambda order, info: order[key] if info.context.actor.may_see(order["user_id"]) else masked


def saga_status(order: Fields, _: Info) -> str:
    return _SAGA_ENDS.get(order["status"], "STARTED")


def saga_current_step(order: Fields, _: Info) -> str | None:
    if order["status"] in _SAGA_ENDS:
        return None
    return "compensating" if order["closing"] else _STEPS[order["status"]]


def _with(message: str) -> Callable[[Fields], Fields]:
    """Return the function that makes the OrderResult of an order. `message`: may name a field of it."""
    return lambda order: {"success": True, "order": order, "message": message.format_map(order)}


TimelineKind = Literal["COMMAND", "EVENT", "DELIVERY", "SAGA"]
_CAUSES_FIRST: list[TimelineKind] = ["COMMAND", "EVENT", "DELIVERY", "SAGA"]  # the order of entries of the same time


@dataclass(frozen=True)
class TimelineEntry:
    """One thing that happened for an order.

    `at`: when it began, by the clock of the process that did it. `subject`: a stream.
    `causation_id`: for a delivery, the message it brought; for an event, the message or command
    that led to it; for a message that the saga sent, the event that made it do so."""

    at: datetime
    kind: TimelineKind
    name: str
    status: str | None = None
    duration_ms: int | None = None
    subject: str | None = None
    id: str | None = None
    causation_id: str | None = None
    error: str | None = None


async def timeline(order: Fields, info: Info) -> Sequence[TimelineEntry]:
    """Return everything that happened for the order, causes first. Only owner and admins see ids and errors.

    Raise Invalid inside a list: a timeline takes several reads."""
    if any(isinstance(step, int) for step in info.path.as_list()):
        raise Invalid("ask for the timeline of one order at a time: order(id: ...) { timeline { ... } }", ("timeline",))
    budget = info.context.loaders.budget
    spend = partial(budget.spend, COST_OF_RECORD)
    entries = await budget.rows(_timeline, info.context.engines, UUID(order["id"]), spend)
    budget.charge_list(info.field_nodes, len(entries))
    if info.context.actor.may_see(order["user_id"]):
        return entries
    return [replace(entry, id=None, causation_id=None, error=None) for entry in entries]


def _timeline(engines: Engines, order_id: UUID, spend: Callable[[], None]) -> list[TimelineEntry]:
    """`spend`: called for each execution that is read, of which a request for many orders has many."""
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
            executed.append(_of_execution(execution))
    own += _of_other_streams(engines, own, executed)
    return in_causal_order([*own, *(entry for entry in executed if _belongs(entry, own, stream))])


def _of_other_streams(
    engines: Engines, own: Sequence[TimelineEntry], executed: Sequence[TimelineEntry]
) -> list[TimelineEntry]:
    """Return events of other streams, of products' stock, with the same causes as the order's."""
    delivered = {entry.causation_id for entry in executed if entry.kind == "DELIVERY" and entry.causation_id}
    unknown = delivered - {entry.id for entry in own}
    causes = {entry.causation_id for entry in own if entry.kind == "EVENT"}
    found = [positioned.event for positioned in engines.event_log.of_ids([UUID(event_id) for event_id in unknown])]
    return [_of_event(event) for event in found if event.metadata.causation_id in causes]


def _belongs(executed: TimelineEntry, own: Sequence[TimelineEntry], stream: str) -> bool:
    """Return False for what the same request did for another order."""
    if executed.kind == "DELIVERY":
        return executed.causation_id in {entry.id for entry in own}
    causes = {entry.causation_id for entry in own if entry.kind == "EVENT"}
    return executed.subject == stream or executed.causation_id in causes


def _of_event(event: EventRecord) -> TimelineEntry:
    causation_id = event.metadata.causation_id
    return TimelineEntry(
        event.recorded_at, "EVENT", event.type, subject=event.stream, id=str(event.id), causation_id=causation_id
    )


def _of_saga(saga: ListedSaga, events: Sequence[EventRecord]) -> Iterator[TimelineEntry]:
    """A saga handles its stream's events in order; the last one handled causes what it sends."""
    unhandled, cause = iter(events), None
    for at, entry in saga.history:
        if entry.kind == "event":
            cause = next((str(event.id) for event in unhandled if event.type == entry.name), None)
        else:
            cause = cause if entry.kind == "command" else None  # a timer or an admin moved the saga
            message_id = str(entry.message) if entry.message else None
            yield TimelineEntry(at, "SAGA", entry.name, id=message_id, causation_id=cause)


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


RESOLVERS: Resolvers = {
    "Query": {"order": order, "orders": orders, "userOrders": user_orders},
    "Mutation": {
        "createOrder": CommandMutation("create_order", Permission.WRITE, "orderId", _with("the order is {status}")),
        "cancelOrder": CommandMutation(
            "cancel_order", Permission.WRITE, "orderId", _with("the order is being cancelled, or has ended already")
        ),
    },
    "Subscription": {"orderUpdates": LiveField(order_updates)},
    "Order": {
        "userId": _personal("user_id", masked="***"),
        "paymentId": _personal("payment_id"),
        "shippingId": _personal("shipping_id"),
        "reason": _personal("reason"),
        "sagaId": lambda order, _: order["id"],
        "sagaStatus": saga_status,
        "sagaCurrentStep": saga_current_step,
        "timeline": timeline,
    },
}
