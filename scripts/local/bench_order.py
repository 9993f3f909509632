"""Add up the processor time of all functions for one order, by function and by part.

Each function is a process of its own, as in the cloud. The functions that a schedule calls are left
out, and the sandbox provider, which stands for other companies' servers.
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psycopg
from google.cloud.pubsub_v1 import PublisherClient

from scripts.local.bench_cold import PLAIN, PLAIN_TABLE
from scripts.local.bench_zero import shop_at_zero
from scripts.local.processes import CannotStart, Processes
from scripts.local.seed import ask
from scripts.local.shop import Shop
from scripts.local.token import PROJECT
from scripts.local.zero import Instances
from shared.config.manifest import ROOT, manifest
from shared.config.settings import settings

GOAL = 0.13
"""Seconds of the processor that an order may take, on the machine of scripts/README.md."""
PLAIN_CALL, CALLS = "plain function", 200
_PATIENCE, _SETTLED = 180.0, 3.0
"""Seconds for the orders to be confirmed, and then for their last messages."""
_IDLE = 3600.0
_ORDER = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } } }"
_CONFIRMED = "SELECT count(*) FROM events WHERE type = 'OrderConfirmed'"

_PARTS: Mapping[str, Sequence[str]] = {
    "JSON": ("json/",),
    "decoding into dataclasses": ("pydantic",),
    "PostgreSQL's library": ("psycopg",),
    "Firestore's library": ("google/cloud/firestore", "proto/", "google/protobuf"),
    "Pub/Sub's library": ("google/cloud/pubsub", "google/pubsub"),
    "gRPC": ("grpc", "google/api_core", "google/auth"),
    "HTTP server": ("gunicorn", "werkzeug", "flask", "functions_framework", "cloudevents", "uvicorn", "starlette"),
    "HTTP client": ("httpx", "httpcore", "h11", "anyio"),
    "GraphQL": ("graphql",),
    "log lines": ("structlog", "logging/"),
    "the shop": ("shared/", "functions/"),
}
"""Files by the beginnings of their paths. A sample counts for its innermost frame that is here."""
_LIBRARIES = re.compile(r".*/(site-packages|python3\.\d+)/")


@dataclass
class WarmShop:
    """A shop whose functions have all run, and a plain function beside them."""

    shop: Shop
    instances: Instances
    product: dict[str, Any]
    plain: Processes
    port: int


@contextmanager
def warm_shop(folder: Path, port: int) -> Iterator[WarmShop]:
    """Start a shop and let some orders pass through it. Raise CannotStart."""
    with shop_at_zero(folder, port, _IDLE) as (shop, instances, products):
        plain = Processes(folder / "plain")
        try:
            warm = WarmShop(shop, instances, products[-1], plain, port + 9)
            _start_plain(warm)
            for _ in range(2):
                _place(warm, 3)
            _call_plain(warm, 20)
            yield warm
        finally:
            plain.stop()


def measure(shop: WarmShop, orders: int) -> tuple[dict[str, float], float]:
    """Return the seconds of each function per order, and those of a call of the plain function."""
    before = shop.instances.processor_seconds()
    _place(shop, orders)
    after = shop.instances.processor_seconds()
    started = shop.plain.processor_seconds(PLAIN_CALL)
    _call_plain(shop, CALLS)
    plain = (shop.plain.processor_seconds(PLAIN_CALL) - started) / CALLS
    return {name: (after[name] - before.get(name, 0)) / orders for name in after if _counts(name)}, plain


def medians(rounds: Sequence[tuple[dict[str, float], float]]) -> tuple[dict[str, float], float]:
    names = {name for by_function, _ in rounds for name in by_function}
    by_function = {name: median(one.get(name, 0) for one, _ in rounds) for name in names}
    return by_function, median(plain for _, plain in rounds)


def parts(shop: WarmShop, orders: int) -> dict[str, float]:
    """Return the share of each part, from samples of all functions while they work on orders."""
    names = [name for name in shop.instances.running if _counts(name)]
    sampled = {name: shop.shop.home / f"{name}.samples" for name in names}
    spy = Path(sys.executable).with_name("py-spy")
    options = ["--gil", "--nonblocking", "--subprocesses", "--rate", "50", "--duration", "3600", "--format", "raw"]
    options += ["--full-filenames"]
    running = [
        subprocess.Popen(
            [spy, "record", *options, "--output", sampled[name], "--pid", str(shop.instances.pid(name))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name in names
    ]
    time.sleep(_SETTLED)
    _place(shop, orders)
    for process in running:
        process.send_signal(2)  # SIGINT: write what was sampled
    for process in running:
        process.wait(30)
    found = Counter[str]()
    for file in sampled.values():
        for line in file.read_text().splitlines() if file.exists() else ():
            stack, _, samples = line.rpartition(" ")
            found[part_of(stack)] += int(samples)
    return {part: samples / found.total() for part, samples in found.items()}


def part_of(stack: str) -> str:
    """Return the part that a sample counts for: frames with full paths, the outermost first."""
    for frame in reversed(stack.split(";")):
        path = frame.rpartition("(")[2].removeprefix(f"{ROOT}/")
        path = _LIBRARIES.sub("", path)
        for part, beginnings in _PARTS.items():
            if path.startswith(tuple(beginnings)):
                return part
    return "Python and others"


def _counts(name: str) -> bool:
    return name != "sandbox_provider" and not manifest().functions[name].schedule


def _place(shop: WarmShop, orders: int) -> None:
    """Place orders, and wait until they are confirmed without asking any function."""
    with psycopg.connect(settings().event_store_url, autocommit=True) as connection:
        wanted, ends = _confirmed(connection) + orders, time.monotonic() + _PATIENCE
        line = {"productId": shop.product["id"], "productName": shop.product["name"], "quantity": 1}
        order = {"userId": "bench", "items": [line | {"unitPrice": shop.product["price"]}]}
        for _ in range(orders):
            ask(shop.shop.url, _ORDER, {"input": order})
        while _confirmed(connection) < wanted:
            if time.monotonic() > ends:
                raise CannotStart(f"the orders were not confirmed within {_PATIENCE:g} seconds")
            time.sleep(0.2)
    time.sleep(_SETTLED)


def _confirmed(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(_CONFIRMED).fetchone()
    return int(row[0]) if row else 0


def _start_plain(shop: WarmShop) -> None:
    """Start a function that reads and writes one row and publishes one message."""
    with psycopg.connect(settings().event_store_url, autocommit=True) as connection:
        connection.execute(PLAIN_TABLE)
    PublisherClient().create_topic(name=f"projects/{PROJECT}/topics/plain")
    served = {
        "FUNCTION_SOURCE": f"{PLAIN}/main.py",
        "FUNCTION_TARGET": "plain",
        "USES": "event_store pubsub",
        "PORT": str(shop.port),
        "PYTHONPATH": str(ROOT),
    }
    shop.plain.start(PLAIN_CALL, [Path(sys.executable).with_name("functions-framework")], os.environ | served)
    shop.plain.wait_until_listening(PLAIN_CALL, shop.port)


def _call_plain(shop: WarmShop, calls: int) -> None:
    with httpx.Client(timeout=30) as http:
        for number in range(calls):
            http.post(f"http://127.0.0.1:{shop.port}", json={"number": number}).raise_for_status()
