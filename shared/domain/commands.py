"""The commands of the shop, as frozen dataclasses. The edge decodes them once and refuses unknown fields."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, with_config
from pydantic.alias_generators import to_camel

from shared.domain.values import MAX_LINES, Amount, Currency, Name, Quantity, Stock, StockDelta, Text, To, Token

CLEARABLE = BeforeValidator(lambda value: To(None) if value is None else value)
"""Let None clear the field. In the other fields of an update, None leaves the value as it is."""

camel_case = with_config(ConfigDict(extra="forbid", alias_generator=to_camel))
"""The names on the wire. They are declared here because pydantic takes aliases only from the type itself."""


@camel_case
@dataclass(frozen=True)
class CreateCategory:
    category_id: UUID
    name: Name
    description: Text | None = None
    parent_id: UUID | None = None


@camel_case
@dataclass(frozen=True)
class UpdateCategory:
    category_id: UUID
    name: To[Name] | None = None
    description: Annotated[To[Text | None] | None, CLEARABLE] = None
    parent_id: Annotated[To[UUID | None] | None, CLEARABLE] = None


@camel_case
@dataclass(frozen=True)
class DeleteCategory:
    category_id: UUID


@camel_case
@dataclass(frozen=True)
class CreateProduct:
    product_id: UUID
    name: Name
    price: Amount
    category_id: UUID
    description: Text | None = None
    currency: Currency = "JPY"
    stock_quantity: Stock | None = None


@camel_case
@dataclass(frozen=True)
class UpdateProduct:
    """`stock_quantity`: units on hand after the update. `price`: in the product's currency."""

    product_id: UUID
    name: To[Name] | None = None
    description: Annotated[To[Text | None] | None, CLEARABLE] = None
    price: To[Amount] | None = None
    category_id: To[UUID] | None = None
    stock_quantity: To[Stock] | None = None


@camel_case
@dataclass(frozen=True)
class ChangeProductPrice:
    product_id: UUID
    new_price: Amount


@camel_case
@dataclass(frozen=True)
class AdjustStock:
    """`delta`: units that came in (positive) or went missing (negative)."""

    product_id: UUID
    delta: StockDelta
    reason: Text | None = None


@camel_case
@dataclass(frozen=True)
class DeleteProduct:
    product_id: UUID


@camel_case
@dataclass(frozen=True)
class OrderLine:
    """A line as the client saw it. Its name and price are compared with the product, never trusted."""

    product_id: UUID
    product_name: Name
    quantity: Quantity
    unit_price: Amount


@camel_case
@dataclass(frozen=True)
class CreateOrder:
    order_id: UUID
    user_id: Token
    items: Annotated[tuple[OrderLine, ...], Field(min_length=1, max_length=MAX_LINES)]
    payment_method: Token = "approve"
    shipping_method: Token = "standard"


@camel_case
@dataclass(frozen=True)
class CancelOrder:
    order_id: UUID
    reason: Text | None = None


@camel_case
@dataclass(frozen=True)
class ReserveInventory:
    order_id: UUID


@camel_case
@dataclass(frozen=True)
class ProcessPayment:
    order_id: UUID


@camel_case
@dataclass(frozen=True)
class ArrangeShipping:
    order_id: UUID


@camel_case
@dataclass(frozen=True)
class ConfirmOrder:
    order_id: UUID


@camel_case
@dataclass(frozen=True)
class ReleaseInventory:
    order_id: UUID


@camel_case
@dataclass(frozen=True)
class RefundPayment:
    order_id: UUID


@camel_case
@dataclass(frozen=True)
class CancelShipping:
    order_id: UUID


@camel_case
@dataclass(frozen=True)
class FailOrder:
    """End an order whose steps have been undone: CANCELLED when its customer asked for it, FAILED otherwise."""

    order_id: UUID
    reason: str
