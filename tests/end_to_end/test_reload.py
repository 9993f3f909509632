"""`scripts/dev` restarts a service when its code changes; a debugger can hold a function."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.local.reload import services_of
from tests.end_to_end.running_shop import Client, RunningShop, wait_until
from tests.ports import free_port
from tests.scratch import NO_REGISTRY, scratch_copy


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scratch_copy(tmp_path_factory.mktemp("copy"))


def started(copy: Path, data: str, *options: str) -> RunningShop:
    return RunningShop(copy / ".dev" / data, *options, root=copy, npm_config_registry=NO_REGISTRY)


def test_only_the_service_of_the_changed_code_restarts() -> None:
    assert services_of([Path("functions/commands/create_order/main.py")]) == {"command"}
    assert services_of([Path("functions/projections/project_orders/main.py")]) == {"query"}
    assert services_of([Path("functions/operations/report_metrics/main.py")]) == {"command", "query"}
    assert services_of([Path("functions/graphql/main.py")]) == {"client"}
    assert services_of([Path("functions/README.md")]) == set()
    for path in ("shared/domain/order.py", "schema.graphql", "functions/manifest.yaml"):
        assert services_of([Path(path)]) == {"client", "command", "query"}


def test_changed_code_runs_with_the_data_and_a_mistake_is_shown_until_it_is_mended(copy: Path) -> None:
    shop = started(copy, "data", "--memory", "--no-seed").open()
    product = shop.product(stock=9)
    done = shop.order(product)
    assert shop.until_ended(done)[0]["status"] == "CONFIRMED"
    under_way = shop.order(product, paymentMethod="fail-2")

    function = copy / "functions" / "commands" / "create_category" / "main.py"
    function.write_text(f"import no_such_module\n{(code := function.read_text())}")
    wait_until(lambda: "It starts again when the code is mended" in shop.screen, 120)
    assert "No module named 'no_such_module'" in shop.screen and str(function) in shop.screen
    function.write_text(code)
    wait_until(lambda: "... ready\n" in shop.screen, 120)
    manifest = copy / "functions" / "manifest.yaml"
    manifest.write_text(f"{(entries := manifest.read_text())}  nonsense: {{}}\n")
    wait_until(lambda: "functions/manifest.yaml is malformed" in shop.screen, 120)
    assert shop.read_order(done)["status"] == "CONFIRMED"
    manifest.write_text(entries)
    wait_until(lambda: shop.screen.count("... ready\n") == 2, 120)

    assert shop.read_order(done)["status"] == "CONFIRMED"
    assert shop.until_ended(under_way)[0]["status"] == "CONFIRMED"
    assert shop.ledger("payments").keys() == {done, under_way}
    wait_until(lambda: shop.stock(product) == (7, 0), 60)
    assert shop.close() == 0


def attach(port: int) -> None:
    """Attach to a function as a debugger does, by the Debug Adapter Protocol, once it listens."""
    debugger = socket.socket()
    debugger.settimeout(60)
    wait_until(lambda: debugger.connect_ex(("127.0.0.1", port)) == 0, 60)
    with debugger:
        commands: list[tuple[str, dict[str, str], bytes]] = [
            ("initialize", {"adapterID": "test"}, b'"command":"initialize"'),
            ("attach", {"name": "test"}, b'"event":"initialized"'),
            ("configurationDone", {}, b'"command":"configurationDone"'),
        ]
        said = b""
        for number, (command, arguments, wanted) in enumerate(commands, 1):
            asked = json.dumps({"seq": number, "type": "request", "command": command, "arguments": arguments})
            debugger.sendall(f"Content-Length: {len(asked)}\r\n\r\n{asked}".encode())
            while wanted not in said.replace(b": ", b":"):
                said += debugger.recv(10_000)


def test_a_shop_in_memory_waits_for_the_debugger_of_a_function_and_does_not_reload_unasked(copy: Path) -> None:
    options = ("--memory", "--no-seed", "--no-reload", "--debug", "create_category")
    shop = started(copy, "debugged", *options)
    wait_until(lambda: "your debugger" in shop.screen, 120)
    assert not listens(shop.port)
    attach(shop.port + 3)
    shop.open()
    assert f"create_category: attach your debugger to 127.0.0.1:{shop.port + 3}" in shop.screen
    shop.product(stock=1)
    assert shop.close() == 0


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def command(copy: Path, module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "npm_config_registry": NO_REGISTRY, "PYTHONPATH": str(copy), "PYTHONUNBUFFERED": "1"}
    line = [sys.executable, "-m", f"scripts.local.{module}", *arguments]
    return subprocess.run(line, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=200)


class Background(Client):
    def __init__(self, port: int) -> None:
        self.port = port


def test_a_shop_in_the_background_is_found_followed_and_stopped(copy: Path) -> None:
    shop = Background(free_port(8))
    options = ("--memory", "--no-seed", "--detach", f"--port={shop.port}", f"--data={copy / '.dev' / 'away'}")
    started = command(copy, "dev", *options)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        assert "The shop is open" in started.stdout and "--stop" in started.stdout
        status = command(copy, "dev", "--status")
        assert (status.returncode, f":{shop.port}/graphql  open" in status.stdout) == (0, True)
        order_id, other = (shop.order(shop.product(stock=3)) for _ in range(2))
        shop.until_ended(order_id)
        followed = command(copy, "logs", "--order", order_id, "--no-follow").stdout
        for function in ("create_order", "order_saga", "process_payment", "project_orders", "graphql"):
            assert f"  {function} " in followed
        assert other not in followed
        alone = command(copy, "logs", "create_order", "--no-follow").stdout.splitlines()
        assert len(alone) == 2 and all("create_order" in line for line in alone)
        assert "got 'nonsense'" in command(copy, "logs", "nonsense").stderr
        refused = command(copy, "dev", "--only", "create_order")
        assert refused.returncode == 1 and "--memory --debug create_order" in refused.stderr
    finally:
        stopped = command(copy, "dev", "--stop")
    assert (stopped.returncode, stopped.stdout) == (0, f"Stopped the shop on port {shop.port}.\n")
    assert command(copy, "dev", "--status").returncode == 3
    assert "start it with scripts/dev --memory" in command(copy, "token").stderr
