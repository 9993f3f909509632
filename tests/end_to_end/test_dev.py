"""`scripts/dev` starts the shop, keeps its data, explains what it lacks and leaves no process
behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from scripts.local import observe
from scripts.local.emulators import Emulators
from scripts.local.ports import busy
from scripts.local.readme import MONITORING_PAGE
from shared.config.manifest import ROOT
from shared.monitoring.metrics import metrics
from tests.conftest import free_port
from tests.end_to_end.running_shop import RunningShop, wait_until


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    return tmp_path / "data"


def test_a_second_start_finds_the_data_of_the_first_and_reset_erases_it(data: Path, emulators: Emulators) -> None:
    first = RunningShop(data).open()
    product = first.product(stock=7)
    order_id = first.order(product)
    assert first.until_ended(order_id)[0]["status"] == "CONFIRMED"
    assert first.close() == 0
    second = RunningShop(data).open()
    wait_until(lambda: second.read_order(order_id).get("status") == "CONFIRMED", 30)
    wait_until(lambda: second.stock(product) == (6, 0), 30)
    assert "catalogue" not in second.screen.partition("open")[0]
    assert second.close() == 0
    third = RunningShop(data, "--reset", "--no-seed").open()
    assert third.data("{ products { id } categories { id } orders { id } }") == {
        "products": [],
        "categories": [],
        "orders": [],
    }
    assert third.close() == 0


def test_an_order_that_is_in_progress_at_a_stop_continues_at_the_next_start(data: Path, emulators: Emulators) -> None:
    first = RunningShop(data, SAGA_PACE="0.3").open()
    order_id = first.order(first.product(stock=3), paymentMethod="fail-2")
    assert first.close() == 0
    second = RunningShop(data, SAGA_PACE="0.3").open()
    assert second.until_ended(order_id, 60)[0]["status"] in ("CONFIRMED", "FAILED")
    assert second.close() == 0


def test_ctrl_c_stops_every_process_of_the_shop(data: Path) -> None:
    shop = RunningShop(data, "--no-seed").open()
    family = shop.family()
    assert shop.close() == 0
    _, alive = psutil.wait_procs(family, 10)
    assert alive == []
    assert busy([shop.port + n for n in range(8)]) == []


def test_a_killed_service_is_started_again_with_its_signal_named(data: Path, emulators: Emulators) -> None:
    shop = RunningShop(data, "--no-seed").open()
    product = shop.product(stock=3)
    (service,) = [one for one in shop.family() if one.cmdline()[-2:] == ["command", str(shop.port + 1)]]
    service.kill()
    wait_until(lambda: "command was killed by SIGKILL; starting it again" in shop.screen, 20)
    wait_until(lambda: answers(f"http://127.0.0.1:{shop.port + 1}"), 60)
    assert shop.until_ended(shop.order(product))[0]["status"] == "CONFIRMED"
    assert shop.close() == 0


def answers(url: str) -> bool:
    try:
        return bool(httpx.get(url, timeout=2).status_code)
    except httpx.TransportError:
        return False


def test_a_shop_that_a_shell_starts_in_the_background_stops_at_ctrl_c(data: Path) -> None:
    """A non-interactive shell ignores SIGINT for what it starts with `&`."""
    port, screen = free_port(8), data.with_suffix(".out")
    dev = f"{sys.executable} -m scripts.local.dev --memory --no-seed --port={port} --data={data}"
    command = f"{dev} > {screen} 2>&1 & echo $!"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    started = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    shop = psutil.Process(int(started.stdout))
    try:
        wait_until(lambda: "Ctrl-C stops it all" in screen.read_text(), 90)
        shop.send_signal(signal.SIGINT)
        shop.wait(30)
    finally:
        if shop.is_running():
            shop.kill()
    assert "Stopping" in screen.read_text()


def test_a_killed_shop_leaves_no_process_behind(data: Path, emulators: Emulators) -> None:
    shop = RunningShop(data, "--no-seed").open()
    ours = [process for process in shop.family() if "postgres" not in process.name()]
    shop.process.kill()
    shop.process.wait()
    _, alive = psutil.wait_procs(ours, 20)
    assert alive == []
    again = RunningShop(data, "--no-seed", port=shop.port).open()
    assert again.close() == 0
    assert [
        process for process in psutil.process_iter(["cmdline"]) if str(data) in " ".join(process.info["cmdline"] or [])
    ] == []


def test_a_busy_port_is_named_with_the_way_to_change_it(data: Path) -> None:
    shop = RunningShop(data, "--memory", "--no-seed").open()
    other = RunningShop(data.with_name("other"), "--memory", port=shop.port - 1)
    assert other.process.wait(30) == 1
    assert str(shop.port) in other.screen
    assert "--port" in other.screen
    assert shop.data("{ products { id } }") == {"products": []}
    assert shop.close() == 0


def test_two_runs_do_not_share_their_data(data: Path) -> None:
    shop = RunningShop(data, "--no-seed").open()
    other = RunningShop(data, "--reset")
    assert other.process.wait(30) == 1
    assert "Another scripts/dev" in other.screen
    assert "--data" in other.screen
    assert shop.data("{ products { id } }") == {"products": []}
    assert shop.close() == 0


def test_without_emulators_the_shop_works_and_says_so_in_one_line(data: Path) -> None:
    shop = RunningShop(data, PATH="/usr/bin/nowhere").open()
    assert "PostgreSQL" in shop.screen
    assert shop.screen.count("no Java") == 1
    order_id = shop.order(shop.product(stock=3))
    assert shop.until_ended(order_id)[0]["status"] == "CONFIRMED"
    assert shop.close() == 0
    again = RunningShop(data, PATH="/usr/bin/nowhere").open()
    wait_until(lambda: again.read_order(order_id).get("status") == "CONFIRMED", 20)
    assert again.close() == 0


def test_the_screen_does_not_change_while_the_shop_works(data: Path) -> None:
    shop = RunningShop(data, "--memory").open()
    lines = [line for line in shop.screen.splitlines() if line.strip()]
    assert len(lines) < 25
    order_id = shop.order(shop.product(stock=3))
    assert shop.until_ended(order_id)[0]["status"] == "CONFIRMED"
    assert [line for line in shop.screen.splitlines() if line.strip()] == lines
    assert order_id in (data / "logs" / "dev.log").read_text()
    assert shop.close() == 0


def test_a_payment_that_is_never_answered_is_undone(data: Path) -> None:
    shop = RunningShop(data, "--memory", "--no-seed", SAGA_PACE="0.05").open()
    product = shop.product(stock=3)
    order_id = shop.order(product, paymentMethod="time-out")
    order, _ = shop.until_ended(order_id, 90)
    assert order["status"] == "FAILED"
    assert "in time" in order["reason"]
    wait_until(lambda: shop.stock(product) == (3, 0), 20)
    assert shop.ledger("payments")[order_id] == "undone"
    assert shop.close() == 0


def test_sign_in_is_required_only_with_its_option(data: Path) -> None:
    create = {"query": 'mutation { createCategory(input: {name: "Tea"}) { id } }'}
    for options, code in (([], None), (["--sign-in"], "UNAUTHENTICATED")):
        shop = RunningShop(data, "--memory", *options).open()
        answer = httpx.post(shop.url, json=create, timeout=30).json()
        assert [error["extensions"]["code"] for error in answer.get("errors", [])] == ([code] if code else [])
        ordered = subprocess.run(shop.example(), shell=True, capture_output=True, text=True, check=True)
        assert json.loads(ordered.stdout)["data"]["createOrder"]["order"]["status"] == "PENDING"
        assert shop.close() == 0


@pytest.fixture
def prometheus() -> None:
    if not shutil.which("prometheus"):
        pytest.skip("needs Prometheus: apt-get install prometheus")


def asked(shop: RunningShop, query: str) -> list[dict[str, Any]]:
    """Return Prometheus' results for a query, none while it does not answer."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{shop.port + 7}/api/v1/query", params={"query": query}, timeout=10)
    except httpx.TransportError:
        return []
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


