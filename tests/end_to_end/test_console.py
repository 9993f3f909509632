"""GraphiQL runs queries in a real browser, and shows the results of subscriptions as they
arrive."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from scripts.local.console import build_console
from scripts.local.local_http import local_http
from scripts.local.shop import CONSOLE
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append
from shared.postgres.pool import Pool
from tests.end_to_end.browser import chromium
from tests.end_to_end.client_service import ClientService, event


@pytest.fixture
def address(tmp_path: Path, event_store_url: str, command_url: str) -> Iterator[ClientService]:
    """Run the client service with the console, for one subscriber at a time."""
    reasons: list[str] = []
    if not build_console(CONSOLE, reasons.append):
        pytest.skip(reasons[-1])
    server = ClientService(tmp_path, event_store_url, command_url, CONSOLE_DIRECTORY=str(CONSOLE), MAX_SUBSCRIBERS="1")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "profile") as browser:
        yield browser


def until(happened: Callable[[], bool], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < ends
        time.sleep(0.1)


def run(browser: Chrome, query: str) -> None:
    """Replace the editor's text with the query, and press the button."""

    def typed() -> bool:
        browser.find_element(By.CSS_SELECTOR, ".graphiql-query-editor .view-lines").click()
        clear = ActionChains(browser).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).send_keys(Keys.DELETE)
        clear.send_keys(query).send_keys(Keys.ESCAPE).perform()  # closes the list of suggestions
        return text(browser, ".graphiql-query-editor") == query

    until(lambda: bool(browser.find_elements(By.CSS_SELECTOR, ".graphiql-query-editor .view-line")))
    until(typed)  # a suggestion that comes late may change what is typed
    press(browser)


def press(browser: Chrome) -> None:
    browser.find_element(By.CSS_SELECTOR, ".graphiql-execute-button").click()


def answer(browser: Chrome) -> str:
    return text(browser, ".graphiql-response")


def text(browser: Chrome, editor: str) -> str:
    """Return what the editor shows, in one line."""
    shown = browser.find_elements(By.CSS_SELECTOR, f"{editor} .view-lines")
    return " ".join(shown[0].text.split()) if shown else ""


def test_the_console_shows_events_as_they_happen(
    address: ClientService, browser: Chrome, event_store_pool: Pool
) -> None:
    store = PostgresEventStore(event_store_pool)

    def happens(version: int) -> None:
        store.append(Append([event("product-7", version)]))

    browser.get(address.url)
    run(browser, "{ categories { id } }")
    until(lambda: '"categories": []' in answer(browser))
    run(browser, "subscription { eventStream { eventVersion } }")
    address.wait_for(1)
    versions = itertools.count(1)

    def is_shown_at_once() -> bool:
        """Let another event happen. The first may happen before the subscription looks."""
        happens(version := next(versions))
        time.sleep(1)
        return f'"eventVersion": {version}' in answer(browser)

    until(is_shown_at_once)
    happens(further := next(versions))
    until(lambda: f'"eventVersion": {further}' in answer(browser))
    address.kill()
    happens(missed := next(versions))
    address.start()
    until(lambda: f'"eventVersion": {missed}' in answer(browser))  # appended while the service was down
    press(browser)  # the button ends the subscription
    address.wait_for(0)
    run(browser, 'subscription { pubsubStream(topic: "nothing") { id } }')
    until(lambda: "INVALID_INPUT" in answer(browser))
    asked = {"json": {"query": "subscription { eventStream { id } }"}, "headers": {"Accept": "text/event-stream"}}
    with local_http().stream("POST", address.url, **asked) as other:  # type: ignore[arg-type]
        chunks = other.iter_bytes()  # the reference keeps the stream open
        next(chunks)
        run(browser, "subscription { eventStream { id } }")
        until(lambda: "too many subscribers" in answer(browser))  # the error is shown, and not retried silently
    log = [str(entry) for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]
    assert [entry for entry in log if "Content Security Policy" in entry] == []
