"""The read models: their documents, and the one table of what feeds each collection.

A mutation answers with the same documents, made from the write side's state.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Generic, TypeVar
from uuid import UUID

from shared.domain.aggregate import Aggregate, Lifecycle
from shared.domain.category import CATEGORY, Category
from shared.domain.events import OrderItem
from shared.domain.order import ORDER, Order
from shared.domain.product import PRODUCT, Product
from shared.domain.values import Money
from shared.read_models.protocol import Fields
from shared.read_models.search import search_grams

Document = TypeVar("Document")

RANKS_PER_UNIT = 10_000
"""Prices are compared and added up as integers, which is exact; no currency has more than 4
decimals."""


@dataclass(frozen=True)
class CategoryDocument:
    id: UUID
    name: str
    description: str | None
    parent_id: UUID | None
    active: bool = True


@dataclass(frozen=True)
class MembershipDocument:
    """The category that counts a product, None once the product is no longer sold."""

    category_id: UUID | None


@dataclass(frozen=True)
class ProductDocument:
    id: UUID
    name: str
    description: str | None
    price: Decimal
    currency: str
    category_id: UUID
    stock_quantity: int
    reserved_quantity: int = 0
    active: bool = True


@dataclass(frozen=True)
class ItemDocument:
    product_id: UUID
    product_name: str
    quantity: int
    unit_price: Decimal
    subtotal: Decimal


@dataclass(frozen=True)
class OrderDocument:
    """An order. `closing`: it is being undone or has been. `reason`: why."""

    id: UUID
    user_id: str
    status: str
    total_amount: Decimal
    currency: str
    items: tuple[ItemDocument, ...]
    payment_id: str | None = None
    shipping_id: str | None = None
    closing: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class SaleDocument:
    """What one order adds to the sales: its items, on the `day` (in UTC) on which it was confirmed.

    `taken_back`: the order was undone after that, so it adds nothing to that day any more.
    """

    currency: str
    items: tuple[ItemDocument, ...]
    day: date | None = None
    taken_back: bool = False


def category_index(category: CategoryDocument) -> Fields:
    """Return the fields that searches look categories up by."""
    return {"grams": search_grams(category.name, category.description)}


def product_index(product: ProductDocument) -> Fields:
    """Return the fields that searches and price ranges look products up by."""
    return {"grams": search_grams(product.name, product.description), "price_rank": int(product.price * RANKS_PER_UNIT)}


@dataclass(frozen=True)
class Collection(Generic[Document]):
    """One document for each stream of `aggregate`, under the aggregate's id.

    `index`: further fields, derived from a document, to look it up by. `sorted_by`: those of them
    by which clients sort. `totals`: what the documents add to those of another collection.
    """

    name: str
    aggregate: Aggregate[Any]
    document: type[Document]
    index: Callable[[Document], Fields] | None = None
    sorted_by: tuple[str, ...] = ()
    totals: "Totals[Document] | None" = None

    @property
    def read_model(self) -> str:
        """Return the collection that clients read: the one it adds to, otherwise itself."""
        return self.totals.collection if self.totals else self.name

    @property
    def counters(self) -> list[str]:
        """Return the fields to which other collections add, 0 until they do."""
        every = [other.totals for other in COLLECTIONS if other.totals]
        return [name for totals in every if totals.collection == self.name for name in totals.fields]

    @property
    def shown(self) -> tuple[str, ...]:
        """Return the fields that clients read: all but the many search strings."""
        own = self.document.__annotations__
        return (*own, *self.counters, *self.sorted_by, "version", "created_at", "updated_at")

    @property
    def first_event(self) -> str:
        """Return the type of the event that begins each stream."""
        return self.aggregate.event_types[0].__name__


@dataclass(frozen=True)
class Share:
    """What a document adds to the document `key` of its totals: whole numbers, by field. `about`:
    other fields, which depend on nothing but the key."""

    key: str
    amounts: Mapping[str, int]
    about: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class Totals(Generic[Document]):
    """Add up the `shares` of documents in `collection`, under keys of any kind.

    A change of a document adds the difference between its new shares and its old ones, in the same
    write. So each document is counted once, whatever happens to messages. A share that was once
    given out keeps its key, with the amount 0 when nothing is left: a rebuild then makes the same
    documents as the deliveries did.
    """

    collection: str
    fields: tuple[str, ...]
    shares: Callable[[Document], Sequence[Share]]


def product_counts(member: MembershipDocument) -> list[Share]:
    return [Share(str(member.category_id), {"product_count": 1})] if member.category_id else []


def sales(sale: SaleDocument) -> list[Share]:
    """Return what a confirmed order adds to each of its products' day."""
    return [_daily_share(item, sale.day, sale) for item in sale.items] if sale.day else []


