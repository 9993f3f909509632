"""The read models' documents, and the same shapes made from the write side's state to answer a mutation."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import singledispatch
from typing import Any
from uuid import UUID

from shared.domain.aggregate import Lifecycle
from shared.domain.category import Category
from shared.domain.events import OrderItem
from shared.domain.order import Order
from shared.domain.product import Product
from shared.domain.values import Money, comparable

RANKS_PER_UNIT = 10_000
"""Prices are sorted and compared as integers, which Firestore does exactly; no currency has more than 4 decimals."""


@dataclass(frozen=True)
class CategoryDocument:
    id: UUID
    name: str
    description: str | None
    parent_id: UUID | None
    active: bool = True


@dataclass(frozen=True)
class MembershipDocument:
    """Which category a product counts in: None once it is no longer sold."""

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
    """`closing`: the order is being undone. `reason`: why it was or is being."""

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


def category_index(category: CategoryDocument) -> dict[str, Any]:
    """What categories are looked up by, besides their own fields."""
    return {"grams": grams(category.name, category.description)}


def product_index(product: ProductDocument) -> dict[str, Any]:
    """What products are looked up by, besides their own fields."""
    return {"grams": grams(product.name, product.description), "price_rank": int(product.price * RANKS_PER_UNIT)}


def grams(*texts: str | None) -> list[str]:
    """Every single character and pair of neighbours, comparable: what a search can look up, in any script."""
    found: set[str] = set()
    for text in filter(None, texts):
        plain = comparable(text)
        found.update(plain)
        found.update(plain[i : i + 2] for i in range(len(plain) - 1))
    return sorted(found)


def matches(term: str, *texts: str | None) -> bool:
    return any(comparable(term) in comparable(text) for text in texts if text)


def order_items(items: Sequence[OrderItem], currency: str) -> tuple[ItemDocument, ...]:
    return tuple(
        ItemDocument(
            item.product_id,
            item.product_name,
            item.quantity,
            item.unit_price,
            Money(item.unit_price, currency).times(item.quantity).amount,
        )
        for item in items
    )


@singledispatch
def document(state: object) -> object:
    """The document that the read model will hold once it has seen the state's last event."""
    raise TypeError(f"no document for {type(state).__name__}")


@document.register
def _(category: Category) -> CategoryDocument:
    assert category.category_id is not None
    active = category.lifecycle is Lifecycle.ACTIVE
    return CategoryDocument(category.category_id, category.name, category.description, category.parent_id, active)


@document.register
def _(product: Product) -> ProductDocument:
    assert product.product_id is not None and product.category_id is not None
    return ProductDocument(
        product.product_id,
        product.name,
        product.description,
        product.price.amount,
        product.price.currency,
        product.category_id,
        product.on_hand,
        product.on_hand - product.available,
        product.lifecycle is Lifecycle.ACTIVE,
    )


@document.register
def _(order: Order) -> OrderDocument:
    assert order.order_id is not None and order.total is not None
    return OrderDocument(
        order.order_id,
        order.user_id,
        order.status.value,
        order.total.amount,
        order.total.currency,
        order_items(order.items, order.total.currency),
        order.payment_id,
        order.shipping_id,
        order.closing,
        order.reason,
    )
