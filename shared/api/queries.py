"""Resolvers of the queries: arguments checked, then one read."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from math import ceil, floor
from typing import Any
from unicodedata import category as kind
from uuid import UUID

from graphql import OperationType

from shared.api.context import Info, RequestContext, from_stores
from shared.config.settings import Settings
from shared.domain.aggregate import Aggregate
from shared.domain.category import CATEGORY
from shared.domain.errors import Invalid, NotFound
from shared.domain.order import ORDER
from shared.domain.product import PRODUCT
from shared.domain.values import MAX_AMOUNT, comparable
from shared.event_store.aggregates import Loaded, history, load
from shared.event_store.protocol import EventStore
from shared.read_models.documents import RANKS_PER_UNIT, matches
from shared.read_models.protocol import Fields, Find, Where
from shared.runtime.execute import entity

_SEARCH_PAGE = 500

CATEGORY_SORT = {"name": "name", "createdAt": "created_at", "updatedAt": "updated_at"}
PRODUCT_SORT = CATEGORY_SORT | {"price": "price_rank", "stockQuantity": "stock_quantity"}

_ACTIVE = Where("active", "==", True)


async def category(_: Any, info: Info, id: str, asOf: datetime | None = None) -> Fields:
    if asOf is not None:
        return _found(await from_stores(_as_of, info, CATEGORY, uuid(id, "id"), asOf), "category", id)
    return _found(await info.context.loaders.categories.load(uuid(id, "id")), "category", id)


async def product(_: Any, info: Info, id: str, asOf: datetime | None = None) -> Fields:
    if asOf is not None:
        return _found(await from_stores(_as_of, info, PRODUCT, uuid(id, "id"), asOf), "product", id)
    return _found(await info.context.loaders.products.load(uuid(id, "id")), "product", id)


async def order(_: Any, info: Info, id: str, asOf: datetime | None = None) -> Fields:
    if asOf is not None:
        return _found(await from_stores(_as_of, info, ORDER, uuid(id, "id"), asOf), "order", id)
    return _found(await info.context.loaders.orders.load(uuid(id, "id")), "order", id)


async def categories(
    _: Any, info: Info, sortBy: str | None, sortOrder: str | None, **page: int | None
) -> Sequence[Fields]:
    return await _page(info.context, "categories", (_ACTIVE,), (CATEGORY_SORT, sortBy, sortOrder), page)


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
    return await _page(info.context, "products", where, (PRODUCT_SORT, sortBy, sortOrder), page)


async def orders(
    _: Any, info: Info, userId: str | None = None, status: str | None = None, **page: int | None
) -> Sequence[Fields]:
    if userId is not None and not (len(userId) <= 128 and "Cs" not in map(kind, userId)):
        raise Invalid("userId must have up to 128 characters and no half of a surrogate pair", ("userId",))
    wanted = {"user_id": userId, "status": status}
    where = [Where(field, "==", value) for field, value in wanted.items() if value is not None]
    return await _page(info.context, "orders", where, ({"createdAt": "created_at"}, "createdAt", "DESC"), page)


async def user_orders(_: Any, info: Info, userId: str, **page: int | None) -> Sequence[Fields]:
    return await orders(_, info, userId, None, **page)


async def search_categories(_: Any, info: Info, searchTerm: str, **page: int | None) -> Sequence[Fields]:
    return await _search(info.context, "categories", searchTerm, (), page)


async def search_products(
    _: Any, info: Info, searchTerm: str, categoryId: str | None = None, **page: int | None
) -> Sequence[Fields]:
    where = [Where("category_id", "==", uuid(categoryId, "categoryId"))] if categoryId is not None else []
    return await _search(info.context, "products", searchTerm, where, page)


async def products_of_category(category: Fields, info: Info, limit: int | None) -> list[Fields]:
    bounded, _ = page_of({"limit": limit}, info.context.engines.settings, default=100)
    found: list[Fields] = await info.context.loaders.products_of_category(bounded).load(category["id"])
    return found


async def product_count(category: Fields, info: Info) -> int | None:
    """A mutation's answer comes from the write side, which doesn't count: ask the read model. Of the past nobody knows."""
    if "product_count" in category:
        count: int | None = category["product_count"]
        return count
    category = await info.context.loaders.categories.load(category["id"]) or {}
    return int(category.get("product_count", 0))


async def category_of_product(product: Fields, info: Info) -> Fields | None:
    """After a mutation from the write side, as the product itself: the category may have been made a moment ago."""
    if info.operation.operation is OperationType.MUTATION:
        return await from_stores(_written, info.context.engines.event_store, UUID(product["category_id"]))
    return await info.context.loaders.categories.load(product["category_id"])


def _written(store: EventStore, category_id: UUID) -> Fields | None:
    (found,) = load(store, [CATEGORY.ref(category_id)])
    return entity(found) if found.version else None


def _as_of(info: Info, aggregate: Aggregate[Any], id: str, moment: datetime) -> Fields | None:
    """As it was, folded from the events up to the first that was recorded later."""
    then: Loaded[Any] | None = None
    for entry, loaded in history(info.context.engines.event_store, aggregate.ref(UUID(id))):
        if entry.event.recorded_at > moment:
            break
        then = loaded
    return {**entity(then), "product_count": None} if then else None


def page_of(page: Mapping[str, int | None], settings: Settings, default: int = 20) -> tuple[int, int]:
    """Limit and offset, defaults for nulls. Raises Invalid saying what is allowed."""
    limit, offset = page.get("limit"), page.get("offset")
    limit, offset = default if limit is None else limit, 0 if offset is None else offset
    if not 0 <= limit <= settings.max_list_limit:
        raise Invalid(f"limit must be from 0 to {settings.max_list_limit}, not {limit}", ("limit",))
    if not 0 <= offset <= settings.max_list_offset:
        raise Invalid(f"offset must be from 0 to {settings.max_list_offset}, not {offset}", ("offset",))
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
    """Beyond every price there can be, but not so far that it can't be stored."""
    return max(min(price, MAX_AMOUNT + 1), -MAX_AMOUNT)


