"""The sales per product and day: totals of orders that stay right under duplicates, any order, loss
and a rebuild."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, cast
from uuid import UUID

import pytest

from shared.domain import events as e
from shared.domain.order import ORDER
from shared.event_store.aggregates import load, records
from shared.event_store.protocol import Append
from shared.observability.context import fresh
from shared.read_models.generations import Pace, generations_of, stored_in
from shared.read_models.memory import MemoryReadModels
from shared.read_models.protocol import Fields, Find
from shared.resilience import clock
from tests.fakes import MovableClock
from tests.shop_in_memory import Json, ShopInMemory

QUERY = """query ($filter: SalesFilterInput, $sortOrder: SortOrder) {
    salesConnection(filter: $filter, sortOrder: $sortOrder) {
        totalCount edges { node { product { name } productId day orders units revenue currency } }
    }
}"""
REBUILD = 'mutation { rebuildProjection(name: "project_sales", switchWhenEqual: true) { generations { other } } }'
DROP = 'mutation { dropProjectionGeneration(name: "project_sales") { generations { other } } }'
DAY = 24 * 3600


@pytest.fixture
def shop(shop: ShopInMemory) -> ShopInMemory:
    shop.engines.pace = Pace(known_seconds=0.0, settled_seconds=60.0)
    return shop


def sales(shop: ShopInMemory, sort_order: str = "ASC", **wanted: Any) -> list[Json]:
    found = shop.ask(QUERY, filter=wanted, sortOrder=sort_order)["salesConnection"]
    assert found["totalCount"] == len(found["edges"])
    return [edge["node"] for edge in found["edges"]]


def stored(shop: ShopInMemory, generation: int) -> Sequence[Fields]:
    models = cast(MemoryReadModels, shop.engines.read_models.models)
    return asyncio.run(models.find(Find(stored_in("sales", generation), "id", limit=1000)))


def order_and_settle(shop: ShopInMemory, *order: Any, **more: Any) -> str:
    order_id = shop.new_order(*order, **more)
    shop.settle()
    return order_id


def take_back(shop: ShopInMemory, order_id: str) -> None:
    """Record that a confirmed order was undone, as a later release might let an admin do."""
    ref = ORDER.ref(UUID(order_id))
    events = [e.PaymentRefunded(ref.id), e.OrderCancelled(ref.id, "sent back")]
    written = records(load(shop.engines.event_store, [ref]), events, fresh())
    shop.engines.event_store.append(Append(written))
    shop.call("relay_outbox")
    shop.settle()


def test_only_confirmed_orders_are_sales(shop: ShopInMemory) -> None:
    product = shop.new_product()
    order_and_settle(shop, product, 2)
    order_and_settle(shop, product, 3)
    order_and_settle(shop, product, 4, shippingMethod="refuse")
    (found,) = sales(shop)
    assert found == {
        "product": {"name": "Tea"},
        "productId": product,
        "day": str(datetime.now(UTC).date()),
        "orders": 2,
        "units": 5,
        "revenue": "2500",
        "currency": "JPY",
    }


def test_each_day_in_utc_has_its_own_sales(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    products, days = [shop.new_product(), shop.new_product()], list[str]()
    for _ in range(3):
        days.append(str(clock.now().date()))
        for product in products:
            order_and_settle(shop, product)
        movable_clock.move(DAY)
    assert [one["day"] for one in sales(shop)] == sorted(days * 2)
    assert [one["day"] for one in sales(shop, "DESC", productId=products[0])] == days[::-1]
    assert [one["day"] for one in sales(shop, firstDay=days[1], productId=products[1])] == days[1:]
    assert [one["day"] for one in sales(shop, firstDay=days[1], lastDay=days[1])] == [days[1]] * 2
    assert [one["day"] for one in sales(shop, lastDay=days[0], productId=products[0])] == [days[0]]


def test_the_revenue_has_the_decimals_of_the_currency(shop: ShopInMemory) -> None:
    product = shop.new_product(price="12.50", currency="USD")
    line = {"productId": product, "productName": "Tea", "quantity": 3, "unitPrice": "12.50"}
    order_and_settle(shop, product, items=[line])
    (found,) = sales(shop)
    assert (found["revenue"], found["currency"]) == ("37.50", "USD")


def test_an_order_taken_back_later_is_taken_away_on_the_day_it_was_sold(
    shop: ShopInMemory, movable_clock: MovableClock
) -> None:
    product = shop.new_product()
    gone = order_and_settle(shop, product, 2)
    order_and_settle(shop, product, 5)
    movable_clock.move(DAY)
    order_and_settle(shop, product)
    take_back(shop, gone)
    assert [(one["orders"], one["units"], one["revenue"]) for one in sales(shop)] == [(1, 5, "2500"), (1, 1, "500")]


def test_a_rebuild_makes_the_same_sales_and_a_drop_deletes_the_old_ones(
    shop: ShopInMemory, movable_clock: MovableClock
) -> None:
    """Also of a day on which everything was taken back."""
    product, other = shop.new_product(), shop.new_product()
    gone = order_and_settle(shop, other)
    movable_clock.move(DAY)
    order_and_settle(shop, product, 2)
    take_back(shop, gone)
    before = stored(shop, 1)
    assert [one["units"] for one in before] in ([0, 2], [2, 0])
    shop.ask(REBUILD)
    order_and_settle(shop, product, 3)  # live deliveries write both generations
    for _ in range(20):
        assert shop.call("continue_rebuilds").status_code == 200
        shop.settle()
        movable_clock.move(61)  # all of this has settled
        if generations_of(shop.engines.read_models, "sales").live == 2:
            break
    assert stored(shop, 2) == stored(shop, 1) != before
    shop.ask(DROP)
    for _ in range(3):
        movable_clock.move(61)
        shop.call("continue_rebuilds")
    assert (stored(shop, 1), len(stored(shop, 2))) == ([], 2)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"firstDay": "2026-04-02", "lastDay": "2026-04-01"}, "filter.lastDay must not be before firstDay"),
        ({"firstDay": "2026-02-29"}, "a day such as 2026-04-01"),
        ({"firstDay": "2026-04-01T00:00:00Z"}, "a day such as 2026-04-01"),
        ({"lastDay": 20260401}, "a day such as 2026-04-01"),
        ({"productId": "tea"}, "a UUID such as"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(shop: ShopInMemory, wanted: Json, says: str) -> None:
    (error,) = shop.graphql(QUERY, {"filter": wanted})["errors"]
    assert says in error["message"]
    assert error["extensions"]["code"] == "INVALID_INPUT"


def test_the_first_and_the_last_day_of_the_calendar_can_be_asked_for(shop: ShopInMemory) -> None:
    assert sales(shop, firstDay=str(date.min), lastDay=str(date.max)) == []
