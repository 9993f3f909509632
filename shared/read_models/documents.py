"""The read models: their documents, and the one table of what feeds each collection.

A mutation answers with the same documents, made from the write side's state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar
from uuid import UUID

from shared.domain.aggregate import Aggregate, Lifecycle
from shared.domain.category import CATEGORY, Category
from shared.domain.events import OrderItem
from shared.domain.order import ORDER, Order
from shared.domain.product import PRODUCT, Product
from shared.domain.values import Money, searchable
from shared.read_models.protocol import Fields

Document = TypeVar("Document")

RANKS_PER_UNIT = 10_000
"""Prices are compared as integers, which is exact; no currency has more than 4 decimals."""


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


def category_index(category: CategoryDocument) -> Fields:
    """Return the fields that searches look categories up by."""
    return {"grams": search_grams(category.name, category.description)}


def product_index(product: ProductDocument) -> Fields:
    """Return the fields that searches and price ranges look products up by."""
    return {"grams": search_grams(product.name, product.description), "price_rank": int(product.price * RANKS_PER_UNIT)}


def search_grams(*texts: str | None) -> list[str]:
    """Return all characters and pairs of neighbours, to find parts of words in any script."""
    grams: set[str] = set()
    for text in filter(None, texts):
        plain = searchable(text)
        grams.update(plain)
        grams.update(plain[i : i + 2] for i in range(len(plain) - 1))
    return sorted(grams)


@dataclass(frozen=True)
class Collection(Generic[Document]):
    """One document for each stream of `aggregate`, under the aggregate's id.

    `index`: further fields, derived from a document, to look it up by. `count`: what this
    collection counts in another one.
    """

    name: str
    aggregate: Aggregate[Any]
    document: type[Document]
    index: Callable[[Document], Fields] | None = None
    count: "Count[Document] | None" = None

    @property
    def read_model(self) -> str:
        """Return the collection that clients read: the one it counts in, otherwise itself."""
        return self.count.collection.name if self.count else self.name

    @property
    def counters(self) -> list[str]:
        """Return the fields in which other collections count, 0 until they do."""
        return [other.count.field for other in COLLECTIONS if other.count and other.count.collection is self]

    @property
    def first_event(self) -> str:
        """Return the type of the event that begins each stream."""
        return self.aggregate.event_types[0].__name__


@dataclass(frozen=True)
class Count(Generic[Document]):
    """Count documents in a `field` of their owners in `collection`. `owner`: the id, or None."""

    collection: Collection[Any]
    field: str
    owner: Callable[[Document], UUID | None]


CATEGORIES = Collection("categories", CATEGORY, CategoryDocument, category_index)
CATEGORY_MEMBERS = Collection(
    "category_members",
    PRODUCT,
    MembershipDocument,
    count=Count(CATEGORIES, "product_count", lambda member: member.category_id),
)
PRODUCTS = Collection("products", PRODUCT, ProductDocument, product_index)
ORDERS = Collection("orders", ORDER, OrderDocument)

COLLECTIONS: Sequence[Collection[Any]] = (CATEGORIES, CATEGORY_MEMBERS, PRODUCTS, ORDERS)
READ_MODELS = tuple(dict.fromkeys(collection.read_model for collection in COLLECTIONS))


def sources_of(name: str) -> list[Collection[Any]]:
    """Return a read model's collections, or the one of this name. Raise LookupError for others."""
    sources = [collection for collection in COLLECTIONS if name in (collection.name, collection.read_model)]
    if not sources:
        raise LookupError(f"collection {name!r} is not declared in COLLECTIONS")
    return sources


def matches(term: str, *texts: str | None) -> bool:
    """Return whether a text contains the term, which is searchable already."""
    return any(term in searchable(text) for text in texts if text)


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
