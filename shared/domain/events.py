"""What has happened, one frozen dataclass per fact. A field may be added with a default; anything else needs a new
`schema_version` here and an upcaster in `shared/event_store/aggregates.py`."""

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
    """The category as it is from now on, changed fields and unchanged ones."""

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
    """The product as it is from now on, changed fields and unchanged ones."""

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
    """No longer sold. Its history, and the orders that name it, stay."""

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
    """The mark that nothing is reserved for the order, nor ever will be."""

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
    """The mark that the customer's money is back, or was never and will never be taken."""

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
    """The mark that no parcel is on its way, nor ever will be."""

    order_id: UUID


@dataclass(frozen=True)
class FulfilmentStopped:
    """No further step begins: recorded before the first effect outside is undone, so that it can't race the last step."""

    order_id: UUID


@dataclass(frozen=True)
class OrderConfirmed:
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
ProductChange = (
    ProductUpdated | ProductPriceChanged | StockAdjusted | StockReserved | StockReleased | StockShipped | ProductDeleted
)
ProductEvent = ProductCreated | ProductChange
OrderChange = (
    OrderCancellationRequested
    | InventoryReserved
    | InventoryReservationFailed
    | InventoryReleased
    | PaymentProcessed
    | PaymentFailed
    | PaymentRefunded
    | ShippingArranged
    | ShippingFailed
    | ShippingCancelled
    | FulfilmentStopped
    | OrderConfirmed
    | OrderCancelled
    | OrderFailed
)
OrderEvent = OrderCreated | OrderChange
Event = CategoryEvent | ProductEvent | OrderEvent
