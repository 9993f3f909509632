"""Resolvers of the queries: arguments checked, then one read."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import ceil, floor
from typing import Any
from unicodedata import category as kind
from uuid import UUID

from shared.api.context import Info
from shared.domain.errors import Invalid, NotFound
from shared.domain.placement import comparable
from shared.domain.values import MAX_AMOUNT
from shared.read_models.documents import RANKS_PER_UNIT, matches
from shared.read_models.protocol import Fields, Find, Queries, Where

MAX_LIMIT = 1000
MAX_OFFSET = 100_000
_SEARCH_PAGE = 500
_SEARCH_AT_MOST = 2000  # documents looked at for one search, however common the term's beginning is

CATEGORY_SORT = {"name": "name", "createdAt": "created_at", "updatedAt": "updated_at"}
PRODUCT_SORT = CATEGORY_SORT | {"price": "price_rank", "stockQuantity": "stock_quantity"}

_ACTIVE = Where("active", "==", True)


async def category(_: Any, info: Info, id: str) -> Fields:
    return _found(await info.context.loaders.categories.load(uuid(id, "id")), "category", id)


async def product(_: Any, info: Info, id: str) -> Fields:
    return _found(await info.context.loaders.products.load(uuid(id, "id")), "product", id)


async def order(_: Any, info: Info, id: str) -> Fields:
    return _found(await info.context.loaders.orders.load(uuid(id, "id")), "order", id)


async def categories(
    _: Any, info: Info, sortBy: str | None, sortOrder: str | None, **page: int | None
) -> Sequence[Fields]:
    return await _page(info.context.queries, "categories", (_ACTIVE,), (CATEGORY_SORT, sortBy, sortOrder), page)


async def products(
    _: Any,
    info: Info,
    sortBy: str | None,
    sortOrder: str | None,
    categoryId: str | None = None,
    minPrice: Decimal | None = None,
    maxPrice: Decimal | None = None,
    **page: int | None,
) -> Sequence[Fields]:
    where = [_ACTIVE]
    if categoryId is not None:
        where.append(Where("category_id", "==", uuid(categoryId, "categoryId")))
    if minPrice is not None:
        where.append(Where("price_rank", ">=", ceil(_bounded(minPrice) * RANKS_PER_UNIT)))
    if maxPrice is not None:
        where.append(Where("price_rank", "<=", floor(_bounded(maxPrice) * RANKS_PER_UNIT)))
    return await _page(info.context.queries, "products", where, (PRODUCT_SORT, sortBy, sortOrder), page)


async def orders(
    _: Any, info: Info, userId: str | None = None, status: str | None = None, **page: int | None
) -> Sequence[Fields]:
    wanted = {"user_id": userId, "status": status}
    where = [Where(field, "==", value) for field, value in wanted.items() if value is not None]
    return await _page(info.context.queries, "orders", where, ({"createdAt": "created_at"}, "createdAt", "DESC"), page)


async def user_orders(_: Any, info: Info, userId: str, **page: int | None) -> Sequence[Fields]:
    return await orders(_, info, userId, None, **page)


async def search_categories(_: Any, info: Info, searchTerm: str, **page: int | None) -> Sequence[Fields]:
    return await _search(info.context.queries, "categories", searchTerm, (), page)


async def search_products(
    _: Any, info: Info, searchTerm: str, categoryId: str | None = None, **page: int | None
) -> Sequence[Fields]:
    where = [Where("category_id", "==", uuid(categoryId, "categoryId"))] if categoryId is not None else []
    return await _search(info.context.queries, "products", searchTerm, where, page)


async def products_of_category(category: Fields, info: Info, limit: int | None) -> list[Fields]:
    bounded, _ = page_of({"limit": limit}, default=100)
    found: list[Fields] = await info.context.loaders.products_of_category(bounded).load(category["id"])
    return found


async def product_count(category: Fields, info: Info) -> int:
    """A mutation's answer comes from the write side, which doesn't count: ask the read model."""
    if "version" not in category:
        category = await info.context.loaders.categories.load(category["id"]) or {}
    return int(category.get("product_count", 0))


async def category_of_product(product: Fields, info: Info) -> Fields | None:
    return await info.context.loaders.categories.load(product["category_id"])


def page_of(page: Mapping[str, int | None], default: int = 20) -> tuple[int, int]:
    """Limit and offset, defaults for nulls. Raises Invalid saying what is allowed."""
    limit, offset = page.get("limit"), page.get("offset")
    limit, offset = default if limit is None else limit, 0 if offset is None else offset
    if not 0 <= limit <= MAX_LIMIT:
        raise Invalid(f"limit must be from 0 to {MAX_LIMIT}, not {limit}", ("limit",))
    if not 0 <= offset <= MAX_OFFSET:
        raise Invalid(f"offset must be from 0 to {MAX_OFFSET}, not {offset}", ("offset",))
    return limit, offset


def uuid(text: str, argument: str) -> str:
    """The id in its canonical form. Raises Invalid."""
    try:
        return str(UUID(text))
    except ValueError:
        raise Invalid(
            f"must be a UUID such as 0190b1b6-7c5e-7000-8000-000000000000, not {text!r:.60}", (argument,)
        ) from None


def _found(fields: Fields | None, kind: str, id: str) -> Fields:
    if fields is None:
        raise NotFound(f"{kind} {id} does not exist", ("id",))
    return fields


def _bounded(price: Decimal) -> Decimal:
    return max(min(price, MAX_AMOUNT), -MAX_AMOUNT)


Sort = tuple[Mapping[str, str], str | None, str | None]


async def _page(
    queries: Queries, collection: str, where: Sequence[Where], sort: Sort, page: Mapping[str, int | None]
) -> Sequence[Fields]:
    limit, offset = page_of(page)
    allowed, by, direction = sort
    by = by or next(iter(allowed))
    if by not in allowed:
        raise Invalid(f"sortBy must be one of {', '.join(allowed)}, not {by!r:.60}", ("sortBy",))
    if limit == 0:
        return []
    return await queries.find(Find(collection, allowed[by], where, direction == "DESC", limit, offset))


async def _search(
    queries: Queries, collection: str, term: str, where: Sequence[Where], page: Mapping[str, int | None]
) -> Sequence[Fields]:
    """Documents that hold the term's first two characters are fetched, by name, until enough hold all of it."""
    limit, offset = page_of(page)
    plain = comparable(term).strip()
    if not 1 <= len(plain) <= 200 or any(kind(c) in ("Cc", "Cs") for c in plain):
        raise Invalid("searchTerm must have 1 to 200 characters and no control characters", ("searchTerm",))
    if limit == 0:
        return []
    candidates = (_ACTIVE, *where, Where("grams", "array_contains", plain[:2]))
    found: list[Fields] = []
    for start in range(0, _SEARCH_AT_MOST, _SEARCH_PAGE):
        batch = await queries.find(Find(collection, "name", candidates, limit=_SEARCH_PAGE, offset=start))
        found += [fields for fields in batch if matches(plain, fields["name"], fields["description"])]
        if len(batch) < _SEARCH_PAGE or len(found) >= offset + limit:
            break
    return found[offset : offset + limit]
