"""The job that asks every function whether it is ready, against functions of this process over
HTTP."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from scripts.local.readiness import main, not_ready
from shared.config.manifest import manifest
from shared.domain.errors import Unavailable
from shared.monitoring.health import Checkup
from tests.shop_in_memory import ShopInMemory, served
from tests.stand_ins import raising, with_methods


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """Serve all functions of the shop of whichever test runs, and yield the address of each."""
    with ExitStack() as stack:
        address = {service: stack.enter_context(served(service)) for service in ("client", "command", "query")}
        yield {
            one.name: address[one.service] + ("" if one.name == "graphql" else f"/{one.name}")
            for one in manifest().functions.values()
        }


@pytest.fixture
def urls(shop: ShopInMemory, addresses: dict[str, str]) -> dict[str, str]:
    shop.engines.checkup = Checkup(keep_seconds=0)
    return addresses


def token(url: str) -> str:
    return f"for {url}"


def test_all_functions_are_asked(urls: dict[str, str]) -> None:
    assert set(urls) == set(manifest().functions)
    assert not_ready(urls, token, patience=0) == {}


def test_every_function_that_is_not_ready_is_named_with_the_reason(shop: ShopInMemory, urls: dict[str, str]) -> None:
    broken = with_methods(shop.engines.read_models, update=raising(Unavailable("Firestore does not answer")))
    shop.engines.read_models = broken
    reasons = not_ready(urls, token, patience=0)
    assert set(reasons) == {one.name for one in manifest().functions.values() if "firestore" in one.uses}
    assert reasons["project_orders"] == "503 firestore Firestore does not answer"


def test_a_function_that_cannot_be_reached_is_named(urls: dict[str, str]) -> None:
    reasons = not_ready({**urls, "create_order": "http://127.0.0.1:9"}, token, patience=0)
    assert list(reasons) == ["create_order"] and "no answer" in reasons["create_order"]


def test_it_asks_again_while_a_function_starts(shop: ShopInMemory, urls: dict[str, str]) -> None:
    works = shop.engines.read_models
    shop.engines.read_models = with_methods(works, update=raising(Unavailable("not yet")))

    def start() -> None:
        time.sleep(1)
        shop.engines.read_models = works

    starting = threading.Thread(target=start)
    starting.start()
    assert not_ready(urls, token, patience=20) == {}
    starting.join()


def test_the_job_says_which_functions_are_not_ready_and_fails(
    urls: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("READINESS_SECONDS", "0")
    monkeypatch.setenv("FUNCTION_URLS", json.dumps(urls))
    assert main(token) == 0
    monkeypatch.setenv("FUNCTION_URLS", json.dumps({**urls, "fail_order": "http://127.0.0.1:9"}))
    assert main(token) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said if " is not ready: " in line] == ["fail_order is not ready"]
    assert said[-1] == f"{len(urls) - 1} of {len(urls)} functions are ready"


def test_asking_changes_nothing(shop: ShopInMemory, urls: dict[str, str]) -> None:
    not_ready(urls, token, patience=0)
    assert shop.log() == [] and httpx.get(f"{urls['graphql']}/health/live", timeout=60).status_code == 200
