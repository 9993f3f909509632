"""What can be asked of the shop. Decoded once, at the edge, from JSON with camelCase names; unknown fields are refused."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, with_config
from pydantic.alias_generators import to_camel

from shared.domain.values import (
    MAX_LINES,
    Amount,
    Currency,
    Name,
    Quantity,
    Stock,
    StockDelta,
    Text,
    To,
    Token,
)

CLEARABLE = BeforeValidator(lambda value: To(None) if value is None else value)
"""Null clears the field. Elsewhere in an update null means the same as leaving it out."""

at_the_edge = with_config(ConfigDict(extra="forbid", alias_generator=to_camel))


@at_the_edge
@dataclass(frozen=True)
class CreateCategory:
    category_id: UUID
    name: Name
    description: Text | None = None
    parent_id: UUID | None = None


@at_the_edge
@dataclass(frozen=True)
class UpdateCategory:
    category_id: UUID
    name: To[Name] | None = None
    description: Annotated[To[Text | None] | None, CLEARABLE] = None
    parent_id: Annotated[To[UUID | None] | None, CLEARABLE] = None


@at_the_edge
@dataclass(frozen=True)
class DeleteCategory:
    category_id: UUID


@at_the_edge
@dataclass(frozen=True)
class CreateProduct:
    product_id: UUID
    name: Name
    price: Amount
    category_id: UUID
    description: Text | None = None
    currency: Currency = "JPY"
    stock_quantity: Stock | None = None


@at_the_edge
@dataclass(frozen=True)
class UpdateProduct:
    """`stock_quantity` is the number on hand after the update; `price` is in the product's currency."""

    product_id: UUID
    name: To[Name] | None = None
    description: Annotated[To[Text | None] | None, CLEARABLE] = None
    price: To[Amount] | None = None
    category_id: To[UUID] | None = None
    stock_quantity: To[Stock] | None = None


@at_the_edge
@dataclass(frozen=True)
class ChangeProductPrice:
    product_id: UUID
    new_price: Amount


@at_the_edge
@dataclass(frozen=True)
class AdjustStock:
    """`delta`: units that came in (positive) or went missing (negative)."""

    product_id: UUID
    delta: StockDelta
    reason: Text | None = None


@at_the_edge
@dataclass(frozen=True)
class DeleteProduct:
    product_id: UUID


@at_the_edge
@dataclass(frozen=True)
class OrderLine:
    """A line as the client saw it; name and price are compared with the product, never trusted."""

    product_id: UUID
    product_name: Name
    quantity: Quantity
    unit_price: Amount


@at_the_edge
@dataclass(frozen=True)
class CreateOrder:
    order_id: UUID
    user_id: Token
    items: Annotated[tuple[OrderLine, ...], Field(min_length=1, max_length=MAX_LINES)]
    payment_method: Token = "approve"
    shipping_method: Token = "standard"


@at_the_edge
@dataclass(frozen=True)
class CancelOrder:
    order_id: UUID
    reason: Text | None = None


@at_the_edge
@dataclass(frozen=True)
class ReserveInventory:
    order_id: UUID


@at_the_edge
@dataclass(frozen=True)
class ProcessPayment:
    order_id: UUID


@at_the_edge
@dataclass(frozen=True)
class ArrangeShipping:
    order_id: UUID


@at_the_edge
@dataclass(frozen=True)
class ConfirmOrder:
    order_id: UUID


@at_the_edge
@dataclass(frozen=True)
class ReleaseInventory:
    order_id: UUID


@at_the_edge
@dataclass(frozen=True)
class RefundPayment:
    order_id: UUID


@at_the_edge
@dataclass(frozen=True)
class CancelShipping:
    order_id: UUID


@at_the_edge
@dataclass(frozen=True)
class FailOrder:
    """End an order whose steps have been undone: CANCELLED if its customer asked for it, FAILED otherwise."""

    order_id: UUID
    reason: str
