"""The console in a real browser, on the real engines: newcomers, people on call, roles, languages,
phones, restarts."""

import base64
import gzip
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psycopg
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from uuid_utils.compat import uuid7

from scripts.local.console import build_console
from scripts.local.local_http import local_http
from scripts.local.shop import CONSOLE
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append
from shared.postgres.pool import Pool
from tests.end_to_end.browser import Page, chromium
from tests.end_to_end.client_service import ClientService, event
from tests.end_to_end.running_shop import ADMIN, RunningShop

PATHS = (
    "/",
    "/orders",
    "/products",
    "/categories",
    "/shop",
    "/sagas",
    "/events",
    "/messages",
    "/dead-letters",
    "/read-models",
    "/topology",
    "/executions",
    "/lab",
    "/audit",
    "/glossary",
)
FIRST_PAGE_BYTES = 220_000
POISONED = "project-products.product-events"
CLICK_ALL = """
const named = [...document.querySelectorAll("main button")].filter((one) => one.innerText.trim() === arguments[0]);
named.forEach((one) => one.click());
return named.map((one) => one.getAttribute("aria-disabled"));
"""
"""Clicks every button of a name, and returns whether each was disabled. In one step: the page may
draw itself again at any moment."""
LOSE_AN_ANSWER = """
const real = window.fetch;
let lost = false;
window.fetch = async (input, init) => {
  const answer = await real(input, init);
  if (lost || !String(init?.body).includes(arguments[0])) return answer;
  lost = true;
  throw new TypeError("Failed to fetch");
};
"""
"""Loses the first answer to what has this text, after the server has done it."""
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture(scope="module")
def built() -> Path:
    reasons: list[str] = []
    if not build_console(CONSOLE, reasons.append):
        pytest.skip(reasons[-1])
    return CONSOLE


@pytest.fixture(scope="module")
def shop(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningShop]:
    home = tmp_path_factory.mktemp("shop")
    for folder in (home, *home.parents[:2]):
        folder.chmod(0o755)
    running = RunningShop(home / "data", "--sign-in", RATE_LIMIT_ANONYMOUS="0", RATE_LIMIT_SIGNED_IN="0")
    yield running.open(180)
    assert running.close() == 0


