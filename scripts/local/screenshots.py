"""Take the screenshots of the console's README from a running shop: python -m
scripts.local.screenshots [URL]."""

import base64
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from scripts.local import running
from scripts.local.console import SOURCES
from scripts.local.local_http import local_http
from scripts.local.seed import ask

FOLDER = SOURCES / "screenshots"
WIDTH, HEIGHT, PHONE = 1200, 800, 390
QUALITY = 60  # of WebP, of 100
SECONDS_TO_DRAW, SECONDS_TO_LOAD = 4.0, 60.0
_FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-dev-shm-usage"
_SET_FAULT = """mutation ($fault: Fault!, $reason: String) {
    setFault(provider: SHIPPING, fault: $fault, reason: $reason) { provider }
}"""
_SOURCE = "project-orders.order-events"
_CREATE = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } } }"


def main(address: str) -> int:
    product_id, order_id = _orders(f"{address}/graphql")
    _operate(address)
    pages = {
        "overview": "/",
        "order": f"/orders/{order_id}",
        "orders": "/orders",
        "products": "/products",
        "product": f"/products/{product_id}",
        "categories": "/categories",
        "shop-window": "/shop",
        "sagas": "/sagas",
        "events": "/events",
        "stream": f"/events/{order_id}",
        "messages": "/messages",
        "dead-letters": "/dead-letters",
        "read-models": "/read-models",
        "topology": "/topology",
        "function": "/topology?function=process_payment",
        "commands-and-queries": "/executions",
        "fault-lab": f"/lab?order={order_id}",
        "audit": "/audit",
        "glossary": "/glossary",
    }
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as profile:
        browser = _browser(Path(profile))
        try:
            _choose(browser, address, theme="light")
            for name, path in pages.items():
                _take(browser, f"{address}{path}", FOLDER / f"{name}.webp", WIDTH)
            for name in ("order", "sagas"):
                _take(browser, f"{address}{pages[name]}", FOLDER / f"{name}-phone.webp", PHONE)
            _choose(browser, address, theme="dark", language="ja")
            _take(browser, address, FOLDER / "overview-dark-ja.webp", WIDTH)
        finally:
            browser.quit()
    return 0


def _orders(url: str) -> tuple[str, str]:
    """Place an order with each ending; return the ids of their product and of the order with the
    most steps to undo."""
    product = ask(url, '{ products(limit: 1, sortBy: "price") { id name price } }')["products"][0]
    line = {"productId": product["id"], "productName": product["name"], "quantity": 1, "unitPrice": product["price"]}
    placed = ""
    for methods in ({}, {"paymentMethod": "decline"}, {"paymentMethod": "fail-2"}, {"shippingMethod": "refuse"}):
        given = {"userId": "hanako", "items": [line], **methods}
        placed = str(ask(url, _CREATE, {"input": given})["createOrder"]["order"]["id"])
    time.sleep(SECONDS_TO_DRAW * 2)
    return product["id"], placed


def _operate(address: str) -> None:
    """Leave something for the audit, and a dead letter."""
    try:
        ask(f"{address}/graphql", _SET_FAULT, {"fault": "REFUSES", "reason": "a drill"})
    finally:
        ask(f"{address}/graphql", _SET_FAULT, {"fault": "NONE", "reason": "the drill is over"})
    given_up = {
        "CloudPubSubDeadLetterSourceSubscription": _SOURCE,
        "CloudPubSubDeadLetterSourceDeliveryCount": "10",
    }
    message = {"messageId": "screenshots", "data": base64.b64encode(b"{}").decode(), "attributes": given_up}
    push = {"message": message, "subscription": f"projects/p/subscriptions/record-dead-letter.{_SOURCE}.dead"}
    url = urlsplit(address)
    command = f"{url.scheme}://{url.hostname}:{(url.port or 80) + 1}"
    local_http().post(f"{command}/record_dead_letter", json=push, timeout=SECONDS_TO_LOAD).raise_for_status()


def _browser(profile: Path) -> Chrome:
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in [*_FLAGS.split(), f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    return Chrome(options, Service(shutil.which("chromedriver") or "chromedriver"))


def _choose(browser: Chrome, address: str, **settings: str) -> None:
    browser.get(f"{address}/console/config.json")
    for name, value in {"person": "admin", "language": "en", **settings}.items():
        browser.execute_script(f"localStorage.setItem('console.{name}', '{value}')")


def _is_drawn(page: Chrome) -> bool:
    """Return whether the page's title is there and no answer is on its way."""
    return bool(page.find_elements(By.CSS_SELECTOR, "main h1")) and not page.find_elements(By.CSS_SELECTOR, ".loading")


def _take(browser: Chrome, address: str, file: Path, width: int) -> None:
    metrics = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(address)
    WebDriverWait(browser, SECONDS_TO_LOAD).until(_is_drawn)
    time.sleep(SECONDS_TO_DRAW)  # for lists that follow, and charts with more than one reading
    WebDriverWait(browser, SECONDS_TO_LOAD).until(_is_drawn)
    wanted: dict[str, Any] = {"format": "webp", "quality": QUALITY}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", wanted)
    file.write_bytes(base64.b64decode(shot["data"]))
    print(file.relative_to(SOURCES), f"{file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].rstrip("/") if len(sys.argv) > 1 else running.found().url.removesuffix("/graphql")))
