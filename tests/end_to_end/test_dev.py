"""`scripts/dev` starts the shop, keeps its data, explains what it lacks and leaves no process
behind. A start takes many seconds, so tests share shops."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from scripts.local import observe, running
from scripts.local.emulators import Emulators
from scripts.local.local_http import local_http
from scripts.local.ports import busy
from scripts.local.readme import MONITORING_PAGE
from shared.config.manifest import ROOT
from shared.monitoring.metrics import metrics
from tests.end_to_end.running_shop import Client, RunningShop, wait_until
from tests.ports import free_port

NO_LIMITS: dict[str, Any] = {"RATE_LIMIT_ANONYMOUS": "0", "RATE_LIMIT_SIGNED_IN": "0"}
PROMETHEUS = bool(shutil.which("prometheus"))
needs_prometheus = pytest.mark.skipif(not PROMETHEUS, reason="needs Prometheus: apt-get install prometheus")


def data_folder(factory: pytest.TempPathFactory, name: str) -> Path:
    folder = factory.mktemp(name)
    for one in (folder, *folder.parents[:3]):
        one.chmod(0o755)  # as root, PostgreSQL runs as another user
    return folder / "data"


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningShop]:
    """The shop of every day; deadlines pass soon."""
    shop = RunningShop(data_folder(tmp_path_factory, "memory"), "--memory", "--observe", SAGA_PACE="0.05", **NO_LIMITS)
    yield shop.open()
    assert shop.close() == 0


@pytest.fixture(scope="module")
def on_engines(tmp_path_factory: pytest.TempPathFactory, emulators: Emulators) -> Iterator[RunningShop]:
    """The shop with databases and emulators, which the last test that uses it stops."""
    folder = data_folder(tmp_path_factory, "engines")
    shop = RunningShop(folder, "--no-seed", "--observe", "--sign-in", SAGA_PACE="0.3", **NO_LIMITS)
    yield shop.open()
    shop.close()


def asked(shop: RunningShop, query: str) -> list[dict[str, Any]]:
    """Return Prometheus' results for a query, none while it does not answer."""
    try:
        answer = local_http().get(f"http://127.0.0.1:{shop.port + 7}/api/v1/query", params={"query": query}, timeout=30)
    except httpx.TransportError:
        return []
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


def answers(url: str) -> bool:
    try:
        return bool(local_http().get(url, timeout=2).status_code)
    except httpx.TransportError:
        return False


def codes(url: str) -> list[str]:
    """Return the errors' codes for an anonymous client that creates a category."""
    create = {"query": 'mutation { createCategory(input: {name: "Tea"}) { id } }'}
    return [error["extensions"]["code"] for error in local_http().post(url, json=create).json().get("errors", [])]


@needs_prometheus
def test_in_one_process_nothing_is_counted_twice(in_memory: RunningShop) -> None:
    sum_of = 'sum(shop_commands_total{command="delete_product"})'
    product = in_memory.product(stock=3)
    in_memory.data("mutation ($id: ID!) { deleteProduct(id: $id) { success } }", id=product["id"])
    wait_until(lambda: bool(asked(in_memory, sum_of)), 60)
    assert [one["value"][1] for one in asked(in_memory, sum_of)] == ["1"]


@needs_prometheus
def test_prometheus_accepts_every_query_of_the_monitoring_page(in_memory: RunningShop) -> None:
    section = MONITORING_PAGE.read_text().partition("\n## What to look at")[2].partition("\n## ")[0]
    rows = [row.split(" | ") for row in section.splitlines() if row.startswith("| ")]
    queries = [query for row in rows for query in re.findall("`([^`]+)`", row[1])]
    assert len(queries) >= 10
    url = f"http://127.0.0.1:{in_memory.port + 7}/api/v1/query"
    for query in (*queries, *observe.QUERIES):
        answer = local_http().get(url, params={"query": query}, timeout=30)
        assert answer.json()["status"] == "success", (query, answer.text)
        assert set(re.findall(r"shop_[a-z_]+?(?=_bucket|\W|$)", query)) <= set(metrics()), query


@needs_prometheus
def test_the_port_of_prometheus_is_checked_like_the_others(in_memory: RunningShop, tmp_path: Path) -> None:
    other = RunningShop(tmp_path / "other", "--memory", "--observe", port=in_memory.port + 5)
    assert other.process.wait(120) == 1
    assert str(in_memory.port + 7) in other.screen and "--port" in other.screen


