"""Orders: their lines, their progress, and the client's two decisions, create and cancel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any
from uuid import UUID

from shared.domain import events
from shared.domain.aggregate import Aggregate, Placement
from shared.domain.category import CATEGORY
from shared.domain.commands import CancelOrder, CreateOrder, EraseOrder, OrderLine
from shared.domain.errors import Invalid, NotFound, Path, Rejected
from shared.domain.events import Event, OrderEvent, OrderItem
from shared.domain.faults import shown
from shared.domain.personal import ERASED, forget
from shared.domain.product import PRODUCT, Product, require_on_sale
from shared.domain.values import NIL, ZERO, Money


class OrderStatus(Enum):
    ABSENT = "ABSENT"
    PENDING = "PENDING"
    INVENTORY_RESERVED = "INVENTORY_RESERVED"
    PAYMENT_PROCESSED = "PAYMENT_PROCESSED"
    SHIPPED = "SHIPPED"
    CONFIRMED = "CONFIRMED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


class Outcome(Enum):
    """How a step of fulfilment ended. UNDONE is final: a later step does nothing."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"


@dataclass(frozen=True)
class Order:
    """`closing`: a failure or a cancellation is recorded, so no further step begins. `erased`: the
    erasure of its person is recorded."""

    order_id: UUID = NIL
    user_id: str = ""
    items: tuple[OrderItem, ...] = ()
    total: Money = ZERO
    payment_method: str = ""
    shipping_method: str = ""
    status: OrderStatus = OrderStatus.ABSENT
    inventory: Outcome = Outcome.OPEN
    payment: Outcome = Outcome.OPEN
    shipping: Outcome = Outcome.OPEN
    notification: Outcome = Outcome.OPEN
    payment_id: str | None = None
    shipping_id: str | None = None
    closing: bool = False
    cancelled_by_customer: bool = False
    reason: str | None = None
    erased: bool = False


def evolve(order: Order, event: OrderEvent) -> Order:
    """Return the state after the event. After an erasure it is the same whether or not this process
    could still read the personal values of the events."""
    after = _evolve(order, event)
    return forget(after) if after.erased else after


def _evolve(order: Order, event: OrderEvent) -> Order:
    match event:
        case events.OrderCreated(order_id, user_id, items, total, payment, shipping):
            return Order(order_id, user_id, items, total, payment, shipping, OrderStatus.PENDING)
        case events.OrderCancellationRequested(_, reason):
            return replace(order, closing=True, cancelled_by_customer=True, reason=reason)
        case events.InventoryReserved():
            return replace(order, inventory=Outcome.DONE, status=OrderStatus.INVENTORY_RESERVED)
        case events.PaymentProcessed(_, payment_id):
            return replace(order, payment=Outcome.DONE, payment_id=payment_id, status=OrderStatus.PAYMENT_PROCESSED)
        case events.ShippingArranged(_, shipping_id):
            return replace(order, shipping=Outcome.DONE, shipping_id=shipping_id, status=OrderStatus.SHIPPED)
        case events.FulfilmentStopped():
            return replace(order, closing=True)
        case events.OrderConfirmed():
            return replace(order, status=OrderStatus.CONFIRMED)
        case events.CustomerNotified():
            return replace(order, notification=Outcome.DONE)
        case events.NotificationFailed():
            return replace(order, notification=Outcome.FAILED)
        case events.InventoryReservationFailed(_, reason):
            return replace(order, inventory=Outcome.FAILED, closing=True, reason=_first_reason(order, reason))
        case events.PaymentFailed(_, reason):
            return replace(order, payment=Outcome.FAILED, closing=True, reason=_first_reason(order, reason))
        case events.ShippingFailed(_, reason):
            return replace(order, shipping=Outcome.FAILED, closing=True, reason=_first_reason(order, reason))
        case events.InventoryReleased():
            return replace(order, inventory=Outcome.UNDONE, closing=True)
        case events.PaymentRefunded():
            return replace(order, payment=Outcome.UNDONE, closing=True)
        case events.ShippingCancelled():
            return replace(order, shipping=Outcome.UNDONE, closing=True)
        case events.OrderErased():
            return replace(order, erased=True)
        case events.OrderCancelled(_, reason):
            return replace(order, status=OrderStatus.CANCELLED, closing=True, reason=reason)
        case events.OrderFailed(_, reason):
            return replace(order, status=OrderStatus.FAILED, closing=True, reason=reason)


