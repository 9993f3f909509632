"""Products: queries, live stock, and the mutations of the catalogue's articles."""

from collections.abc import AsyncGenerator, Awaitable, Sequence
from datetime import datetime
from decimal import Decimal
from math import ceil, floor
from typing import Any

from shared.api.command_client import CommandMutation
from shared.api.connections import DOCUMENT_ID, NUMBER, Connection, connect
from shared.api.context import Info, LiveField, Number, Resolvers, SourceEvent, Text
from shared.api.inputs import uuid
from shared.api.resolvers import listings
from shared.api.resolvers.categories import ORDERS as CATEGORY_ORDERS
from shared.api.resolvers.categories import category_of
from shared.api.resolvers.common import ACTIVE, Sort, deleted, documents, follow, search, state_at
from shared.api.resolvers.listings import Order
from shared.api.resolvers.visible import visible
from shared.auth.permissions import Permission
from shared.domain.product import PRODUCT
from shared.domain.values import MAX_AMOUNT
from shared.read_models.documents import RANKS_PER_UNIT
from shared.read_models.protocol import Fields, Where

SORT_FIELDS = {
    "name": "name",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "price": "price_rank",
    "stockQuantity": "stock_quantity",
}
ORDERS = CATEGORY_ORDERS | {
    "PRICE": Order("PRICE", "price_rank", tuple[NUMBER, DOCUMENT_ID]),
    "STOCK_QUANTITY": Order("STOCK_QUANTITY", "stock_quantity", tuple[NUMBER, DOCUMENT_ID]),
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
    where = [ACTIVE, *_in_category(categoryId, "categoryId"), *_priced(minPrice, maxPrice)]
    return await documents(info, "products", where, Sort(SORT_FIELDS, sortBy, sortOrder), page)


async def products_connection(
    _: Any, info: Info, sortBy: str, filter: Fields | None = None, **page: Any
) -> Connection[Fields]:
    wanted = filter or {}
    where = [
        ACTIVE,
        *_in_category(wanted.get("categoryId"), "filter", "categoryId"),
        *_priced(wanted.get("minPrice"), wanted.get("maxPrice")),
    ]
    order = ORDERS[sortBy]
    return await connect(info, listings.documents(info, "products", where, order, page), page)


async def search_products(
    _: Any, info: Info, searchTerm: str, categoryId: Text = None, **page: Number
) -> Sequence[Fields]:
    return await search(info, "products", searchTerm, _in_category(categoryId, "categoryId"), page)


def _in_category(category_id: Text, *argument: str) -> list[Where]:
    return [] if category_id is None else [Where("category_id", "==", uuid(category_id, *argument))]


def _priced(lowest: Decimal | None, highest: Decimal | None) -> list[Where]:
    where = []
    if lowest is not None:
        where.append(Where("price_rank", ">=", ceil(_storable(lowest) * RANKS_PER_UNIT)))
    if highest is not None:
        where.append(Where("price_rank", "<=", floor(_storable(highest) * RANKS_PER_UNIT)))
    return where


def _storable(price: Decimal) -> Decimal:
    """Limit the bound to just beyond every possible price: the database could not store more."""
    return max(min(price, MAX_AMOUNT + 1), -MAX_AMOUNT)


def category(product: Fields, info: Info) -> Awaitable[Fields | None] | None:
    return category_of(product["category_id"], info)


async def stock_updates(info: Info, productId: str) -> AsyncGenerator[SourceEvent]:
    return await follow(info, PRODUCT, productId, "productId")


RESOLVERS: Resolvers = {
    "Query": {
        "product": product,
        "products": products,
        "productsConnection": products_connection,
        "searchProducts": search_products,
    },
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
