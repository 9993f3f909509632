"""The commands of the shop. The edge decodes them once and refuses unknown fields."""

from dataclasses import dataclass
from typing import Annotated, TypeVar, dataclass_transform
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, with_config
from pydantic.alias_generators import to_camel

from shared.domain.values import (
    MAX_LINES,
    Amount,
    Currency,
    KnownName,
    Name,
    Quantity,
    Reason,
    Stock,
    StockDelta,
    Text,
    To,
    Token,
    of_length,
)

CLEARABLE = BeforeValidator(lambda value: To(None) if value is None else value)
"""Let None clear the field. In the other fields of an update, None leaves the value as it is."""

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def wire_command(kind: type[T]) -> type[T]:
    """Make a frozen dataclass that has camelCase names on the wire and takes no unknown fields.

    The names are declared here, because pydantic takes aliases only from the type itself.
    """
    return with_config(ConfigDict(extra="forbid", alias_generator=to_camel))(dataclass(frozen=True)(kind))


@wire_command
class CreateCategory:
    category_id: UUID
    name: Name
    description: Text | None = None
    parent_id: UUID | None = None


@wire_command
class UpdateCategory:
    category_id: UUID
    name: To[Name] | None = None
    description: Annotated[To[Text | None] | None, CLEARABLE] = None
    parent_id: Annotated[To[UUID | None] | None, CLEARABLE] = None


@wire_command
class DeleteCategory:
    category_id: UUID


@wire_command
class CreateProduct:
    product_id: UUID
    name: Name
    price: Amount
    category_id: UUID
    description: Text | None = None
    currency: Currency = "JPY"
    stock_quantity: Stock | None = None


@wire_command
class UpdateProduct:
    """`stock_quantity`: units on hand after the update. `price`: in the product's currency."""

    product_id: UUID
    name: To[Name] | None = None
    description: Annotated[To[Text | None] | None, CLEARABLE] = None
    price: To[Amount] | None = None
    category_id: To[UUID] | None = None
    stock_quantity: To[Stock] | None = None


@wire_command
class ChangeProductPrice:
    product_id: UUID
    new_price: Amount


@wire_command
class AdjustStock:
    """`delta`: units that came in (positive) or went missing (negative)."""

    product_id: UUID
    delta: StockDelta
    reason: Text | None = None


@wire_command
class DeleteProduct:
    product_id: UUID


@wire_command
class OrderLine:
    """A line as the client saw it; name and price are compared with the product, never trusted."""

    product_id: UUID
    product_name: KnownName
    quantity: Quantity
    unit_price: Amount


@wire_command
class CreateOrder:
    order_id: UUID
    user_id: Token
    items: Annotated[tuple[OrderLine, ...], of_length(1, MAX_LINES)]
    payment_method: Token = "approve"
    shipping_method: Token = "standard"


@wire_command
class CancelOrder:
    order_id: UUID
    reason: Text | None = None


@wire_command
class EraseOrder:
    """Sent by the erasure of the order's person."""

    order_id: UUID


@wire_command
class ErasePerson:
    """`reason`: why, for the record of operations; it must not name the person."""

    user_id: Token
    reason: Reason


@wire_command
class ReserveInventory:
    order_id: UUID


@wire_command
class ProcessPayment:
    order_id: UUID


@wire_command
class ArrangeShipping:
    order_id: UUID


@wire_command
class ConfirmOrder:
    order_id: UUID


@wire_command
class NotifyCustomer:
    order_id: UUID


@wire_command
class ReleaseInventory:
    order_id: UUID


@wire_command
class RefundPayment:
    order_id: UUID


@wire_command
class CancelShipping:
    order_id: UUID


@wire_command
class FailOrder:
    """End an order whose steps are undone: CANCELLED if its customer asked for it, else FAILED."""

    order_id: UUID
    reason: str
