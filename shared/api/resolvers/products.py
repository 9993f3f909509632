"""Products: queries, live stock, and the mutations of the catalogue's articles."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from decimal import Decimal
from math import ceil, floor
from typing import Any
from uuid import UUID

from graphql import OperationType

from shared.api.command_client import CommandMutation
from shared.api.context import Info, LiveField, Number, Resolvers, SourceEvent, Text
from shared.api.limits import from_stores
from shared.api.resolvers.common import ACTIVE, Sort, deleted, documents, follow, search, state_at, uuid
from shared.api.resolvers.visible import visible
from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY
from shared.domain.product import PRODUCT
from shared.domain.values import MAX_AMOUNT
from shared.event_store.aggregates import load
from shared.event_store.protocol import EventStore
from shared.read_models.documents import RANKS_PER_UNIT
from shared.read_models.protocol import Fields, Where
from shared.runtime.execute import entity

SORT_FIELDS = {
    "name": "name",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "price": "price_rank",
    "stockQuantity": "stock_quantity",
}


async def product(_: Any, info: Info, id: str, asOf: datetime | None = None) -> Fields:
    if asOf is not None:
        return await state_at(info, PRODUCT, id, asOf)
    key = uuid(id, "id")
    return await visible(info, await info.context.loaders.products.load(key), PRODUCT, key)


async def products(
    _: Any,
    info: Info,
    sortBy: Text,
    sortOrder: Text,
    categoryId: Text = None,
    minPrice: Decimal | None = None,
    maxPrice: Decimal | None = None,
    **page: Number,
) -> Sequence[Fields]:
    where = [ACTIVE, *_in_category(categoryId)]
    if minPrice is not None:
        where.append(Where("price_rank", ">=", ceil(_storable(minPrice) * RANKS_PER_UNIT)))
    if maxPrice is not None:
        where.append(Where("price_rank", "<=", floor(_storable(maxPrice) * RANKS_PER_UNIT)))
    return await documents(info, "products", where, Sort(SORT_FIELDS, sortBy, sortOrder), page)


async def search_products(
    _: Any, info: Info, searchTerm: str, categoryId: Text = None, **page: Number
) -> Sequence[Fields]:
    return await search(info, "products", searchTerm, _in_category(categoryId), page)


def _in_category(category_id: Text) -> list[Where]:
    return [] if category_id is None else [Where("category_id", "==", uuid(category_id, "categoryId"))]


def _storable(price: Decimal) -> Decimal:
    """Limit the bound to just beyond every possible price: the database could not store more."""
    return max(min(price, MAX_AMOUNT + 1), -MAX_AMOUNT)


async def category(product: Fields, info: Info) -> Fields | None:
    """After a mutation, ask the write side: the category may be too new for the read model."""
    if info.operation.operation is OperationType.MUTATION:
        return await from_stores(_written_category, info.context.engines.event_store, UUID(product["category_id"]))
    return await info.context.loaders.categories.load(product["category_id"])


def _written_category(store: EventStore, category_id: UUID) -> Fields | None:
    (loaded,) = load(store, [CATEGORY.ref(category_id)])
    return entity(loaded) if loaded.version else None


async def stock_updates(info: Info, productId: str) -> AsyncGenerator[SourceEvent]:
    return await follow(info, PRODUCT, productId, "productId")


RESOLVERS: Resolvers = {
    "Query": {"product": product, "products": products, "searchProducts": search_products},
    "Mutation": {
        "createProduct": CommandMutation("create_product", Permission.ADMIN, "productId"),
        "updateProduct": CommandMutation("update_product", Permission.ADMIN, "productId"),
        "changeProductPrice": CommandMutation("change_product_price", Permission.ADMIN, "productId"),
        "adjustStock": CommandMutation("adjust_stock", Permission.ADMIN, "productId"),
        "deleteProduct": CommandMutation("delete_product", Permission.ADMIN, "productId", deleted),
    },
    "Subscription": {"stockUpdates": LiveField(stock_updates)},
    "Product": {
        "category": category,
        "availableQuantity": lambda product, _: product["stock_quantity"] - product["reserved_quantity"],
    },
}