def _daily_share(item: ItemDocument, day: date, sale: SaleDocument) -> Share:
    counts = 0 if sale.taken_back else 1
    amounts = {"orders": 1, "units": item.quantity, "revenue_rank": int(item.subtotal * RANKS_PER_UNIT)}
    key = f"{item.product_id}_{day}"
    about = {"id": key, "product_id": str(item.product_id), "day": str(day), "currency": sale.currency}
    return Share(key, {name: counts * amount for name, amount in amounts.items()}, about)


CATEGORIES = Collection("categories", CATEGORY, CategoryDocument, category_index)
CATEGORY_MEMBERS = Collection(
    "category_members",
    PRODUCT,
    MembershipDocument,
    totals=Totals("categories", ("product_count",), product_counts),
)
PRODUCTS = Collection("products", PRODUCT, ProductDocument, product_index, ("price_rank",))
ORDERS = Collection("orders", ORDER, OrderDocument)
SALES_OF_ORDERS = Collection(
    "sales_of_orders",
    ORDER,
    SaleDocument,
    totals=Totals("sales", ("orders", "units", "revenue_rank"), sales),
)

COLLECTIONS: Sequence[Collection[Any]] = (CATEGORIES, CATEGORY_MEMBERS, PRODUCTS, ORDERS, SALES_OF_ORDERS)
SHOWN: Mapping[str, tuple[str, ...]] = {one.name: one.shown for one in COLLECTIONS if one.index}
"""The fields that clients read of each collection that has others."""
READ_MODELS = tuple(dict.fromkeys(collection.read_model for collection in COLLECTIONS))


def sources_of(name: str) -> list[Collection[Any]]:
    """Return a read model's collections, or the one of this name. Raise LookupError for others."""
    sources = [collection for collection in COLLECTIONS if name in (collection.name, collection.read_model)]
    if not sources:
        raise LookupError(f"collection {name!r} is not declared in COLLECTIONS")
    return sources


def order_items(items: Sequence[OrderItem], currency: str) -> tuple[ItemDocument, ...]:
    def document_of(item: OrderItem) -> ItemDocument:
        subtotal = Money(item.unit_price, currency).times(item.quantity).amount
        return ItemDocument(item.product_id, item.product_name, item.quantity, item.unit_price, subtotal)

    return tuple(map(document_of, items))


def document(state: Category | Product | Order) -> CategoryDocument | ProductDocument | OrderDocument:
    """Return the document that the read model holds once it has applied the last event."""
    match state:
        case Category(category_id=UUID() as category_id):
            active = state.lifecycle is Lifecycle.ACTIVE
            return CategoryDocument(category_id, state.name, state.description, state.parent_id, active)
        case Product(product_id=UUID() as product_id, category_id=UUID() as category_id):
            price, stock = state.price, state.on_hand
            about = product_id, state.name, state.description, price.amount, price.currency, category_id
            return ProductDocument(*about, stock, stock - state.available, state.lifecycle is Lifecycle.ACTIVE)
        case Order(order_id=UUID() as order_id, total=Money() as total):
            items = order_items(state.items, total.currency)
            about_order = order_id, state.user_id, state.status.value, total.amount, total.currency, items
            return OrderDocument(*about_order, state.payment_id, state.shipping_id, state.closing, state.reason)
    raise TypeError(f"no document for a {type(state).__name__} without its first event")
