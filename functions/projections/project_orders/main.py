"""Keep the orders' read model: what was ordered, and how far the order has come."""

from dataclasses import replace

from shared.domain import events as e
from shared.domain.personal import ERASED, forget
from shared.read_models.documents import ORDERS, OrderDocument, order_items
from shared.runtime.projection import projection


def created(event: e.OrderCreated) -> OrderDocument:
    currency = event.total.currency
    items = order_items(event.items, currency)
    return OrderDocument(event.order_id, event.user_id, "PENDING", event.total.amount, currency, items)


@projection(ORDERS, created)
def project_orders(order: OrderDocument, event: e.OrderChange) -> OrderDocument:
    erased = isinstance(event, e.OrderErased) or order.user_id == ERASED
    return forget(_after(order, event)) if erased else _after(order, event)


def _after(order: OrderDocument, event: e.OrderChange) -> OrderDocument:
    match event:
        case e.InventoryReserved():
            return replace(order, status="INVENTORY_RESERVED")
        case e.PaymentProcessed(_, payment_id):
            return replace(order, status="PAYMENT_PROCESSED", payment_id=payment_id)
        case e.ShippingArranged(_, shipping_id):
            return replace(order, status="SHIPPED", shipping_id=shipping_id)
        case e.OrderConfirmed():
            return replace(order, status="CONFIRMED")
        case e.OrderCancelled(_, reason):
            return replace(order, status="CANCELLED", closing=True, reason=reason)
        case e.OrderFailed(_, reason):
            return replace(order, status="FAILED", closing=True, reason=reason)
        case (
            e.InventoryReservationFailed(_, reason)
            | e.PaymentFailed(_, reason)
            | e.ShippingFailed(_, reason)
            | e.OrderCancellationRequested(_, reason)
        ):
            return replace(order, closing=True, reason=order.reason if order.closing else reason)
        case e.InventoryReleased() | e.PaymentRefunded() | e.ShippingCancelled() | e.FulfilmentStopped():
            return replace(order, closing=True)
        case e.CustomerNotified() | e.NotificationFailed() | e.OrderErased():
            return order
