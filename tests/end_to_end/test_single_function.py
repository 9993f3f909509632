"""Any function runs alone under the functions framework's own command."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from uuid_utils.compat import uuid7

from scripts.local.local_http import local_http
from scripts.local.token import emulator_token
from shared.config.manifest import ROOT, manifest
from tests.end_to_end.running_shop import wait_until
from tests.ports import free_port

ADMIN = {"X-Actor": "ann", "X-Role": "admin", "Content-Type": "application/json"}


@contextmanager
def alone(name: str, **environment: str) -> Iterator[str]:
    """Run one function in its own process and yield its URL."""
    function, port = manifest().functions[name], free_port()
    command = [Path(sys.executable).with_name("functions-framework"), "--source", function.source, "--target", name]
    process = subprocess.Popen(
        [*map(str, command), "--port", str(port), "--host", "127.0.0.1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PROFILE": "memory", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(url), 120)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        local_http().get(url, timeout=5)
    except httpx.TransportError:
        return False
    return True


def _sent_before_it_listens(url: str, body: bytes) -> int:
    """Return the status for a client that, unlike httpx, sends its whole request before it reads
    the response."""
    with closing(HTTPConnection(url.removeprefix("http://"), timeout=60)) as connection:
        connection.request("POST", "/", body, {"Content-Type": "application/json", "Connection": "close"})
        with connection.getresponse() as response:
            return response.status


@pytest.fixture(scope="module")
def url_of() -> Iterator[Callable[[str], str]]:
    """Yield a function that starts a function alone, at its first use, and returns its URL."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(alone(name, FIREBASE_AUTH_EMULATOR_HOST="127.0.0.1:9099")))


def test_a_command_runs_alone(url_of: Callable[[str], str]) -> None:
    url = url_of("create_category")
    made = local_http().post(url, json={"categoryId": str(uuid7()), "name": "お茶"}, headers=ADMIN)
    assert made.status_code == 200
    assert made.json()["entity"]["name"] == "お茶"
    large = local_http().post(url, content=b"x" * 10_000_000, headers=ADMIN)
    assert (large.status_code, large.json()["code"]) == (422, "INVALID_INPUT")


def test_graphql_runs_alone(url_of: Callable[[str], str]) -> None:
    url = url_of("graphql")
    assert local_http().post(url, json={"query": "{ products { id } }"}).json() == {"data": {"products": []}}
    assert _sent_before_it_listens(url, b"x" * 10_000_000) == 413
    ask = {"query": f'mutation {{ deleteProduct(id: "{uuid7()}") {{ success }} }}'}
    signed_in = {"Authorization": f"Bearer {emulator_token('a@example.com', role='admin')}"}
    down = local_http().post(url, json=ask, headers=signed_in).json()
    assert down["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"


@pytest.mark.parametrize("name", ["project_orders", "order_saga", "reserve_inventory", "record_dead_letter"])
def test_a_function_that_pubsub_calls_runs_alone(url_of: Callable[[str], str], name: str) -> None:
    assert local_http().post(url_of(name), content=b"not a push").status_code == 422


@pytest.mark.parametrize("name", ["graphql", "create_category", "record_dead_letter", "sandbox_provider"])
def test_a_single_function_reports_its_health_at_its_root(url_of: Callable[[str], str], name: str) -> None:
    for path in ("/health/live", "/health/ready"):
        address = url_of(name) + path
        assert local_http().get(address).json()["status"] == "HEALTHY"
        assert local_http().head(address).content == b""
        assert local_http().post(address).status_code == 405


def test_a_single_function_with_a_malformed_setting_is_alive_and_reports_it() -> None:
    with alone("create_category", MAX_BODY_BYTES="0") as url:
        assert local_http().get(f"{url}/health/live").status_code == 200
        ready = local_http().get(f"{url}/health/ready")
        assert (ready.status_code, ready.json()["checks"][0]["name"]) == (503, "settings")


def test_a_command_runs_alone_on_postgresql_with_the_broker_down(event_store_url: str, command_url: str) -> None:
    """The command succeeds; its message stays in the outbox."""
    engines = {
        "PROFILE": "engines",
        "EVENT_STORE_URL": event_store_url,
        "COMMAND_DATABASE_URL": command_url,
        "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{free_port()}",
    }
    with alone("create_category", **engines) as url:
        made = local_http().post(url, json={"categoryId": str(uuid7()), "name": "お茶"}, headers=ADMIN)
        assert made.status_code == 200
