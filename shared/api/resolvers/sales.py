"""Sales per product and day, for admins."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import StringConstraints

from shared.api.connections import Connection, connect
from shared.api.context import Info, Resolvers
from shared.api.inputs import uuid
from shared.api.resolvers import listings
from shared.api.resolvers.common import require_admin
from shared.api.resolvers.listings import Order
from shared.domain.errors import Invalid
from shared.domain.values import Money
from shared.read_models.documents import RANKS_PER_UNIT
from shared.read_models.protocol import Fields, Where

_DAY = Annotated[str, StringConstraints(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
_KEY = Annotated[str, StringConstraints(pattern="^[0-9a-f-]{36}_[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
_BY_DAY = Order("DAY", "day", tuple[_DAY, _KEY])


async def sales_connection(_: Any, info: Info, filter: Fields | None = None, **page: Any) -> Connection[Fields]:
    require_admin(info)
    return await connect(info, listings.documents(info, "sales", _where(filter or {}), _BY_DAY, page), page)


def _where(wanted: Fields) -> list[Where]:
    product_id: str | None = wanted.get("productId")
    first: date | None = wanted.get("firstDay")
    last: date | None = wanted.get("lastDay")
    if first and last and first > last:
        raise Invalid(f"filter.lastDay must not be before firstDay, {first}; got {last}", ("filter", "lastDay"))
    found = [Where("product_id", "==", uuid(product_id, "filter", "productId"))] if product_id is not None else []
    found += [Where("day", ">=", str(first))] if first else []
    return found + ([Where("day", "<=", str(last))] if last else [])


async def product(sales: Fields, info: Info) -> Fields | None:
    return await info.context.loaders.products.load(sales["product_id"])


def revenue(sales: Fields, _: Info) -> Decimal:
    return Money.of(Decimal(sales["revenue_rank"]) / RANKS_PER_UNIT, sales["currency"]).amount


RESOLVERS: Resolvers = {
    "Query": {"salesConnection": sales_connection},
    "DailySales": {"product": product, "revenue": revenue},
}