Sort = tuple[Mapping[str, str], str | None, str | None]


async def _page(
    request: RequestContext, collection: str, where: Sequence[Where], sort: Sort, page: Mapping[str, int | None]
) -> Sequence[Fields]:
    limit, offset = page_of(page, request.engines.settings)
    allowed, by, direction = sort
    by = next(iter(allowed)) if by is None else by
    if by not in allowed:
        raise Invalid(f"sortBy must be one of {', '.join(allowed)}, not {by!r:.60}", ("sortBy",))
    if limit == 0:
        return []
    return await request.queries.find(Find(collection, allowed[by], where, direction == "DESC", limit, offset))


async def _search(
    request: RequestContext, collection: str, term: str, where: Sequence[Where], page: Mapping[str, int | None]
) -> Sequence[Fields]:
    """Documents that hold the term's first two characters are fetched, by name, until enough hold all of it."""
    settings = request.engines.settings
    limit, offset = page_of(page, settings)
    plain = comparable(term).strip()
    longest = settings.max_search_characters
    if not 1 <= len(plain) <= longest or any(kind(c) in ("Cc", "Cs") for c in plain):
        raise Invalid(f"searchTerm must have 1 to {longest} characters and no control characters", ("searchTerm",))
    if limit == 0:
        return []
    candidates = (_ACTIVE, *where, Where("grams", "array_contains", plain[:2]))
    found: list[Fields] = []
    for start in range(0, settings.max_search_documents, _SEARCH_PAGE):
        many = min(_SEARCH_PAGE, settings.max_search_documents - start)
        batch = await request.queries.find(Find(collection, "name", candidates, limit=many, offset=start))
        found += [fields for fields in batch if matches(plain, fields["name"], fields["description"])]
        if len(batch) < many or len(found) >= offset + limit:
            break
    return found[offset : offset + limit]
