"""The messages of an order of a hundred lines are read completely, page by page."""

from collections import Counter

import pytest

from tests.shop_in_memory import Json, ShopInMemory


@pytest.fixture(scope="module")
def shop(shared_shop: ShopInMemory) -> ShopInMemory:
    """Return a shop whose only order has a hundred lines."""
    category = shared_shop.new_category()
    products = [shared_shop.new_product(category) for _ in range(100)]
    lines = [{"productId": one, "productName": "Tea", "quantity": 1, "unitPrice": "500"} for one in products]
    shared_shop.new_order(products[0], items=lines)
    shared_shop.settle()
    return shared_shop


def messages(shop: ShopInMemory, arguments: str) -> list[Json]:
    found: list[Json] = shop.ask(f"{{ pubsubMessages({arguments}) {{ topic timestamp cursor }} }}")["pubsubMessages"]
    return found


@pytest.mark.parametrize("arguments", ["", "limit: 1", "limit: 7", "limit: 101", 'topic: "product-events"'])
def test_an_order_of_a_hundred_lines_is_read_completely(shop: ShopInMemory, arguments: str) -> None:
    """Its reservation makes a hundred and one messages of one microsecond; the default page is a
    hundred."""
    topic = f", {arguments}" if "topic" in arguments else ""
    newest = messages(shop, f"limit: 1000{topic}")
    assert max(Counter(one["timestamp"] for one in newest).values()) >= 100
    of_page = f"{arguments}, " if arguments else ""
    for argument, field, first in (
        ("after", "cursor", "0-0-0"),
        ("afterTimestamp", "timestamp", "2020-01-01T00:00:00Z"),
    ):
        read: list[Json] = []
        last = first
        while page := messages(shop, f'{of_page}{argument}: "{last}"'):
            read += page
            last = page[-1][field]
        assert [one["cursor"] for one in read] == [one["cursor"] for one in newest[::-1]]
