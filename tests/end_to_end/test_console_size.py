"""The console on 10,000 orders and 100,000 events: pages stay small, whole and right."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from uuid_utils.compat import uuid7

from scripts.local.console import build_console
from scripts.local.shop import CONSOLE
from shared.config.settings import Settings
from shared.event_store.protocol import Append, Checkpoint
from shared.read_models.protocol import Change, Fields
from shared.runtime.current import using
from shared.runtime.engines import Engines
from tests.end_to_end.browser import Page, chromium
from tests.end_to_end.client_service import event
from tests.shop_in_memory import served

ORDERS, EVENTS, IN_ONE_STREAM = 10_000, 100_000, 100
FAILED_EVERY = 10
STATUSES = ("CONFIRMED", "FAILED")
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    """A shop in this process whose read models and event store are full. Nothing subscribes to its
    topics."""
    reasons: list[str] = []
    if not build_console(CONSOLE, reasons.append):
        pytest.skip(reasons[-1])
    settings = Settings(
        profile="memory", console_directory=str(CONSOLE), rate_limit_anonymous=0, rate_limit_signed_in=0
    )
    full = Engines(settings, subscriptions=[])
    orders = [order(number) for number in range(ORDERS)]
    full.memory_models.create("orders", {one["id"]: Change(one) for one in orders})
    for _ in range(EVENTS // IN_ONE_STREAM):
        stream = f"product-{uuid7()}"
        full.event_store.append(Append([event(stream, version + 1) for version in range(IN_ONE_STREAM)]))
    with using(full):
        yield full
    full.close()


def order(number: int) -> Fields:
    """Return an order's document. Each is a second younger than the one before; one in ten has
    failed."""
    moment = BEGAN + timedelta(seconds=number)
    line = {"product_id": str(uuid7()), "product_name": "Tea", "quantity": 1, "unit_price": "500", "subtotal": "500"}
    return {
        "id": f"00000000-0000-7000-8000-{number:012}",
        "user_id": "ann",
        "status": STATUSES[number % FAILED_EVERY == 0],
        "total_amount": "500",
        "currency": "JPY",
        "items": [line],
        "payment_id": None,
        "shipping_id": None,
        "reason": None,
        "version": 1,
        "created_at": moment,
        "updated_at": moment,
    }


@pytest.fixture(scope="module")
def page(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with served("client") as address, chromium(tmp_path_factory.mktemp("profile")) as browser:
        page = Page(browser, address)
        page.resize(1400)
        page.settings()
        yield page


def nodes(page: Page) -> int:
    """Return the number of elements in the page."""
    return int(page.browser.execute_script("return document.querySelectorAll('*').length"))


def numbers(page: Page) -> list[int]:
    """Return the numbers of the orders in the table, from their links."""
    links = page.browser.execute_script("return [...document.querySelectorAll('tbody a')].map(a => a.pathname)")
    return [int(path.rpartition("-")[2]) for path in links]


def test_ten_thousand_orders_are_read_page_by_page(page: Page) -> None:
    page.open("/orders")
    page.shows("10,000 in total")
    first = numbers(page)
    assert first == [*range(ORDERS - 1, ORDERS - 1 - len(first), -1)]
    small, read = nodes(page), first
    for _ in range(3):
        page.click("Next")
        page.until(lambda: numbers(page)[:1] == [read[-1] - 1], "the next page")  # noqa: B023 - called in this round
        read = read + numbers(page)
    assert read == [*range(ORDERS - 1, ORDERS - 1 - len(read), -1)]
    assert nodes(page) < small * 1.1  # one page at a time
    page.click("Previous")
    page.until(lambda: numbers(page) == read[2 * len(first) : 3 * len(first)], "the page before")
    page.browser.refresh()
    page.until(lambda: numbers(page) == read[2 * len(first) : 3 * len(first)], "the same page after a reload")


def test_filters_find_the_right_orders_among_ten_thousand(page: Page) -> None:
    page.open("/orders?status=FAILED")
    page.shows("1,000 in total")
    assert all(number % FAILED_EVERY == 0 for number in numbers(page))
    page.open("/orders?from=2026-01-01T00:01:00Z&to=2026-01-01T00:01:10Z")
    page.shows("10 in total")
    assert numbers(page) == [*range(69, 59, -1)]


def test_a_hundred_thousand_events_are_scrolled_with_a_few_elements(page: Page) -> None:
    page.open("/events?paused=1")
    page.shows("100,000")
    small = nodes(page)
    shown = "return [...document.querySelectorAll('.virtual-row small')].map(one => Number(one.textContent.slice(1)))"
    bottom = "const rows = document.querySelector('.virtual'); rows.scrollTop = rows.scrollHeight"
    read = "return Number(document.querySelector('.virtual-rows').style.height.replace('px', '')) / 36"
    for pages in range(2, 12):
        page.browser.execute_script(bottom)
        page.until(lambda: page.browser.execute_script(read) >= 200 * pages, "more events")  # noqa: B023
    page.until(lambda: page.browser.execute_script(shown)[0] < EVENTS - 1_000, "the rows at the end")
    rows = page.browser.execute_script(shown)
    assert rows == [*range(rows[0], rows[0] - len(rows), -1)]
    assert nodes(page) < small * 2  # for ten times as many events


def test_an_old_event_is_found_by_its_address_without_those_before_it(page: Page, engines: Engines) -> None:
    (old,) = engines.event_store.read_all(Checkpoint(), 50_000)[-1:]
    page.open(f"/events?id={old.checkpoint.position}")
    page.shows(f"StockAdjusted #{old.checkpoint.position}")