@pytest.fixture(scope="module")
def window(shop: RunningShop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield Page(browser, f"http://localhost:{shop.port}")


@pytest.fixture
def page(window: Page) -> Page:
    """The console in English, on a desktop, without sign-in."""
    window.resize(1400)
    window.settings()
    return window


@pytest.fixture(scope="module")
def ordered(shop: RunningShop) -> str:
    """The id of an order that was undone."""
    order_id = shop.order(shop.product(stock=10), shippingMethod="refuse")
    shop.until_ended(order_id)
    return order_id


@pytest.fixture(scope="module")
def details(shop: RunningShop, ordered: str) -> list[str]:
    """The addresses of what lists lead to."""
    (product,) = shop.data("{ products(limit: 1) { id } }")["products"]
    chosen = [f"/orders/{ordered}", f"/events/{ordered}?version=2", f"/products/{product['id']}"]
    return [*chosen, "/topology?function=project_orders"]


def dead_letter(shop: RunningShop, message_id: str, data: bytes, **attributes: str) -> None:
    """Push a message as a dead-letter topic would."""
    source = {
        "CloudPubSubDeadLetterSourceSubscription": POISONED,
        "CloudPubSubDeadLetterSourceDeliveryCount": "10",
    }
    message = {"messageId": message_id, "data": base64.b64encode(data).decode(), "attributes": source | attributes}
    body = {"message": message, "subscription": f"projects/p/subscriptions/record-dead-letter.{POISONED}.dead"}
    local_http().post(f"http://127.0.0.1:{shop.port + 1}/record_dead_letter", json=body, timeout=30).raise_for_status()


def complaints(found: Mapping[str, Sequence[str]]) -> str:
    """Return a line for each fault, with its page."""
    return "\n".join(f"{path} {fault}" for path, faults in found.items() for fault in faults)


def test_the_first_page_is_small(built: Path) -> None:
    text = (built / "index.html").read_text()
    needed = re.findall(r"/console/(assets/[\w.-]+\.(?:js|css))", text)
    sizes = {name: len(gzip.compress((built / name).read_bytes(), 9)) for name in needed}
    assert any(name.endswith(".css") for name in needed) and sum(sizes.values()) <= FIRST_PAGE_BYTES, sizes


def test_a_newcomer_orders_breaks_it_and_sees_it_undone(page: Page) -> None:
    """Sign-in is asked for at the moment of writing, and the order goes on after it."""
    page.open("/")
    page.click("Fault lab")
    page.click("Order it", "//li[.//strong[.='Payment declined']]")
    page.shows("Who are you?")
    page.click("hanako writer")
    page.shows("What happened", "InventoryReserved", "PaymentFailed", "InventoryReleased", "OrderFailed")
    page.shows("FAILED", "UNDONE", "hanako")
    page.until(lambda: len(page.all(".lanes .step")) > 10, "more than ten steps")
    page.click("OrderFailed", "//table")
    page.shows("Payload", "told to decline")


def test_the_slider_shows_the_order_and_the_stock_of_any_moment(page: Page, ordered: str) -> None:
    page.settings("admin")
    page.open(f"/orders/{ordered}")
    page.shows("OrderFailed")
    slider = page.browser.find_element(By.ID, "moment")
    slider.send_keys(Keys.HOME)
    page.until(lambda: "at=" in page.browser.current_url, "a moment in the address")
    for _ in range(60):
        if "PAYMENT_PROCESSED" in page.text:
            break
        slider.send_keys(Keys.ARROW_RIGHT)
    page.shows("PAYMENT_PROCESSED", "Reserved\n1")
    address = page.browser.current_url
    page.browser.refresh()
    page.shows("PAYMENT_PROCESSED", "Reserved\n1")
    assert page.browser.current_url == address
    page.click("To the present")
    page.until(lambda: "at=" not in page.browser.current_url, "the present")
    page.open(f"/orders/{ordered}?at=garbage")
    page.shows("What happened", "OrderFailed")


def test_each_step_of_an_order_shows_what_it_carried_and_why_it_happened(page: Page, ordered: str) -> None:
    page.settings("admin")
    page.open(f"/orders/{ordered}")
    page.shows("OrderFailed", "sets the units aside")
    page.until(lambda: bool(page.all(".lanes .cause[marker-end]")), "the arrows")
    page.click("StockReserved", "//table")
    page.shows("A fact that was recorded", "reservedQuantity", "Payload")
    page.click("reserve-inventory.reserve-inventory", "//section[h3[contains(., 'StockReserved')]]")
    page.shows("A message was handed to a function", "What led to it", "What it led to")
    page.click("CreateOrder", "//table")
    page.shows("A request to change something", "Recorded: OrderCreated.", "Payload", "refuse")
    page.settings()
    page.open(f"/orders/{ordered}")
    page.click("CreateOrder", "//table")
    page.shows("Recorded: OrderCreated.", "Its content is for admins only.")


def test_causes_and_effects_are_followed_from_event_to_event(page: Page, ordered: str) -> None:
    page.settings("admin")
    page.open(f"/events/{ordered}?version=2")
    page.shows("InventoryReserved v2", "What led to it", "What it led to")
    page.click("OrderCreated", "//dl")
    page.shows("OrderCreated v1", "A client's command or a deadline.")
    page.click("StockReserved", "//dl")
    page.shows("StockReserved v2", "No other event.")


def test_a_page_with_a_chosen_step_is_left_as_any_other(page: Page, ordered: str) -> None:
    page.open(f"/orders/{ordered}")
    page.shows("Timeline", "OrderCreated")
    page.click("OrderCreated", "//table")
    page.shows("OrderCreated Events")
    page.click("Overview")
    page.shows("Stuck now")
    page.shows_no_more("This page has failed")


def test_somebody_on_call_finds_a_poisonous_message_in_three_clicks(page: Page, shop: RunningShop) -> None:
    dead_letter(shop, "ProductRenamed", b"poison", **{"ce-type": "ProductRenamed"})
    page.settings("admin")
    page.open("/")
    page.shows("Stuck now", "dead letters", POISONED)
    page.click("Open the dead letters", f"//li[contains(., '{POISONED}')]")
    page.click("ProductRenamed", "//table[.//th[contains(., 'Select')]]")
    page.shows("Payload", "poison", "History")
    page.click("Discard", "//section[@aria-labelledby='letter']")
    page.shows("It cannot be taken back.", "Why (it is recorded)")
    page.browser.find_element(By.CSS_SELECTOR, "dialog[open] textarea").send_keys("made by a test")
    page.click("Discard", "//dialog[@open]")
    page.shows("DISCARDED")
    page.open("/dead-letters?status=PENDING")
    page.shows("No dead letters match.")
    page.open("/audit")
    page.shows("DiscardDeadLetter", "made by a test", "admin")
    page.open("/")
    page.shows("Nothing is stuck")


def test_a_letter_whose_cause_is_gone_is_retried_from_the_overview_and_gone(page: Page, shop: RunningShop) -> None:
    product = shop.product(stock=3)
    asked = '{ pubsubMessages(topic: "product-events", limit: 1) { id messageType payload timestamp } }'
    (message,) = shop.data(asked)["pubsubMessages"]
    attributes = {"ce-id": message["id"], "ce-type": message["messageType"], "ce-time": message["timestamp"]}
    attributes |= {"ce-source": "//shop/product-events", "ce-subject": f"product-{product['id']}"}
    attributes |= {"correlation_id": "a trial", "causation_id": "a trial"}
    dead_letter(shop, message["id"], json.dumps(message["payload"]).encode(), **attributes)
    page.settings("admin")
    page.open("/")
    page.click("Open the dead letters", f"//li[contains(., '{POISONED}')]")
    page.click("ProductCreated", "//table[.//th[contains(., 'Select')]]")
    page.click("Retry", "//section[@aria-labelledby='letter']")
    page.shows("1 message is published again, for the consumer that failed only.")
    page.click("Retry", "//dialog[@open]")
    page.until(lambda: "RETRIED" in page.browser.find_element(By.ID, "letter").text, "the letter to be retried")
    page.open("/dead-letters?status=PENDING")
    page.shows("No dead letters match.")
    page.open("/")
    page.shows("Nothing is stuck")


def test_a_page_of_dead_letters_that_was_emptied_is_no_empty_list(page: Page, shop: RunningShop) -> None:
    for number in range(27):
        dead_letter(shop, f"Poison{number}", b"poison", **{"ce-type": f"Poison{number}"})
    page.settings("admin")
    page.open("/dead-letters?from=garbage")
    page.shows("first choose the status PENDING", "is not a time")
    page.open("/dead-letters?status=PENDING")
    page.shows("27 in total")
    page.click("Next")
    page.until(lambda: len(page.all("main input[type=checkbox]")) == 2, "the second page")
    for box in page.all("main input[type=checkbox]"):
        box.click()
    discard(page, "Discard the selected")
    page.shows("This page is empty now.", "25 in total", "Done: 2.")
    page.click("First page")
    page.until(lambda: len(page.all("main input[type=checkbox]")) == 25, "the first page")
    discard(page, "Discard all of this filter")
    page.shows("Done: 25.", "No dead letters match.")


def discard(page: Page, name: str) -> None:
    page.click(name)
    page.shows("It cannot be taken back.")
    page.browser.find_element(By.CSS_SELECTOR, "dialog[open] textarea").send_keys("made by a test")
    page.click(name, "//dialog[@open]")


def test_an_order_that_is_placed_again_after_a_lost_answer_is_one_order(page: Page, shop: RunningShop) -> None:
    product = shop.product(stock=10, name="the answer is lost")
    page.settings("hanako")
    page.open("/shop?search=the answer is lost")
    page.shows("10 available")
    page.browser.execute_script(LOSE_AN_ANSWER, "mutation CreateOrder")
    page.click("Order", "//ul[@class='shelf']")
    page.shows("The server cannot be reached.")
    page.click("Order", "//ul[@class='shelf']")
    page.until(lambda: "/orders/" in page.browser.current_url, "the order")
    shop.until_ended(page.browser.current_url.rpartition("/")[2])
    orders = shop.data('{ orders(userId: "hanako", limit: 1000) { items { productId } } }')["orders"]
    assert [item["productId"] for order in orders for item in order["items"]].count(product["id"]) == 1


def test_a_stopped_projection_falls_behind_and_catches_up_before_the_viewer_s_eyes(
    page: Page, shop: RunningShop
) -> None:
    page.settings("admin")
    page.open("/lab")
    row = "//li[strong[.='project_orders']]"

    def behind() -> int:
        (shown,) = page.browser.find_elements(By.XPATH, f"{row}//*[@data-behind]")
        return int(shown.get_attribute("data-behind") or 0)

    page.click("Stop", row)
    page.shows("Its read model stays as it is", "goes on by itself after 5 minutes")
    page.browser.find_element(By.CSS_SELECTOR, "dialog[open] textarea").send_keys("a drill")
    page.click("Stop", "//dialog[@open]")
    page.shows("Stopped by admin")
    page.has_a_focus()
    order_id = shop.order(shop.product(stock=10))
    page.until(lambda: behind() >= 5, "a backlog")
    page.open(f"/orders/{order_id}")
    page.shows("Lists and queries do not show it", "OrderConfirmed", "CONFIRMED", "Timeline")
    page.settings("admin", language="ja")
    page.open("/")
    page.shows(
        "admin が project_orders を停止しました", "project_orders を再開してください", "管理者が停止中: project_orders"
    )
    assert not re.search("has stopped|none is|answers|startProjection", page.text)
    page.settings("admin")
    page.open("/")
    page.shows("admin has stopped project_orders")
    page.click("Let it go on", "//li[contains(., 'projection stopped')]")
    page.click("Let it go on", "//dialog[@open]")
    page.shows_no_more("admin has stopped project_orders")
    page.has_a_focus()
    page.open("/lab")
    page.shows("project_orders")
    page.until(lambda: behind() == 0, "no backlog")
    assert shop.until_ended(order_id)[0]["status"] == "CONFIRMED"
    page.open("/audit")
    page.shows("StartProjection", "StopProjection", "a drill")


def test_a_provider_broken_in_the_lab_undoes_orders_until_it_is_repaired_and_the_audit_says_why(
    page: Page, shop: RunningShop, request: pytest.FixtureRequest
) -> None:
    repair = "mutation { setFault(provider: SHIPPING, fault: NONE) { provider } }"
    request.addfinalizer(lambda: shop.data(repair))
    page.settings("admin")
    page.open("/lab")
    row, product = "//li[strong[.='Shipping']]", shop.product(stock=10)

    def make(action: str, reason: str, state: str) -> None:
        page.click(action, row)
        page.until(lambda: bool(page.all("dialog[open] textarea")), "the question for the reason")
        page.browser.find_element(By.CSS_SELECTOR, "dialog[open] textarea").send_keys(reason)
        page.click(action, "//dialog[@open]")
        page.until(lambda: bool(page.browser.find_elements(By.XPATH, f"{row}[span[.='{state}']]")), state)
        page.has_a_focus()

    make("Let it refuse", "a drill with parcels", "refuses")
    assert shop.until_ended(shop.order(product))[0]["status"] == "FAILED"
    make("Repair", "the drill is over", "works")
    assert shop.until_ended(shop.order(product))[0]["status"] == "CONFIRMED"
    page.open("/audit")
    page.shows("SetFault", "a drill with parcels", "the drill is over")


def test_a_trace_leads_to_its_requests_events_and_logs(page: Page, shop: RunningShop) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    made = {"query": 'mutation { createCategory(input: { name: "traced" }) { id } }'}
    headers = {"Authorization": f"Bearer {ADMIN}", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    local_http().post(shop.url, json=made, headers=headers, timeout=60).raise_for_status()
    page.settings("admin")
    page.open("/executions?trace=" + trace)
    page.click("CreateCategory", "//table")
    page.shows("All of the same request", "Logs: grep")
    page.click("Events of the same trace")
    page.shows("CategoryCreated", "1 of 1")
    page.browser.find_element(By.TAG_NAME, "body").send_keys(Keys.CONTROL, "k")
    page.until(lambda: bool(page.all("dialog[open] input")), "the palette")
    page.browser.find_element(By.CSS_SELECTOR, "dialog[open] input").send_keys(trace)
    page.until(lambda: "commands" in page.browser.find_element(By.ID, "palette-results").text, "the trace")
    page.open("/topology?function=create_category")
    page.shows("Logs:", "scripts/logs")
    assert page.all("a[href*='console.cloud.google.com']") == []
    page.settings("taro")
    page.open("/")
    page.browser.find_element(By.TAG_NAME, "body").send_keys(Keys.CONTROL, "k")
    page.until(lambda: bool(page.all("dialog[open] input")), "the palette")
    page.browser.find_element(By.CSS_SELECTOR, "dialog[open] input").send_keys(trace)
    page.shows("are shown to admins only")


def test_a_function_shows_what_it_does_lately_and_the_topology_keeps_its_filters(page: Page) -> None:
    page.settings("admin")
    page.open("/topology?group=query")
    page.click("project_orders", "//table")
    page.until(lambda: "group=query&function=project_orders" in page.browser.current_url, "the filter")
    page.shows("Deliveries", "Failed per minute", "Average ever", "Events behind", "Dead letters")
    page.open("/topology?function=continue_rebuilds")
    page.shows("Schedules", "Last run")


@pytest.mark.parametrize(("person", "role"), [("taro", "reader"), ("hanako", "writer")])
def test_what_a_role_may_not_do_is_disabled_with_the_reason_also_by_its_address(
    page: Page, person: str, role: str
) -> None:
    page.settings(person)
    for path, action in (("/read-models", "Rebuild"), ("/products", "New product"), ("/categories", "Delete")):
        page.open(path)
        page.shows("needs the role admin", role, action)
        assert {*page.browser.execute_script(CLICK_ALL, action)} == {"true"}
        assert page.all("dialog[open]") == []
    for path in ("/dead-letters?status=PENDING", "/audit"):
        page.open(path)
        page.shows("admin")
        assert page.all("main table") == []


def test_a_role_that_is_too_small_is_told_before_a_form_is_filled_in(page: Page) -> None:
    page.open("/products")
    page.click("New product")
    page.shows("Who are you?")
    page.click("taro reader", "//dialog[@open]")
    page.shows_no_more("Who are you?")
    page.shows("taro", "needs the role admin")
    page.quiet()
    assert page.all("dialog[open]") == []


def test_an_admin_erases_a_customer_after_being_told_what_happens(page: Page, shop: RunningShop) -> None:
    order_id = shop.order(shop.product(stock=10), userId="umeko")
    shop.until_ended(order_id)
    page.settings("taro")
    page.open(f"/orders/{order_id}")
    page.shows("Erase the customer", "needs the role admin")
    page.settings("admin")
    page.open(f"/orders/{order_id}")
    page.shows("umeko")
    page.click("Erase the customer")
    page.shows("Erase the customer umeko", "become unreadable", "are cancelled", "It cannot be undone")
    page.click("Erase the customer", "//dialog[@open]")
    page.shows("It must not name the customer")  # a reason is required
    page.browser.find_element(By.CSS_SELECTOR, "dialog[open] textarea").send_keys("made by a test")
    page.click("Erase the customer", "//dialog[@open]")
    page.shows("Erased, and recorded on 1 order.", "OrderErased")
    page.shows_no_more("umeko")
    page.has_a_focus()
    page.settings("admin", language="ja")
    page.open(f"/orders/{order_id}")
    page.shows("消去済み")
    assert "顧客を消去" not in page.text
    page.open(f"/events/{order_id}")
    page.shows('"userId": "消去済み"')
    assert '"erased"' not in page.text


def test_what_needs_sign_in_asks_for_it_and_goes_on_afterwards(page: Page, ordered: str) -> None:
    page.open("/orders?user=hanako")
    page.shows("Sign in to go on.")
    page.click("Sign in", "//main")
    page.click("admin admin")
    page.shows("in total", ordered[-8:])
    assert page.browser.current_url.endswith("/orders?user=hanako")
    # The browser's clock is two hours late, until the first click.
    late = "let late = 7_200_000; addEventListener('click', () => { late = 0; }, true);"
    script = f"{late} const now = Date.now.bind(Date); Date.now = () => now() - late;"
    added = page.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    try:
        page.open("/orders?user=hanako")
        page.shows("Your sign-in is no longer valid.")
        page.click("admin admin", "//dialog[@open]")
        page.shows_no_more("Your sign-in is no longer valid.")
        page.shows("in total", ordered[-8:])
    finally:
        page.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


@pytest.mark.parametrize(
    ("language", "order", "product"),
    [("en", "There is no order", "There is no product"), ("ja", "は存在しません", "は存在しません")],
)
def test_what_does_not_exist_is_said_to_be_missing(page: Page, language: str, order: str, product: str) -> None:
    page.settings(language=language)
    for path, words in (("/orders/", order), ("/products/", product), ("/events/", order.removesuffix(" order"))):
        page.open(f"{path}01a2238a-5c99-704a-8bb1-88574a01e89d")
        page.shows(words)
        assert "does not exist" not in page.text


def test_an_admin_rebuilds_a_read_model_after_being_asked(page: Page) -> None:
    page.settings("admin")
    page.open("/read-models")
    page.click("Rebuild", "//section[.//h2[contains(., 'project_products')]]")
    page.shows("A new generation of project_products is filled")
    page.click("Rebuild", "//dialog[@open]")
    page.shows("The other generation is what the events make", "Generation 1 is read; 2 is")
    page.click("Differences")
    page.shows("There are none.")
    for to, other in ((2, 1), (1, 2)):
        page.click(f"Read generation {to}")
        page.click(f"Read generation {to}", "//dialog[@open]")
        page.shows(f"Generation {to} is read; {other} is")
    page.click("Drop generation 2")
    page.click("Drop generation 2", "//dialog[@open]")
    page.shows("there is no way back to it")  # a reason is required
    page.browser.find_element(By.CSS_SELECTOR, "dialog[open] textarea").send_keys("made by a test")
    page.click("Drop generation 2", "//dialog[@open]")
    page.shows_no_more("Drop generation 2")
    page.has_a_focus()


def test_the_last_hour_is_drawn_with_its_values_and_the_time_that_is_pointed_at(page: Page, shop: RunningShop) -> None:
    local_http().post(f"http://127.0.0.1:{shop.port + 2}/report_metrics", timeout=60).raise_for_status()
    page.open("/")
    page.shows("Messages in outboxes", "Sagas stuck")
    slider = page.browser.find_element(By.ID, "minute")
    assert slider.get_attribute("aria-valuetext") == "now"

    def first_minute_is_shown() -> bool:
        """Look at all of it again when it does not agree: with each minute the charts move on."""
        labels = [one.get_attribute("aria-label") or "" for one in page.all(".chart svg[role=img]")]
        (outboxes,) = [label for label in labels if label.startswith("Messages in outboxes")]
        assert re.fullmatch(r"Messages in outboxes, \d\d:\d\d to \d\d:\d\d: now \d+, highest \d+", outboxes)
        slider.send_keys(Keys.HOME)
        (value,) = [one.text for one in page.all(".chart") if one.text.startswith("Messages in outboxes")]
        an_hour_ago = slider.get_attribute("aria-valuetext") == outboxes.split()[3]
        return an_hour_ago and value.splitlines()[1] == "–"  # an hour ago there was no shop

    page.until(first_minute_is_shown, "the first minute")


def test_everything_is_there_in_japanese_and_in_english(page: Page) -> None:
    page.settings(language="ja")
    page.open("/")
    page.shows("概要", "今止まっているもの")
    assert page.browser.find_element(By.TAG_NAME, "html").get_attribute("lang") == "ja"
    page.click("English")
    page.shows("Overview", "Stuck now")
    page.browser.refresh()
    page.shows("Stuck now")


@pytest.mark.parametrize(
    ("person", "language", "theme", "width"),
    [(None, "en", "light", 1400), ("admin", "ja", "light", 1400), ("admin", "en", "dark", 390)],
)
def test_every_page_opens_at_its_address_and_axe_finds_nothing_serious(
    page: Page, details: list[str], person: str | None, language: str, theme: str, width: int
) -> None:
    page.settings(person, language, theme)
    page.resize(width)
    found = {}
    for path in (*PATHS, *details, "/no/such/page"):
        page.open(path)
        page.quiet()
        found[path] = page.violations()
    page.browser.find_element(By.TAG_NAME, "body").send_keys(Keys.CONTROL, "k")
    page.until(lambda: bool(page.all("dialog[open] input")), "the palette")
    found["the palette"] = page.violations()
    assert complaints(found) == ""
    assert page.log() == []


@pytest.mark.parametrize(("width", "language"), [(320, "ja"), (390, "en"), (3840, "en")])
def test_no_page_and_no_table_is_wider_than_the_screen(
    page: Page, details: list[str], width: int, language: str
) -> None:
    page.settings("admin", language)
    page.resize(width)
    widths, sideways = {}, {}
    for path in (*PATHS, *details):
        page.open(path)
        page.quiet()
        widths[path], sideways[path] = page.width(), page.sideways()
    assert {path: found for path, found in widths.items() if found > width} == {}
    assert {path: found for path, found in sideways.items() if found} == {}


@pytest.mark.parametrize("shown", [36, 8], ids=["id", "end of the id"])
def test_the_palette_finds_an_order_by_its_id_with_the_keyboard_alone(page: Page, ordered: str, shown: int) -> None:
    page.settings("admin")
    page.open("/")
    body = page.browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.CONTROL, "k")
    page.until(lambda: bool(page.all("dialog[open] input")), "the palette")
    page.browser.find_element(By.CSS_SELECTOR, "dialog[open] input").send_keys(ordered[-shown:])
    page.until(lambda: "order" in page.browser.find_element(By.ID, "palette-results").text, "the order")
    page.browser.find_element(By.CSS_SELECTOR, "dialog[open] input").send_keys(Keys.ENTER)
    page.until(lambda: page.browser.current_url.endswith(f"/orders/{ordered}"), "the order's page")
    page.has_a_focus()


def test_a_failed_query_is_never_shown_as_nothing_there(page: Page) -> None:
    page.open("/orders")
    page.shows("in total")
    page.browser.execute_cdp_cmd("Network.enable", {})
    page.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/graphql"]})
    page.click("Products")
    page.shows("The server cannot be reached.")
    assert "No products match." not in page.text
    page.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    page.click("Try again")
    page.shows("in total")


def create_categories(page: Page, shop: RunningShop, number: int) -> list[str]:
    """Create categories, and return the ids of the commands, once these are recorded."""
    created = "mutation ($name: String!) { createCategory(input: { name: $name }) { id } }"
    made = [shop.data(created, name=f"crowd {uuid7()}")["createCategory"]["id"] for _ in range(number)]
    listed = """{ commandExecutionsConnection(first: 200, filter: { name: "CreateCategory" }) {
        edges { node { id aggregateId } } } }"""
    found = dict[str, str]()

    def recorded() -> bool:
        edges = shop.data(listed)["commandExecutionsConnection"]["edges"]
        found.update({edge["node"]["aggregateId"]: edge["node"]["id"] for edge in edges})
        return found.keys() >= {*made}

    page.until(recorded, "the commands to be recorded")
    return [found[one] for one in made]


def test_a_chosen_message_stays_in_its_address_and_one_that_does_not_exist_is_said_to_be_none(
    page: Page, shop: RunningShop, ordered: str
) -> None:
    page.settings("admin")
    page.open("/messages?topic=order-events&id=gone")
    page.shows("live", "OrderCreated", "It is not among the newest messages listed here.")
    page.click("Pause")
    page.shows("paused")
    page.click("OrderCreated")
    page.shows_no_more("It is not among")
    page.until(lambda: "at=" in page.browser.current_url, "the message's time in the address")
    (payload,) = [one.text for one in page.all("section.panel pre")]
    chosen = page.browser.current_url.removeprefix(page.address)
    create_categories(page, shop, 51)  # which push it out of the 50 that the page lists
    page.open(chosen.replace("topic=order-events", "topic=category-events"))
    page.shows("There is no such message, or it is no longer kept.")  # it is of another topic
    page.open(chosen.replace("topic=order-events&", ""))
    page.shows("CategoryCreated", "OrderCreated")
    page.until(lambda: [one.text for one in page.all("section.panel pre")] == [payload], "the message")


def test_a_chosen_execution_stays_in_its_address_also_off_the_page(page: Page, shop: RunningShop) -> None:
    (chosen,) = create_categories(page, shop, 1)
    create_categories(page, shop, 26)  # which push it off the page of 25
    page.settings("admin")
    page.open(f"/executions?name=CreateCategory&id={chosen}")
    page.until(lambda: len(page.all(".table-place tbody tr")) == 25, "a full page")
    page.until(lambda: len(page.all("section.panel pre")) == 1, "what was asked")
    assert page.all("td button[aria-pressed=true]") == []
    page.open("/executions?id=0190b1b6-7c5e-7000-8000-000000000001")
    page.shows("There is no such execution, or it is no longer kept.")
    page.open("/executions?id=gone")
    page.until(lambda: any("INVALID_INPUT" in one.text for one in page.all("section.panel .failed")), "the refusal")
    page.click("Close", "//main")
    page.until(lambda: "id=" not in page.browser.current_url, "the panel to be closed")


def test_a_console_that_cannot_start_says_so_and_can_be_tried_again(page: Page) -> None:
    page.browser.execute_cdp_cmd("Network.enable", {})
    page.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/console/config.json"]})
    page.browser.get(f"{page.address}/products")
    page.shows("The server cannot be reached.")
    page.browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    page.click("Try again")
    page.shows("in total")


STREAM_SECONDS = 6


@pytest.fixture
def service(tmp_path: Path, event_store_url: str, command_url: str, built: Path) -> Iterator[ClientService]:
    limits = {"SUBSCRIPTION_MAX_SECONDS": str(STREAM_SECONDS)}
    server = ClientService(tmp_path, event_store_url, command_url, CONSOLE_DIRECTORY=str(built), **limits)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def happens(event_store_pool: Pool) -> Callable[..., None]:
    """Append events of one stream, with the given versions."""
    store = PostgresEventStore(event_store_pool)

    def append(*versions: int) -> None:
        store.append(Append([event("product-01a2238a-5c99-704a-8bb1-88574a01e89d", version) for version in versions]))

    return append


def test_live_events_go_on_without_a_gap_after_a_restart_and_long_lists_stay_fast(
    service: ClientService, tmp_path: Path, happens: Callable[..., None]
) -> None:
    happens(*range(1, 1001))
    with chromium(tmp_path / "profile") as browser:
        page = Page(browser, service.url.removesuffix("/graphql"))
        page.settings()
        page.open("/events")
        page.shows("live", "v1000")
        happens(1001)
        page.shows("v1001")
        service.kill()
        page.shows("reconnecting")
        happens(1002, 1003)
        service.start()
        page.shows("v1003", "v1002", "v1001", "v1000")
        rows = [re.search(r"v(\d+)", row.text) for row in page.all(".virtual-row")]
        versions = [int(found[1]) for found in rows if found]
        assert versions == [*range(1003, 1003 - len(versions), -1)]
        assert len(versions) < 60  # of a thousand


def test_numbers_that_cannot_be_read_anew_grow_old(
    service: ClientService, tmp_path: Path, event_store_url: str
) -> None:
    with chromium(tmp_path / "profile") as browser:
        page = Page(browser, service.url.removesuffix("/graphql"))
        page.settings()
        page.open("/")
        page.shows("Events per minute", "live")
        page.until(lambda: not page.all(".tiles.old"), "new numbers")
        with psycopg.connect(event_store_url) as connection:
            connection.execute("LOCK TABLE events")
            page.shows("no new numbers: a database may be down")
            page.until(lambda: bool(page.all(".tiles.old")), "old numbers")
        page.shows_no_more("no new numbers")
        page.until(lambda: not page.all(".tiles.old"), "new numbers")


def test_without_the_sandbox_there_is_no_fault_lab(
    tmp_path: Path, event_store_url: str, command_url: str, built: Path
) -> None:
    server = ClientService(tmp_path, event_store_url, command_url, CONSOLE_DIRECTORY=str(built), FAULT_LAB="false")
    server.start()
    try:
        with chromium(tmp_path / "profile") as browser:
            page = Page(browser, server.url.removesuffix("/graphql"))
            page.settings()
            page.open("/lab")
            page.shows("There is no fault lab here")
            assert page.all("main button") == page.all("nav a[href='/lab']") == []
            page.browser.find_element(By.TAG_NAME, "body").send_keys(Keys.CONTROL, "k")
            page.until(lambda: bool(page.all("#palette-results li")), "the palette")
            assert "Fault lab" not in page.browser.find_element(By.ID, "palette-results").text
    finally:
        server.stop()


def test_live_events_go_on_without_a_gap_after_a_long_pause_and_after_the_end_of_a_stream(
    service: ClientService, tmp_path: Path, happens: Callable[..., None]
) -> None:
    happens(*range(1, 11))
    with chromium(tmp_path / "profile") as browser:
        page = Page(browser, service.url.removesuffix("/graphql"))
        page.settings()
        page.open("/events?paused=1")
        page.shows("10 of 10 loaded")
        happens(*range(11, 311))
        page.click("Resume")
        page.shows("v310", "200 of 310 loaded")
        browser.execute_script("document.querySelector('.virtual').scrollTop = 1e6")
        page.shows("310 of 310 loaded")
        time.sleep(STREAM_SECONDS + 1)
        happens(311)
        page.shows("live", "311 of 311 loaded")
