"""The orders' read model: what was ordered and how far it has got."""

from dataclasses import replace

from shared.domain import events as e
from shared.domain.order import ORDER
from shared.read_models.documents import OrderDocument, order_items
from shared.runtime.push_functions import projection


@projection("orders", ORDER)
def project_orders(document: OrderDocument | None, event: e.OrderEvent) -> OrderDocument:
    if isinstance(event, e.OrderCreated):
        items = order_items(event.items, event.total.currency)
        return OrderDocument(event.order_id, event.user_id, "PENDING", event.total.amount, event.total.currency, items)
    assert document is not None
    match event:
        case e.InventoryReserved():
            return replace(document, status="INVENTORY_RESERVED")
        case e.PaymentProcessed(_, payment_id):
            return replace(document, status="PAYMENT_PROCESSED", payment_id=payment_id)
        case e.ShippingArranged(_, shipping_id):
            return replace(document, status="SHIPPED", shipping_id=shipping_id)
        case e.OrderConfirmed():
            return replace(document, status="CONFIRMED")
        case e.OrderCancelled(_, reason):
            return replace(document, status="CANCELLED", closing=True, reason=reason)
        case e.OrderFailed(_, reason):
            return replace(document, status="FAILED", closing=True, reason=reason)
        case (
            e.InventoryReservationFailed(_, reason)
            | e.PaymentFailed(_, reason)
            | e.ShippingFailed(_, reason)
            | e.OrderCancellationRequested(_, reason)
        ):
            return replace(document, closing=True, reason=document.reason if document.closing else reason)
        case e.InventoryReleased() | e.PaymentRefunded() | e.ShippingCancelled() | e.FulfilmentStopped():
            return replace(document, closing=True)