def test_a_busy_port_is_named_with_the_way_to_change_it(in_memory: RunningShop, tmp_path: Path) -> None:
    other = RunningShop(tmp_path / "other", "--memory", port=in_memory.port - 1)
    assert other.process.wait(120) == 1
    assert str(in_memory.port) in other.screen
    assert "--port" in other.screen
    assert len(in_memory.data("{ products { id } }")["products"]) > 0


def test_the_screen_does_not_change_while_the_shop_works(in_memory: RunningShop) -> None:
    lines = [line for line in in_memory.screen.splitlines() if line.strip()]
    assert len(lines) < 32
    order_id = in_memory.order(in_memory.product(stock=3))
    assert in_memory.until_ended(order_id)[0]["status"] == "CONFIRMED"
    assert [line for line in in_memory.screen.splitlines() if line.strip()] == lines
    assert order_id in (in_memory.folder / "logs" / "shop.log").read_text()


def test_the_spans_of_an_order_are_shown_as_one_trace(in_memory: RunningShop) -> None:
    order_id = in_memory.order(in_memory.product(stock=3))
    assert in_memory.until_ended(order_id)[0]["status"] == "CONFIRMED"
    viewer = f"http://127.0.0.1:{in_memory.port + 4}"
    assert viewer in in_memory.screen
    config = local_http().get(f"http://localhost:{in_memory.port}/console/config.json").json()
    address = config["traces"].replace("{order}", order_id)

    def shown(*names: str) -> bool:
        page = local_http().get(address, follow_redirects=True).text
        return all(name in page for name in (*names, f"order-{order_id}"))

    wait_until(lambda: shown("graphql", "create_order", "process process-payment", "process order-events"), 60)
    assert order_id in local_http().get(viewer).text


def test_a_payment_that_is_never_answered_is_undone(in_memory: RunningShop) -> None:
    product = in_memory.product(stock=3)
    order_id = in_memory.order(product, paymentMethod="time-out")
    order, _ = in_memory.until_ended(order_id, 90)
    assert order["status"] == "FAILED"
    assert "in time" in order["reason"]
    wait_until(lambda: in_memory.stock(product) == (3, 0), 60)
    assert in_memory.ledger("payments")[order_id] == "undone"


def test_sign_in_is_not_required_by_default(in_memory: RunningShop) -> None:
    assert codes(in_memory.url) == []
    ordered = subprocess.run(in_memory.example(), shell=True, capture_output=True, text=True, check=True)
    assert json.loads(ordered.stdout)["data"]["createOrder"]["order"]["status"] == "PENDING"