@pytest.mark.usefixtures("prometheus")
def test_prometheus_scrapes_every_service_even_where_sign_in_is_required(data: Path, emulators: Emulators) -> None:
    shop = RunningShop(data, "--observe", "--sign-in", "--no-seed").open()
    assert f"http://127.0.0.1:{shop.port + 7}" in shop.screen
    assert "shop_projection_lag_seconds" in shop.screen
    assert shop.until_ended(shop.order(shop.product(stock=3)))[0]["status"] == "CONFIRMED"
    up = {"client": "1", "command": "1", "query": "1"}
    wait_until(lambda: {one["metric"]["job"]: one["value"][1] for one in asked(shop, "up")} == up, 60)
    wait_until(lambda: bool(asked(shop, 'shop_sagas{status="COMPLETED"} == 1')), 60)
    for query in (*observe.QUERIES[:1], "shop_graphql_requests_total", "shop_deliveries_total"):
        wait_until(lambda query=query: bool(asked(shop, query)), 60)  # type: ignore[misc]
    family = shop.family()
    assert shop.close() == 0
    assert psutil.wait_procs(family, 10)[1] == []


@pytest.mark.usefixtures("prometheus")
def test_in_one_process_nothing_is_counted_twice(data: Path) -> None:
    shop = RunningShop(data, "--memory", "--observe", "--no-seed").open()
    shop.product(stock=3)
    wait_until(lambda: bool(asked(shop, 'shop_commands_total{command="create_product"}')), 60)
    (count,) = asked(shop, 'sum(shop_commands_total{command="create_product"})')
    assert count["value"][1] == "1"
    assert shop.close() == 0


@pytest.mark.usefixtures("prometheus")
def test_prometheus_accepts_every_query_of_the_monitoring_page(data: Path) -> None:
    shop = RunningShop(data, "--memory", "--observe", "--no-seed").open()
    section = MONITORING_PAGE.read_text().partition("\n## What to look at")[2].partition("\n## ")[0]
    rows = [row.split(" | ") for row in section.splitlines() if row.startswith("| ")]
    queries = [query for row in rows for query in re.findall("`([^`]+)`", row[1])]
    assert len(queries) >= 10
    for query in (*queries, *observe.QUERIES):
        answer = httpx.get(f"http://127.0.0.1:{shop.port + 7}/api/v1/query", params={"query": query}, timeout=10)
        assert answer.json()["status"] == "success", (query, answer.text)
        assert set(re.findall(r"shop_[a-z_]+?(?=_bucket|\W|$)", query)) <= set(metrics()), query
    assert shop.close() == 0


@pytest.mark.usefixtures("prometheus")
def test_the_port_of_prometheus_is_checked_like_the_others(data: Path) -> None:
    first = RunningShop(data, "--memory", "--observe", "--no-seed").open()
    other = RunningShop(data.with_name("other"), "--memory", "--observe", port=first.port + 5)
    assert other.process.wait(30) == 1
    assert str(first.port + 7) in other.screen and "--port" in other.screen
    assert first.close() == 0


def test_without_prometheus_the_shop_starts_and_says_how_to_install_it(data: Path) -> None:
    shop = RunningShop(data, "--memory", "--observe", "--no-seed", PATH="/usr/bin/nowhere").open()
    assert shop.screen.count("apt-get install prometheus") == 1
    assert "Ask Prometheus" not in shop.screen
    assert shop.data("{ products { id } }") == {"products": []}
    assert shop.close() == 0
