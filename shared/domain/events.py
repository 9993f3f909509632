"""The events of the shop. A field may be added with a default; any other change needs a new
`schema_version` on the event and an upcaster in `shared/event_store/aggregates.py`."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from shared.domain.values import Money


@dataclass(frozen=True)
class CategoryCreated:
    category_id: UUID
    name: str
    description: str | None
    parent_id: UUID | None


@dataclass(frozen=True)
class CategoryUpdated:
    """All fields of the category after the update, changed or not."""

    category_id: UUID
    name: str
    description: str | None
    parent_id: UUID | None


@dataclass(frozen=True)
class CategoryDeleted:
    category_id: UUID


@dataclass(frozen=True)
class ProductCreated:
    product_id: UUID
    name: str
    description: str | None
    category_id: UUID
    price: Money
    on_hand: int


@dataclass(frozen=True)
class ProductUpdated:
    """All these fields of the product after the update, changed or not."""

    product_id: UUID
    name: str
    description: str | None
    category_id: UUID


@dataclass(frozen=True)
class ProductPriceChanged:
    product_id: UUID
    price: Money


@dataclass(frozen=True)
class StockAdjusted:
    product_id: UUID
    delta: int
    reason: str | None


@dataclass(frozen=True)
class StockReserved:
    product_id: UUID
    order_id: UUID
    quantity: int


@dataclass(frozen=True)
class StockReleased:
    product_id: UUID
    order_id: UUID
    quantity: int


@dataclass(frozen=True)
class StockShipped:
    product_id: UUID
    order_id: UUID
    quantity: int


@dataclass(frozen=True)
class ProductDeleted:
    """The product is no longer sold. Its history and its orders stay."""

    product_id: UUID


@dataclass(frozen=True)
class OrderItem:
    """`unit_price`: Decimal in the order's currency."""

    product_id: UUID
    product_name: str
    quantity: int
    unit_price: Decimal


@dataclass(frozen=True)
class OrderCreated:
    order_id: UUID
    user_id: str
    items: tuple[OrderItem, ...]
    total: Money
    payment_method: str
    shipping_method: str


@dataclass(frozen=True)
class OrderCancellationRequested:
    order_id: UUID
    reason: str


@dataclass(frozen=True)
class InventoryReserved:
    order_id: UUID


@dataclass(frozen=True)
class InventoryReservationFailed:
    order_id: UUID
    reason: str


@dataclass(frozen=True)
class InventoryReleased:
    """The mark that nothing is reserved for the order and never will be."""

    order_id: UUID


@dataclass(frozen=True)
class PaymentProcessed:
    order_id: UUID
    payment_id: str
    amount: Money


@dataclass(frozen=True)
class PaymentFailed:
    order_id: UUID
    reason: str


@dataclass(frozen=True)
class PaymentRefunded:
    """The mark that the customer has the money back, or that it was not and never will be taken."""

    order_id: UUID


@dataclass(frozen=True)
class ShippingArranged:
    order_id: UUID
    shipping_id: str


@dataclass(frozen=True)
class ShippingFailed:
    order_id: UUID
    reason: str


@dataclass(frozen=True)
class ShippingCancelled:
    """The mark that no parcel is on its way and never will be."""

    order_id: UUID


@dataclass(frozen=True)
class FulfilmentStopped:
    """No further step begins. Recorded before a provider undoes a step, so that none races it."""

    order_id: UUID


@dataclass(frozen=True)
class OrderConfirmed:
    order_id: UUID


@dataclass(frozen=True)
class CustomerNotified:
    order_id: UUID
    notification_id: str


@dataclass(frozen=True)
class NotificationFailed:
    """The provider will never tell this customer: the order stays confirmed all the same."""

    order_id: UUID
    reason: str


@dataclass(frozen=True)
class OrderErased:
    """The key of the order's person is destroyed: no personal value of the order can be read again,
    and each reads "erased"."""

    order_id: UUID


@dataclass(frozen=True)
class OrderCancelled:
    order_id: UUID
    reason: str


@dataclass(frozen=True)
class OrderFailed:
    order_id: UUID
    reason: str


CategoryChange = CategoryUpdated | CategoryDeleted
CategoryEvent = CategoryCreated | CategoryChange
StockEvent = StockAdjusted | StockReserved | StockReleased | StockShipped
ProductChange = ProductUpdated | ProductPriceChanged | StockEvent | ProductDeleted
ProductEvent = ProductCreated | ProductChange
InventoryEvent = InventoryReserved | InventoryReservationFailed | InventoryReleased
PaymentEvent = PaymentProcessed | PaymentFailed | PaymentRefunded
ShippingEvent = ShippingArranged | ShippingFailed | ShippingCancelled
EndEvent = FulfilmentStopped | OrderConfirmed | OrderCancelled | OrderFailed
NotificationEvent = CustomerNotified | NotificationFailed
PersonEvent = OrderCancellationRequested | OrderErased
OrderChange = PersonEvent | InventoryEvent | PaymentEvent | ShippingEvent | EndEvent | NotificationEvent
OrderEvent = OrderCreated | OrderChange
Event = CategoryEvent | ProductEvent | OrderEvent