def _first_reason(order: Order, reason: str) -> str | None:
    """Keep the reason that closed the order: a later step may fail just because it was undone."""
    return order.reason if order.closing else reason


ORDER = Aggregate("order", Order(), evolve, OrderEvent, snapshot_schema=3)

AGGREGATES: Mapping[str, Aggregate[Any]] = {one.name: one for one in (CATEGORY, PRODUCT, ORDER)}
"""Every aggregate by its name. The list is here because this module imports the other two."""
AGGREGATE_OF: Mapping[type[Any], Aggregate[Any]] = {
    event_type: aggregate for aggregate in AGGREGATES.values() for event_type in aggregate.event_types
}
"""The aggregate of each event type."""


def placement(event: Event) -> Placement | None:
    """Return the change that an event makes to the tree of categories and products, if any."""
    change = AGGREGATE_OF[type(event)].placement
    return change(event) if change else None


def create(command: CreateOrder, order: Order, products: Sequence[Product]) -> list[OrderEvent]:
    """`products`: the state of each line's product, in the order of the lines.

    The stock is not checked here: reserving it is the first step of the order's saga.
    """
    if order.status is not OrderStatus.ABSENT:
        raise Rejected(f"order {command.order_id} exists already", ("order_id",))
    if command.user_id == ERASED:
        raise Invalid(f"{shown(ERASED)} stands for erased people; no user may have this id", ("user_id",))
    _require_distinct(command.items)
    lines = enumerate(zip(command.items, products, strict=True))
    items = [_item(line, product, ("items", n)) for n, (line, product) in lines]
    currencies = {product.price.currency for product in products}
    if len(currencies) > 1:
        raise Rejected(f"one order can't mix currencies: {', '.join(sorted(currencies))}", ("items",))
    total = Money(sum((item.unit_price * item.quantity for item in items), start=items[0].unit_price * 0), *currencies)
    methods = command.payment_method, command.shipping_method
    return [events.OrderCreated(command.order_id, command.user_id, tuple(items), total, *methods)]


def _require_distinct(lines: Sequence[OrderLine]) -> None:
    for n, line in enumerate(lines):
        if line.product_id in {earlier.product_id for earlier in lines[:n]}:
            reason = f"product {line.product_id} has a line already; raise its quantity"
            raise Invalid(reason, ("items", n, "product_id"))


def _item(line: OrderLine, product: Product, at: Path) -> OrderItem:
    require_on_sale(line.product_id, product, (*at, "product_id"))
    if line.product_name != product.name:
        raise Rejected(
            f"the product is called {shown(product.name)}, not {shown(line.product_name)}", (*at, "product_name")
        )
    if line.unit_price != product.price.amount:
        raise Rejected(f"the price is {product.price.amount}, not {line.unit_price}", (*at, "unit_price"))
    return OrderItem(line.product_id, product.name, line.quantity, product.price.amount)


def cancel(command: CancelOrder, order: Order) -> list[OrderEvent]:
    """Cancel before shipment. Record nothing for an order that is closing or has ended."""
    if order.closing:
        return []
    match order.status:
        case OrderStatus.PENDING | OrderStatus.INVENTORY_RESERVED | OrderStatus.PAYMENT_PROCESSED:
            return [events.OrderCancellationRequested(command.order_id, command.reason or "cancelled by the customer")]
        case OrderStatus.CANCELLED | OrderStatus.FAILED:
            return []
        case OrderStatus.ABSENT:
            raise NotFound(f"order {command.order_id} does not exist", ("id",))
        case OrderStatus.SHIPPED | OrderStatus.CONFIRMED:
            raise Rejected(f"an order that is {order.status.value} can't be cancelled", ("id",))


def erase(command: EraseOrder, order: Order) -> list[OrderEvent]:
    """Record the erasure of the order's person once. An order under way is cancelled: what its next
    steps need can no longer be read."""
    if order.erased or order.status is OrderStatus.ABSENT:
        return []
    ended = order.status in (OrderStatus.CONFIRMED, OrderStatus.CANCELLED, OrderStatus.FAILED)
    stopped = [] if ended or order.closing else [events.OrderCancellationRequested(command.order_id, ERASED)]
    return [*stopped, events.OrderErased(command.order_id)]
