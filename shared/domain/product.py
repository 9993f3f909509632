"""Products: name, category, price, units on hand and units reserved for orders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from shared.domain import events
from shared.domain.aggregate import Aggregate, Lifecycle, Place, Placement, Remove
from shared.domain.category import CATEGORY, Category, require_active
from shared.domain.commands import AdjustStock, ChangeProductPrice, CreateProduct, DeleteProduct, UpdateProduct
from shared.domain.errors import Invalid, NotFound, Path, Rejected
from shared.domain.events import ProductEvent
from shared.domain.values import MAX_STOCK, NIL, ZERO, Money


@dataclass(frozen=True)
class Product:
    """`on_hand`: units on the shelf, reserved or not. `reserved`: units by order id."""

    product_id: UUID = NIL
    name: str = ""
    description: str | None = None
    category_id: UUID = NIL
    price: Money = ZERO
    on_hand: int = 0
    reserved: Mapping[UUID, int] = field(default_factory=dict)
    lifecycle: Lifecycle = Lifecycle.ABSENT

    @property
    def available(self) -> int:
        return self.on_hand - sum(self.reserved.values())


def evolve(product: Product, event: ProductEvent) -> Product:
    match event:
        case events.ProductCreated(product_id, name, description, category_id, price, on_hand):
            return Product(product_id, name, description, category_id, price, on_hand, {}, Lifecycle.ACTIVE)
        case events.ProductUpdated(_, name, description, category_id):
            return replace(product, name=name, description=description, category_id=category_id)
        case events.ProductPriceChanged(_, price):
            return replace(product, price=price)
        case events.StockAdjusted(_, delta):
            return replace(product, on_hand=product.on_hand + delta)
        case events.StockReserved(_, order_id, quantity):
            return replace(product, reserved={**product.reserved, order_id: quantity})
        case events.StockReleased(_, order_id):
            return replace(product, reserved=_without(product.reserved, order_id))
        case events.StockShipped(_, order_id, quantity):
            on_hand = product.on_hand - quantity
            return replace(product, on_hand=on_hand, reserved=_without(product.reserved, order_id))
        case events.ProductDeleted():
            return replace(product, lifecycle=Lifecycle.DELETED)


def _without(reserved: Mapping[UUID, int], order_id: UUID) -> Mapping[UUID, int]:
    return {order: quantity for order, quantity in reserved.items() if order != order_id}


def placement(event: ProductEvent) -> Placement | None:
    match event:
        case events.ProductCreated() | events.ProductUpdated():
            return Place(PRODUCT.stream_of(event), CATEGORY.stream(event.category_id), None)
        case events.ProductDeleted():
            return Remove(PRODUCT.stream_of(event))
        case events.ProductPriceChanged():
            return None
        case events.StockAdjusted() | events.StockReserved() | events.StockReleased() | events.StockShipped():
            return None


PRODUCT = Aggregate("product", Product(), evolve, ProductEvent, placement)


def require_on_sale(product_id: UUID, product: Product, at: Path) -> None:
    """Raise NotFound or Rejected at this field of the command unless the product is sold."""
    match product.lifecycle:
        case Lifecycle.ABSENT:
            raise NotFound(f"product {product_id} does not exist", at)
        case Lifecycle.DELETED:
            raise Rejected(f"product {product_id} is no longer sold", at)
        case Lifecycle.ACTIVE:
            return


def create(command: CreateProduct, product: Product, categories: Sequence[Category]) -> list[ProductEvent]:
    if product.lifecycle is not Lifecycle.ABSENT:
        raise Rejected(f"product {command.product_id} exists already", ("product_id",))
    require_active(command.category_id, categories[0], ("category_id",))
    price, stock = Money.of(command.price, command.currency, ("price",)), command.stock_quantity or 0
    described = command.name, command.description, command.category_id
    return [events.ProductCreated(command.product_id, *described, price, stock)]


def update(command: UpdateProduct, product: Product, categories: Sequence[Category]) -> list[ProductEvent]:
    """Record nothing when nothing changes. A new price and a new stock are events of their own."""
    require_on_sale(command.product_id, product, ("id",))
    category_id = command.category_id.value if command.category_id else product.category_id
    if category_id != product.category_id:
        require_active(category_id, categories[0], ("category_id",))
    updated = events.ProductUpdated(
        command.product_id,
        command.name.value if command.name else product.name,
        command.description.value if command.description else product.description,
        category_id,
    )
    changes: list[ProductEvent] = [updated] if evolve(product, updated) != product else []
    if command.price:
        price = Money.of(command.price.value, product.price.currency, ("price",))
        changes += [events.ProductPriceChanged(command.product_id, price)] if price != product.price else []
    if command.stock_quantity:
        delta = command.stock_quantity.value - product.on_hand
        changes += _adjusted(product, command.product_id, delta, "stock set", ("stock_quantity",))
    return changes


def change_price(command: ChangeProductPrice, product: Product) -> list[ProductEvent]:
    """`new_price` is in the product's currency."""
    require_on_sale(command.product_id, product, ("id",))
    price = Money.of(command.new_price, product.price.currency, ("new_price",))
    return [events.ProductPriceChanged(command.product_id, price)] if price != product.price else []


def adjust_stock(command: AdjustStock, product: Product) -> list[ProductEvent]:
    require_on_sale(command.product_id, product, ("id",))
    return _adjusted(product, command.product_id, command.delta, command.reason, ("delta",))


def _adjusted(product: Product, product_id: UUID, delta: int, reason: str | None, at: Path) -> list[ProductEvent]:
    if delta == 0:
        return []
    if delta < 0 and delta + product.available < 0:
        raise Rejected(f"only {product.available} of {product.on_hand} units on hand are not reserved", at)
    if product.on_hand + delta > MAX_STOCK:
        raise Invalid(f"at most {MAX_STOCK} units can be on hand; got {product.on_hand + delta}", at)
    return [events.StockAdjusted(product_id, delta, reason)]


def delete(command: DeleteProduct, product: Product) -> list[ProductEvent]:
    """Deleting twice records nothing. Units already reserved for an order are still shipped."""
    match product.lifecycle:
        case Lifecycle.ABSENT:
            raise NotFound(f"product {command.product_id} does not exist", ("id",))
        case Lifecycle.DELETED:
            return []
        case Lifecycle.ACTIVE:
            return [events.ProductDeleted(command.product_id)]


def shortage(product: Product, quantity: int) -> str | None:
    """Return why `quantity` units can't be reserved now, or None when they can."""
    if product.lifecycle is not Lifecycle.ACTIVE:
        return f"{product.name} is no longer sold"
    if product.available < quantity:
        return f"{product.name}: {quantity} ordered, {product.available} available"
    return None


def reserve(product: Product, order_id: UUID, quantity: int) -> list[ProductEvent]:
    """Reserve units for an order. A second reservation for the same order records nothing."""
    return [] if order_id in product.reserved else [events.StockReserved(product.product_id, order_id, quantity)]


def release(product: Product, order_id: UUID) -> list[ProductEvent]:
    quantity = product.reserved.get(order_id)
    return [events.StockReleased(product.product_id, order_id, quantity)] if quantity else []


def ship(product: Product, order_id: UUID) -> list[ProductEvent]:
    """Take the units reserved for an order off the shelf."""
    quantity = product.reserved.get(order_id)
    return [events.StockShipped(product.product_id, order_id, quantity)] if quantity else []
