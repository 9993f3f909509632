"""A headless Chromium that uses the console as a person does: by the words on the screen."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from scripts.local.console import SOURCES

_FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1400,900 --lang=en"""
AXE = SOURCES / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE = 120
"""Seconds; the machine may be busy."""


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """Start a browser. Where there is none, skip the test with the reason."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in [*_FLAGS.split(), f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    browser = Chrome(options, Service(driver))
    browser.set_script_timeout(120)  # axe looks at every element of a page
    try:
        yield browser
    finally:
        browser.quit()


class Page:
    """The console at `address`, seen through a browser."""

    def __init__(self, browser: Chrome, address: str) -> None:
        self.browser, self.address = browser, address

    def open(self, path: str) -> None:
        self.browser.get(f"{self.address}{path}")
        self.until(lambda: bool(self.browser.find_elements(By.CSS_SELECTOR, "main h1")), path)

    def settings(self, person: str | None = None, language: str = "en", theme: str = "light") -> None:
        """Choose what the console remembers, without clicking."""
        self.browser.get(f"{self.address}/console/config.json")
        chosen = {"console.person": person, "console.language": language, "console.theme": theme}
        for name, value in chosen.items():
            given = f"setItem({name!r}, {value!r})" if value else f"removeItem({name!r})"
            self.browser.execute_script(f"localStorage.{given}")

    def resize(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    @property
    def text(self) -> str:
        """What a person reads. WebElement.text would ask for the style of every element."""
        return str(self.browser.execute_script("return document.body?.innerText ?? ''"))

    def shows(self, *texts: str) -> None:
        """Wait until all texts are on the page."""

        def shown() -> bool:
            on_the_page = self.text
            return all(text in on_the_page for text in texts)

        self.until(shown, f"{texts} on the page")

    def shows_no_more(self, text: str) -> None:
        self.until(lambda: text not in self.text, f"{text!r} to be gone")

    def click(self, name: str, within: str = "") -> None:
        """Click the first visible link or button with this name. `within`: an XPath."""
        named = f"normalize-space(.)='{name}' or @aria-label='{name}'"
        path = f"{within}//*[self::a or self::button][{named}]"

        def clicked() -> bool:
            for element in self.browser.find_elements(By.XPATH, path):
                try:
                    if element.is_displayed() and element.get_attribute("aria-disabled") != "true":
                        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
                        element.click()
                        return True
                except WebDriverException:
                    continue  # it moved or was drawn again: look for it again
            return False

        self.until(clicked, f"{name!r} to click")

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def until(self, happened: Callable[[], bool], what: str) -> None:
        ends = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < ends, f"waited for {what} at {self.browser.current_url}: {self.text[:1500]}"
            time.sleep(0.1)

    def focused(self) -> str:
        """Return the tag of the element that has the focus; BODY when it is lost."""
        return str(self.browser.execute_script("return document.activeElement?.tagName ?? 'BODY'"))

    def has_a_focus(self) -> None:
        """Wait until an element has the focus: what a change has removed gives it to another."""
        self.until(lambda: self.focused() not in ("BODY", "HTML"), "a focus")

    def quiet(self) -> None:
        """Wait until nothing is on its way any more."""
        self.until(lambda: not self.all(".loading"), "an answer")

    def width(self) -> int:
        """Return how wide the page is, beyond the screen too."""
        return int(self.browser.execute_script("return document.documentElement.scrollWidth"))

    def sideways(self) -> list[str]:
        """Return the tables that scroll sideways."""
        run = """return [...document.querySelectorAll(".table-place")]
            .filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.ariaLabel)"""
        found: list[str] = self.browser.execute_script(run)
        return found

    def violations(self) -> list[str]:
        """Return what axe finds serious or critical."""
        self.browser.execute_script(AXE.read_text())
        run = """const done = arguments[0];
            axe.run({resultTypes: ["violations"]}).then(({violations}) => done(JSON.stringify(violations)))"""
        found: list[dict[str, Any]] = json.loads(self.browser.execute_async_script(run))
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0].get('failureSummary', '')[:300]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    def log(self) -> list[str]:
        """Return what the browser complained of, except for refused requests."""
        entries: list[dict[str, str]] = self.browser.get_log("browser")  # type: ignore[no-untyped-call]
        return [one["message"] for one in entries if "Failed to load resource" not in one["message"]]
