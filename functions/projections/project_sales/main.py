"""Keep the sales per product and day: what the orders that were confirmed on that day add up to."""

from dataclasses import replace
from datetime import UTC, datetime

from shared.domain import events as e
from shared.read_models.documents import SALES_OF_ORDERS, SaleDocument, order_items
from shared.runtime.projection import projection


def ordered(event: e.OrderCreated, _: datetime) -> SaleDocument:
    currency = event.total.currency
    return SaleDocument(currency, order_items(event.items, currency))


@projection(SALES_OF_ORDERS, ordered, recorded_at=True)
def project_sales(sale: SaleDocument, event: e.OrderChange, recorded_at: datetime) -> SaleDocument:
    match event:
        case e.OrderConfirmed():
            return replace(sale, day=recorded_at.astimezone(UTC).date())
        case e.PaymentRefunded() | e.OrderCancelled() | e.OrderFailed():
            return replace(sale, taken_back=True)
        case (
            e.OrderCancellationRequested() | e.FulfilmentStopped() | e.OrderErased()
            | e.InventoryReserved() | e.InventoryReservationFailed() | e.InventoryReleased()
            | e.PaymentProcessed() | e.PaymentFailed()
            | e.CustomerNotified() | e.NotificationFailed()
            | e.ShippingArranged() | e.ShippingFailed() | e.ShippingCancelled()
        ):  # fmt: skip
            return sale
