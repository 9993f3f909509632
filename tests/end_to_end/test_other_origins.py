"""A page of another origin calls the shop from a real browser, with the headers that clients
send."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from shared.config.settings import Settings
from tests.shop_in_memory import ADMIN, Json, ShopInMemory, served, shop

__all__ = ["shop"]

_FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-dev-shm-usage"""

CALL = """
const [url, token, done] = arguments;
const ask = async (query, more) => {
  const response = await fetch(url, {
    method: "POST",
    body: JSON.stringify({ query }),
    ...more,
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}`, ...more?.headers },
  });
  const shown = ["consistency", "retry-after", "www-authenticate"].map((name) => [name, response.headers.get(name)]);
  return { status: response.status, ...Object.fromEntries(shown), answer: await response.json() };
};
const firstEvent = async () => {
  const response = await fetch(`${url}?query=subscription{eventStream{id}}`, {
    headers: { Accept: "text/event-stream", Authorization: `Bearer ${token}`, "Last-Event-ID": "" },
  });
  const { value } = await response.body.getReader().read();
  return new TextDecoder().decode(value).slice(0, 3);
};
(async () => {
  const made = await ask('mutation { createCategory(input: { name: "Tea" }) { name } }', {
    headers: { "Idempotency-Key": "one" },
    credentials: "include",
  });
  const seen = await ask("{ categories { name } }", { headers: { Consistency: made.consistency } });
  const expired = await ask("{ categories { name } }", { headers: { Authorization: "Bearer expired" } });
  let refused;
  do refused = await ask("{ categories { name } }", { headers: { Authorization: "Bearer expired" } });
  while (refused.status === 200);
  return { made, seen, expired, refused, event: await firstEvent() };
})().then((result) => done(JSON.stringify(result)), (error) => done(JSON.stringify(String(error))));
"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>a front end</title>")

    def log_message(self, *_: Any) -> None:
        """Keep the test's output short."""


@contextmanager
def front_end() -> Iterator[str]:
    """Serve a page, and yield its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@pytest.fixture
def shop_settings() -> Settings:
    return Settings(profile="memory", sign_in_required=True, rate_limit_anonymous=5)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in [*_FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    browser = Chrome(options, Service(driver))
    browser.set_script_timeout(60)
    yield browser
    browser.quit()


def called(browser: Chrome, origin: str, shop_url: str) -> Json | str:
    browser.get(origin)
    found: Json | str = json.loads(browser.execute_async_script(CALL, f"{shop_url}/graphql", ADMIN))
    return found


def test_a_page_of_an_allowed_origin_calls_the_shop(shop: ShopInMemory, browser: Chrome) -> None:
    with front_end() as allowed, front_end() as other, served("client") as url:
        shop.engines.settings = replace(shop.engines.settings, allowed_origins=(allowed,))
        result = called(browser, allowed, url)
        assert isinstance(result, dict), result
        assert result["made"]["answer"]["data"] == {"createCategory": {"name": "Tea"}}
        assert result["seen"]["answer"]["data"] == {"categories": [{"name": "Tea"}]}
        assert result["seen"]["answer"]["extensions"]["consistency"]["consistent"] is True
        assert result["expired"]["www-authenticate"] == 'Bearer error="invalid_token"'
        assert (result["refused"]["status"], int(result["refused"]["retry-after"]) > 0) == (429, True)
        assert result["event"] == "id:"
        events = shop.log()
        assert "Failed to fetch" in str(called(browser, other, url))
        assert shop.log() == events
