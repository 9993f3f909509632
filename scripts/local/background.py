"""Start the shop in the background, stop it, and say what runs: `scripts/dev --detach`, `--stop`,
`--status`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import psutil

from scripts.local import running
from scripts.local.local_http import local_http

_STOP_SECONDS = 60.0


def detach(arguments: Sequence[str], port: int, home: Path) -> int:
    """Start `scripts/dev` with the arguments in a session of its own; show its screen until it is
    open. Return the exit status."""
    screen = home / "logs" / "screen.log"
    screen.parent.mkdir(parents=True, exist_ok=True)
    with screen.open("wb") as output:
        command = [sys.executable, "-m", "scripts.local.dev", *arguments]
        started = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    shown = 0
    while True:
        status, is_open = started.poll(), any(one.pid == started.pid and one.is_open for one in running.shops())
        with screen.open(errors="replace") as output:
            output.seek(shown)
            print(output.read(), end="", flush=True)
            shown = output.tell()
        if status is not None:
            return status or 1
        if is_open:
            break
        time.sleep(0.1)
    print(f"It runs in the background (process {started.pid}): scripts/dev --stop --port {port} stops it.")
    return 0


def stop(port: int | None) -> int:
    """Stop the running shop and wait for its end. Return the exit status."""
    shop = running.found(port)
    os.kill(shop.pid, signal.SIGTERM)
    try:
        psutil.Process(shop.pid).wait(_STOP_SECONDS)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        print(f"The shop on port {shop.port}, process {shop.pid}, has not stopped yet.", file=sys.stderr)
        return 1
    print(f"Stopped the shop on port {shop.port}.")
    return 0


def status(port: int | None) -> int:
    """Print what runs. Return 0 if a shop does, else 3, as services' status commands do."""
    shops = [shop for shop in running.shops() if port in (None, shop.port)]
    for shop in shops:
        since = time.strftime("%H:%M", time.localtime(shop.started_at))
        print(f"{shop.url}  {_state(shop)}, since {since}, process {shop.pid}, data in {shop.data}  {shop.mode}")
    if not shops:
        print("No shop runs from this folder." if port is None else f"No shop runs on port {port}.")
    return 0 if shops else 3


def _state(shop: running.Running) -> str:
    if not shop.is_open:
        return "starting"
    try:
        local_http().get(f"http://127.0.0.1:{shop.port}/health/live", timeout=5).raise_for_status()
    except httpx.HTTPError as error:
        return f"not answering ({error})"
    return "open"
