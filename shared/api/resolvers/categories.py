"""Categories: queries, their products, and the mutations of the catalogue's tree."""

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from graphql import OperationType

from shared.api.command_client import CommandMutation
from shared.api.connections import AT, DOCUMENT_ID, TEXT, Connection, connect
from shared.api.context import Info, Number, Resolvers, Text
from shared.api.inputs import uuid
from shared.api.limits import from_stores
from shared.api.resolvers import listings
from shared.api.resolvers.common import ACTIVE, Sort, deleted, documents, limit_of, search, state_at
from shared.api.resolvers.listings import Order
from shared.api.resolvers.visible import visible
from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY
from shared.domain.errors import Invalid
from shared.event_store.aggregates import load
from shared.event_store.protocol import EventStore
from shared.read_models.protocol import Fields, Where
from shared.runtime.execute import entity

SORT_FIELDS = {"name": "name", "createdAt": "created_at", "updatedAt": "updated_at"}
ORDERS = {
    "NAME": Order("NAME", "name", tuple[TEXT, DOCUMENT_ID]),
    "CREATED_AT": Order("CREATED_AT", "created_at", tuple[AT, DOCUMENT_ID]),
    "UPDATED_AT": Order("UPDATED_AT", "updated_at", tuple[AT, DOCUMENT_ID]),
}


async def category(_: Any, info: Info, id: str, asOf: datetime | None = None) -> Fields:
    if asOf is not None:
        return await state_at(info, CATEGORY, id, asOf)
    key = uuid(id, "id")
    return await visible(info, await info.context.loaders.categories.load(key), CATEGORY, key)


async def categories(
    _: Any, info: Info, sortBy: Text, sortOrder: Text, parentId: Text = None, **page: Number
) -> Sequence[Fields]:
    where = [ACTIVE, *_below(parentId, "parentId")]
    return await documents(info, "categories", where, Sort(SORT_FIELDS, sortBy, sortOrder), page)


async def categories_connection(
    _: Any, info: Info, sortBy: str, filter: Fields | None = None, **page: Any
) -> Connection[Fields]:
    wanted = filter or {}
    where = [ACTIVE, *_below(wanted.get("parentId"), "filter", "parentId")]
    if wanted.get("isTopLevel"):
        if len(where) > 1:
            raise Invalid("pass parentId or isTopLevel: true, not both", ("filter", "isTopLevel"))
        where.append(Where("parent_id", "==", None))
    order = ORDERS[sortBy]
    return await connect(info, listings.documents(info, "categories", where, order, page), page)


def _below(parent_id: Text, *argument: str) -> list[Where]:
    return [] if parent_id is None else [Where("parent_id", "==", uuid(parent_id, *argument))]


async def search_categories(_: Any, info: Info, searchTerm: str, **page: Number) -> Sequence[Fields]:
    return await search(info, "categories", searchTerm, [], page)


async def products(category: Fields, info: Info, limit: Number) -> list[Fields]:
    loader = info.context.loaders.members("products", "category_id", limit_of(info, limit, default=100))
    found: list[Fields] = await loader.load(category["id"])
    return found


async def children(category: Fields, info: Info, limit: Number) -> list[Fields]:
    loader = info.context.loaders.members("categories", "parent_id", limit_of(info, limit, default=100))
    found: list[Fields] = await loader.load(category["id"])
    return found


def parent(category: Fields, info: Info) -> Awaitable[Fields | None] | None:
    return category_of(category["parent_id"], info)


def category_of(category_id: Text, info: Info) -> Awaitable[Fields | None] | None:
    """After a mutation, ask the write side: the category may be too new for the read model."""
    if category_id is None:
        return None
    if info.operation.operation is OperationType.MUTATION:
        return from_stores(_written_category, info.context.engines.event_store, UUID(category_id))
    return info.context.loaders.categories.load(category_id)


def _written_category(store: EventStore, category_id: UUID) -> Fields | None:
    (loaded,) = load(store, [CATEGORY.ref(category_id)])
    return entity(loaded) if loaded.version else None


async def product_count(category: Fields, info: Info) -> int | None:
    """Return null for past states; after a mutation, read the count: the write side has none."""
    if "product_count" in category:
        count: int | None = category["product_count"]
        return count
    category = await info.context.loaders.categories.load(category["id"]) or {}
    return int(category.get("product_count", 0))


RESOLVERS: Resolvers = {
    "Query": {
        "category": category,
        "categories": categories,
        "categoriesConnection": categories_connection,
        "searchCategories": search_categories,
    },
    "Mutation": {
        "createCategory": CommandMutation("create_category", Permission.ADMIN, "categoryId"),
        "updateCategory": CommandMutation("update_category", Permission.ADMIN, "categoryId"),
        "deleteCategory": CommandMutation("delete_category", Permission.ADMIN, "categoryId", deleted),
    },
    "Category": {"parent": parent, "children": children, "products": products, "productCount": product_count},
}
