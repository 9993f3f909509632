"""The decisions of an order's fulfilment: each step, its compensation, and the end.

Commands may arrive late, twice or out of order, so each decides on the order's own stream. A step
acts once, never after its compensation, and never once the order is closing. A compensation leaves
its mark even when there was nothing to undo, so that a step still on its way finds it.
"""

from collections.abc import Sequence

from shared.domain import commands, events
from shared.domain import product as products_of
from shared.domain.events import Event, OrderEvent
from shared.domain.order import Order, OrderStatus, Outcome
from shared.domain.personal import ERASED
from shared.domain.product import Product

_ENDED = (OrderStatus.CONFIRMED, OrderStatus.CANCELLED, OrderStatus.FAILED)


def _may_begin(order: Order, step: Outcome) -> bool:
    return step is Outcome.OPEN and not order.closing and order.status is not OrderStatus.ABSENT


def _may_end(order: Order, step: Outcome, before: Outcome) -> bool:
    """Return True while a provider's answer can still be recorded, even if the order is closing."""
    return step is Outcome.OPEN and before is Outcome.DONE and order.status not in _ENDED


def reserve_inventory(command: commands.ReserveInventory, order: Order, products: Sequence[Product]) -> list[Event]:
    """Reserve all lines or none: one append holds the order's outcome and every product's."""
    if not _may_begin(order, order.inventory):
        return []
    lines = list(zip(order.items, products, strict=True))
    shortages = [reason for item, product in lines if (reason := products_of.shortage(product, item.quantity))]
    if shortages:
        return [events.InventoryReservationFailed(command.order_id, "; ".join(shortages))]
    reserved = [e for item, product in lines for e in products_of.reserve(product, command.order_id, item.quantity)]
    return [events.InventoryReserved(command.order_id), *reserved]


def release_inventory(command: commands.ReleaseInventory, order: Order, products: Sequence[Product]) -> list[Event]:
    if not wants_undoing(order, order.inventory):
        return []
    released = [event for product in products for event in products_of.release(product, command.order_id)]
    return [events.InventoryReleased(command.order_id), *released]


def wants_payment(order: Order) -> bool:
    """Return True when the payment provider must be asked to charge the order."""
    return _may_begin(order, order.payment) and order.inventory is Outcome.DONE and order.payment_method != ERASED


def record_payment(payment_id: str, command: commands.ProcessPayment, order: Order) -> list[OrderEvent]:
    """Record money that was taken even if the order is closing: the saga will refund it."""
    paid = events.PaymentProcessed(command.order_id, payment_id, order.total)
    return [paid] if _may_end(order, order.payment, order.inventory) else []


def record_payment_failure(reason: str, command: commands.ProcessPayment, order: Order) -> list[OrderEvent]:
    return [events.PaymentFailed(command.order_id, reason)] if _may_end(order, order.payment, order.inventory) else []


def stop(command: commands.RefundPayment | commands.CancelShipping, order: Order) -> list[OrderEvent]:
    """Close the order before a provider undoes its step, so that it can no longer be confirmed."""
    unstoppable = order.status in (OrderStatus.ABSENT, OrderStatus.CONFIRMED)
    return [] if order.closing or unstoppable else [events.FulfilmentStopped(command.order_id)]


def wants_undoing(order: Order, step: Outcome) -> bool:
    """Return True while a compensation has work to do; a confirmed order cannot be undone."""
    return step is not Outcome.UNDONE and order.status not in (OrderStatus.ABSENT, OrderStatus.CONFIRMED)


def record_refund(command: commands.RefundPayment, order: Order) -> list[OrderEvent]:
    return [events.PaymentRefunded(command.order_id)] if wants_undoing(order, order.payment) else []


def wants_shipping(order: Order) -> bool:
    """Return True when the shipping provider must be asked to ship the order."""
    return _may_begin(order, order.shipping) and order.payment is Outcome.DONE and order.shipping_method != ERASED


def record_shipping(shipping_id: str, command: commands.ArrangeShipping, order: Order) -> list[OrderEvent]:
    """Record a parcel that was arranged even if the order is closing: the saga will cancel it."""
    return (
        [events.ShippingArranged(command.order_id, shipping_id)]
        if _may_end(order, order.shipping, order.payment)
        else []
    )


def record_shipping_failure(reason: str, command: commands.ArrangeShipping, order: Order) -> list[OrderEvent]:
    return [events.ShippingFailed(command.order_id, reason)] if _may_end(order, order.shipping, order.payment) else []


def record_shipping_cancellation(command: commands.CancelShipping, order: Order) -> list[OrderEvent]:
    return [events.ShippingCancelled(command.order_id)] if wants_undoing(order, order.shipping) else []


def confirm(command: commands.ConfirmOrder, order: Order, products: Sequence[Product]) -> list[Event]:
    """Confirm the order and take its units off the shelf in one append: the point of no return."""
    if order.status is not OrderStatus.SHIPPED or order.closing:
        return []
    shipped = [event for product in products for event in products_of.ship(product, command.order_id)]
    return [events.OrderConfirmed(command.order_id), *shipped]


def wants_notification(order: Order) -> bool:
    """Return True when the customer must be told that the order is confirmed."""
    return order.status is OrderStatus.CONFIRMED and order.notification is Outcome.OPEN and order.user_id != ERASED


def record_notification(notification_id: str, command: commands.NotifyCustomer, order: Order) -> list[OrderEvent]:
    return [events.CustomerNotified(command.order_id, notification_id)] if wants_notification(order) else []


def record_notification_failure(reason: str, command: commands.NotifyCustomer, order: Order) -> list[OrderEvent]:
    return [events.NotificationFailed(command.order_id, reason)] if wants_notification(order) else []


def fail(command: commands.FailOrder, order: Order) -> list[OrderEvent]:
    """End an order once. The saga then undoes what is left to undo, if it was ended too early."""
    if order.status in (OrderStatus.ABSENT, *_ENDED):
        return []
    ended = events.OrderCancelled if order.cancelled_by_customer else events.OrderFailed
    return [ended(command.order_id, order.reason or command.reason)]