class InTheBackground(Client):
    """A shop that a shell has started with `&`, on a machine that has nothing installed."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port, self._screen = free_port(8), folder / "screen"
        dev = [sys.executable, "-m", "scripts.local.dev", f"--port={self.port}", f"--data={folder / 'data'}", *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PATH": "/usr/bin/nowhere"}
        command = ["/bin/sh", "-c", f"{' '.join(dev)} > {self._screen} 2>&1 & echo $!"]
        started = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
        self.process = psutil.Process(int(started.stdout))

    @property
    def screen(self) -> str:
        return self._screen.read_text()


def test_a_shop_in_a_shell_s_background_stops_at_ctrl_c_requires_sign_in_and_lacks_prometheus(tmp_path: Path) -> None:
    """A non-interactive shell ignores SIGINT for what it starts with `&`."""
    shop = InTheBackground(tmp_path, "--memory", "--observe", "--sign-in")
    try:
        wait_until(lambda: "Ctrl-C stops it all" in shop.screen, 120)
        assert shop.screen.count("apt-get install prometheus") == 1
        assert "Ask Prometheus" not in shop.screen
        assert codes(shop.url) == ["UNAUTHENTICATED"]
        (example,) = re.findall(r"^  (curl .*)$", shop.screen, re.MULTILINE)
        ordered = subprocess.run(example, shell=True, capture_output=True, text=True, check=True)
        assert json.loads(ordered.stdout)["data"]["createOrder"]["order"]["status"] == "PENDING"
        shop.process.send_signal(signal.SIGINT)
        shop.process.wait(60)
    finally:
        if shop.process.is_running():
            shop.process.kill()
    assert "Stopping" in shop.screen


def test_without_emulators_the_shop_works_and_says_so_in_one_line(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = data_folder(tmp_path_factory, "postgres")
    shop = RunningShop(data, "--no-seed", PATH="/usr/bin/nowhere").open()
    assert "PostgreSQL" in shop.screen
    assert shop.screen.count("no Java") == 1
    order_id = shop.order(shop.product(stock=3))
    assert shop.until_ended(order_id)[0]["status"] == "CONFIRMED"
    assert shop.close() == 0
    again = RunningShop(data, PATH="/usr/bin/nowhere").open()
    assert " s last time)" in again.screen
    wait_until(lambda: again.read_order(order_id).get("status") == "CONFIRMED", 60)
    assert again.close() == 0


@needs_prometheus
def test_prometheus_scrapes_every_service_even_where_sign_in_is_required(on_engines: RunningShop) -> None:
    assert f"http://127.0.0.1:{on_engines.port + 7}" in on_engines.screen
    assert "shop_projection_lag_seconds" in on_engines.screen
    assert on_engines.until_ended(on_engines.order(on_engines.product(stock=3)))[0]["status"] == "CONFIRMED"
    up = {"client": "1", "command": "1", "query": "1"}
    wait_until(lambda: {one["metric"]["job"]: one["value"][1] for one in asked(on_engines, "up")} == up, 60)
    wait_until(lambda: bool(asked(on_engines, 'shop_sagas{status="COMPLETED"} == 1')), 60)
    for query in (*observe.QUERIES[:1], "shop_graphql_requests_total", "shop_deliveries_total"):
        wait_until(lambda query=query: bool(asked(on_engines, query)), 60)  # type: ignore[misc]


def test_a_function_in_a_process_of_its_own_gets_its_requests_while_it_runs(on_engines: RunningShop) -> None:
    command = [sys.executable, "-m", "scripts.local.dev", "--only", "create_category", f"--port={on_engines.port}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as alone:
        assert alone.stdout and "create_category runs in this process" in alone.stdout.readline()
        wait_until(lambda: bool(on_engines.product(stock=1)), 60)
        alone.send_signal(signal.SIGINT)
        said = alone.stdout.read()
    assert said.count("function=create_category") == said.count("command=create_category") >= 1
    assert "create_product" not in said
    assert on_engines.product(stock=1)


def test_a_killed_service_is_started_again_with_its_signal_named(on_engines: RunningShop) -> None:
    product = on_engines.product(stock=3)
    port = on_engines.port + 1
    (service,) = [one for one in on_engines.family() if one.cmdline()[-2:] == ["command", str(port)]]
    service.kill()
    wait_until(lambda: "command was killed by SIGKILL; starting it again" in on_engines.screen, 60)
    wait_until(lambda: answers(f"http://127.0.0.1:{port}"), 60)
    assert on_engines.until_ended(on_engines.order(product))[0]["status"] == "CONFIRMED"


def test_two_runs_do_not_share_their_data(on_engines: RunningShop) -> None:
    other = RunningShop(on_engines.folder, "--reset")
    assert other.process.wait(120) == 1
    assert "Another scripts/dev" in other.screen
    assert "--data" in other.screen
    assert len(on_engines.data("{ products { id } }")["products"]) > 0


def test_data_outlives_a_stop_and_a_kill_until_a_reset_and_no_process_does(on_engines: RunningShop) -> None:
    first, data = on_engines, on_engines.folder
    product = first.product(stock=7)
    order_id = first.order(product)
    assert first.until_ended(order_id)[0]["status"] == "CONFIRMED"
    under_way = first.order(first.product(stock=3), paymentMethod="fail-2")
    family = first.family()
    assert first.close() == 0
    assert psutil.wait_procs(family, 60)[1] == []
    assert busy([first.port + n for n in range(8)]) == []

    second = RunningShop(data, SAGA_PACE="0.3").open()
    wait_until(lambda: second.read_order(order_id).get("status") == "CONFIRMED", 60)
    wait_until(lambda: second.stock(product) == (6, 0), 60)
    assert second.until_ended(under_way, 60)[0]["status"] in ("CONFIRMED", "FAILED")
    assert "catalogue" not in second.screen.partition("open")[0]
    ours = [process for process in second.family() if "postgres" not in process.name()]
    with psycopg.connect(running.find(second.port).environment["EVENT_STORE_URL"]):  # PostgreSQL waits for its clients
        second.process.kill()
        second.process.wait()
        assert psutil.wait_procs(ours, 60)[1] == []
        third = RunningShop(data, "--reset", "--no-seed", port=second.port).open()
    nothing: dict[str, list[object]] = {"products": [], "categories": [], "orders": []}
    assert third.data("{ products { id } categories { id } orders { id } }") == nothing
    assert third.close() == 0
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert [line for line in lines if str(data) in line] == []
