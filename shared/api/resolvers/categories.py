"""Categories: queries, their products, and the mutations of the catalogue's tree."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.api.command_client import CommandMutation
from shared.api.context import Info, Number, Resolvers, Text
from shared.api.resolvers.common import ACTIVE, Sort, deleted, documents, limit_of, search, state_at, uuid
from shared.api.resolvers.visible import visible
from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY
from shared.read_models.protocol import Fields

SORT_FIELDS = {"name": "name", "createdAt": "created_at", "updatedAt": "updated_at"}


async def category(_: Any, info: Info, id: str, asOf: datetime | None = None) -> Fields:
    if asOf is not None:
        return await state_at(info, CATEGORY, id, asOf)
    key = uuid(id, "id")
    return await visible(info, await info.context.loaders.categories.load(key), CATEGORY, key)


async def categories(_: Any, info: Info, sortBy: Text, sortOrder: Text, **page: Number) -> Sequence[Fields]:
    return await documents(info, "categories", [ACTIVE], Sort(SORT_FIELDS, sortBy, sortOrder), page)


async def search_categories(_: Any, info: Info, searchTerm: str, **page: Number) -> Sequence[Fields]:
    return await search(info, "categories", searchTerm, [], page)


async def products(category: Fields, info: Info, limit: Number) -> list[Fields]:
    loader = info.context.loaders.products_of_category(limit_of(info, limit, default=100))
    found: list[Fields] = await loader.load(category["id"])
    return found


async def product_count(category: Fields, info: Info) -> int | None:
    """Return null for past states; after a mutation, read the count: the write side has none."""
    if "product_count" in category:
        count: int | None = category["product_count"]
        return count
    category = await info.context.loaders.categories.load(category["id"]) or {}
    return int(category.get("product_count", 0))


RESOLVERS: Resolvers = {
    "Query": {"category": category, "categories": categories, "searchCategories": search_categories},
    "Mutation": {
        "createCategory": CommandMutation("create_category", Permission.ADMIN, "categoryId"),
        "updateCategory": CommandMutation("update_category", Permission.ADMIN, "categoryId"),
        "deleteCategory": CommandMutation("delete_category", Permission.ADMIN, "categoryId", deleted),
    },
    "Category": {"products": products, "productCount": product_count},
}
