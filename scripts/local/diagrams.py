"""Draw diagrams of the code in Mermaid: the functions of the manifest, the saga's table, an order's
states."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from shared.config.manifest import Function, manifest
from shared.domain import commands, events, fulfilment
from shared.domain import order as orders
from shared.domain.aggregate import Lifecycle
from shared.domain.errors import ShopError
from shared.domain.order import ORDER, Order, OrderStatus
from shared.domain.product import Product
from shared.domain.values import Money
from shared.sagas.definition import Saga
from shared.sagas.order_fulfilment import ORDER_FULFILMENT


def _mermaid(kind: str, lines: Iterable[str]) -> str:
    return "\n".join(["```mermaid", kind, *(f"    {line}" for line in lines), "```"]) + "\n"


_PLACES = {
    "clients": "([clients])",
    "schedule": "([Cloud Scheduler])",
    "pubsub": "{{Pub/Sub}}",
    "event_store": '[("event store<br/>PostgreSQL")]',
    "command_database": '[("command database<br/>PostgreSQL")]',
    "firestore": '[("read models<br/>Firestore")]',
    "payments": "([provider of payments])",
    "shipping": "([provider of shipping])",
}


def topology() -> str:
    """Draw the manifest. Functions of one group that are called alike and use the same are one
    box."""
    boxes: dict[object, list[Function]] = {}
    for function in manifest().functions.values():
        key = function.group, _caller(function), *function.uses, *function.access, function.calls
        boxes.setdefault(key, []).append(function)
    places = (f"{name}{shape}" for name, shape in _PLACES.items())
    return _mermaid("flowchart LR", [*places, *(line for box in boxes.values() for line in _box(box))])


def _caller(function: Function) -> str:
    if function.schedule:
        return "schedule"
    if function.topics or function.dead_letters:
        return "pubsub"
    return "clients" if function.public else "graphql"


def _box(functions: Sequence[Function]) -> Iterator[str]:
    one = functions[0]
    name, called = one.name, ""
    if _caller(one) == "pubsub":
        topics = dict.fromkeys(topic for function in functions for topic in function.topics)
        called = f'-- "{"<br/>".join(topics) or "every dead-letter topic"}" '
    yield f'{name}["{"<br/>".join(function.name for function in functions)}"]'
    if one.uses:
        yield f"{_caller(one)} {called}--> {name}"
    else:  # it stands for the providers where there are no real ones
        yield from (f"{provider} -.- {name}" for provider in ("payments", "shipping"))
    yield from (f"{name} --> {used}" for used in (*one.uses, *([one.calls] if one.calls else [])))


def saga(table: Saga = ORDER_FULFILMENT) -> str:
    """Draw the steps, what follows when one fails or stays unanswered, and the compensations."""
    return _mermaid("flowchart TD", _saga(table))


def _saga(table: Saga) -> Iterator[str]:
    yield f"begin([{table.starts_on.__name__}]) --> {_name(table.steps[0].send)}"
    for step, later in zip(table.steps, (*table.steps[1:], None), strict=True):
        following = _name(later.send) if later else "finished([COMPLETED])"
        yield f"{_name(step.send)} -- {step.until.__name__} --> {following}"
    for index, step in enumerate(table.steps):
        if step.unless:
            yield f"{_name(step.send)} -- {step.unless.__name__} --> {_after_failure(table, index, index - 1)}"
        yield f"{_name(step.send)} -. no answer in time .-> {_after_failure(table, index, index)}"
        if step.undo and step.undone:
            yield f"{_name(step.undo)} -- {step.undone.__name__} --> {_undoing(table, index - 1)}"
    ends = " or ".join(kind.__name__ for kind in table.ended_by)
    yield f"{_name(table.gives_up_with)} -- {ends} --> failed([FAILED])"


def _after_failure(table: Saga, index: int, undone_to: int) -> str:
    """Return what follows when a step has failed: the next step for one of best effort, the step
    itself behind the point of no return, otherwise the compensations from `undone_to` on."""
    if table.steps[index].best_effort:
        return _name(table.steps[index + 1].send) if index + 1 < len(table.steps) else "finished"
    return _name(table.steps[index].send) if index > table.last_return else _undoing(table, undone_to)


def _undoing(table: Saga, index: int) -> str:
    """Return the command that is sent when the steps up to `index` have to be undone."""
    undos = [step.undo for step in table.steps[: index + 1] if step.undo]
    return _name(undos[-1] if undos else table.gives_up_with)


def _name(command: Callable[..., Any]) -> str:
    return command.__name__


_ID = UUID(int=1)
_CUP = Product(_ID, "cup", None, _ID, Money(Decimal(5), "JPY"), 1, {}, Lifecycle.ACTIVE)
_ORDERED = commands.CreateOrder(_ID, "hanako", (commands.OrderLine(_ID, "cup", 1, Decimal(5)),))
_SOLD_OUT = replace(_CUP, on_hand=0)

_DECISIONS: Sequence[Callable[[Order], Sequence[events.Event]]] = (
    lambda order: orders.create(_ORDERED, order, [_CUP]),
    lambda order: orders.cancel(commands.CancelOrder(_ID), order),
    lambda order: fulfilment.reserve_inventory(commands.ReserveInventory(_ID), order, [_CUP]),
    lambda order: fulfilment.reserve_inventory(commands.ReserveInventory(_ID), order, [_SOLD_OUT]),
    lambda order: fulfilment.release_inventory(commands.ReleaseInventory(_ID), order, [_CUP]),
    lambda order: fulfilment.record_payment("p", commands.ProcessPayment(_ID), order),
    lambda order: fulfilment.record_payment_failure("declined", commands.ProcessPayment(_ID), order),
    lambda order: fulfilment.record_refund(commands.RefundPayment(_ID), order),
    lambda order: fulfilment.record_shipping("s", commands.ArrangeShipping(_ID), order),
    lambda order: fulfilment.record_shipping_failure("refused", commands.ArrangeShipping(_ID), order),
    lambda order: fulfilment.record_shipping_cancellation(commands.CancelShipping(_ID), order),
    lambda order: fulfilment.stop(commands.RefundPayment(_ID), order),
    lambda order: fulfilment.confirm(commands.ConfirmOrder(_ID), order, [_CUP]),
    lambda order: fulfilment.record_notification("n", commands.NotifyCustomer(_ID), order),
    lambda order: fulfilment.record_notification_failure("bounced", commands.NotifyCustomer(_ID), order),
    lambda order: orders.erase(commands.EraseOrder(_ID), order),
    lambda order: fulfilment.fail(commands.FailOrder(_ID, "no answer"), order),
)
"""Every decision about an order."""


def order_states() -> str:
    """Draw the statuses of an order and the events that lead from one to another, found by taking
    every decision in every state. Raise LookupError for an event that no decision records."""
    seen, new, moves, recorded = {ORDER.initial}, [ORDER.initial], dict[str, None](), set[type[Any]]()
    while new:
        before = new.pop(0)
        for event in (event for decide in _DECISIONS for event in _recorded(decide, before)):
            after = ORDER.evolve(before, event)
            recorded.add(type(event))
            if after.status is not before.status:
                moves[f"{_status(before)} --> {_status(after)}: {type(event).__name__}"] = None
            if after not in seen:
                seen.add(after)
                new.append(after)
    if missing := {*ORDER.event_types} - recorded:
        names = ", ".join(sorted(kind.__name__ for kind in missing))
        raise LookupError(f"no decision in scripts/local/diagrams.py records {names}; add the decision to _DECISIONS")
    ends = (f"{one.value} --> [*]" for one in (OrderStatus.CONFIRMED, OrderStatus.CANCELLED, OrderStatus.FAILED))
    return _mermaid("stateDiagram-v2", [*moves, *ends])


def _recorded(decide: Callable[[Order], Sequence[events.Event]], order: Order) -> list[events.Event]:
    """Return the order's own events that a decision records; none when it refuses."""
    try:
        return [event for event in decide(order) if isinstance(event, ORDER.event_types)]
    except ShopError:
        return []


def _status(order: Order) -> str:
    return "[*]" if order.status is OrderStatus.ABSENT else order.status.value
