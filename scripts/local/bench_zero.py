"""Time an order after all functions have stopped, beside the same order when all run.

The shop is that of `scripts/dev --scale-to-zero`: each function is a process of its own, which its
first request starts. The cold starts that follow one another are counted from their times: a start
that begins after another has ended waits for it.
"""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from scripts.local.ports import Ports
from scripts.local.processes import CannotStart
from scripts.local.seed import ask, seed
from scripts.local.shop import Shop
from scripts.local.zero import ColdStart, Instances
from shared.config.manifest import manifest
from shared.resilience import clock

GOAL = 2.5
"""How many cold starts may follow one another. Those that overlap compete for the processors here,
which is the machine's limit: in the cloud each has its own."""
IDLE_SECONDS = 600.0
"""Without a request, until a function ends by itself. The measurement ends them sooner."""
PATIENCE = 180.0
"""Seconds for an order."""
_ORDER = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } } }"


class Zero(NamedTuple):
    """Seconds of an order from zero, of one when all is warm, and of one function's first answer.
    `in_a_row`: the cold starts that followed one another; `started`: all of the order's."""

    from_zero: float
    warm: float
    one_start: float
    in_a_row: int
    started: int

    @property
    def times(self) -> float:
        return (self.from_zero - self.warm) / self.one_start


@contextmanager
def shop_at_zero(
    folder: Path, port: int, idle_seconds: float = IDLE_SECONDS
) -> Iterator[tuple[Shop, Instances, list[dict[str, Any]]]]:
    """Start a shop with a catalogue, and yield it with its products. Raise CannotStart."""
    os.environ |= {"COMMAND_TIMEOUT_SECONDS": "30", "REQUEST_TIMEOUT_SECONDS": "60", "RATE_LIMIT_SIGNED_IN": "0"}
    shop = Shop(Ports(port), folder / "data", lambda step: None, idle_seconds=idle_seconds)
    try:
        shop.claim()
        shop.start()
        if shop.instances is None:
            raise CannotStart("the functions do not scale to zero without the emulators")
        yield shop, shop.instances, seed(shop.url)
    finally:
        shop.stop()


def measure(shop: Shop, instances: Instances, product: dict[str, Any], wake_ahead: bool) -> Zero:
    """Place an order to warm everything up, one that is warm, and one from zero."""
    os.environ["WAKE_AHEAD_SECONDS"] = str(IDLE_SECONDS if wake_ahead else 0)  # of the next graphql process
    _stopped(instances)
    _order(shop.url, product)
    warm = _order(shop.url, product)
    _stopped(instances)
    one_start = _first_answer(shop)
    _stopped(instances)
    _wake_providers(shop)
    before = len(instances.cold_starts)
    from_zero = _order(shop.url, product)
    needed = [start for start in instances.cold_starts[before:] if not manifest().functions[start.function].schedule]
    return Zero(from_zero, warm, one_start, in_a_row(needed), len(needed))


def in_a_row(starts: Sequence[ColdStart]) -> int:
    """Return the length of the longest chain of starts of which each begins after the one before
    has ended."""
    length, ended = 0, float("-inf")
    for start in sorted(starts, key=lambda start: start.ready):
        if start.began >= ended:
            length, ended = length + 1, start.ready
    return length


def _order(url: str, product: dict[str, Any]) -> float:
    """Return the seconds from placing an order until it is CONFIRMED."""
    began = time.monotonic()
    line = {"productId": product["id"], "productName": product["name"], "quantity": 1, "unitPrice": product["price"]}
    order_id = ask(url, _ORDER, {"input": {"userId": "bench", "items": [line]}})["createOrder"]["order"]["id"]
    while time.monotonic() - began < PATIENCE:
        found = ask(url, '{ orders(userId: "bench", limit: 100) { id status } }')["orders"]
        if {"id": order_id, "status": "CONFIRMED"} in found:
            return time.monotonic() - began
        time.sleep(0.05)
    raise CannotStart(f"the order {order_id} was not confirmed within {PATIENCE:g} seconds")


def _first_answer(shop: Shop) -> float:
    """Return the seconds until a function that does not run has recorded a command."""
    began = time.monotonic()
    command = {"categoryId": str(clock.new_id()), "name": f"Zero {clock.new_id()}"}
    url = f"{shop.ports.url('command')}/create_category"
    httpx.post(url, json=command, headers={"X-Actor": "bench", "X-Role": "admin"}, timeout=60).raise_for_status()
    return time.monotonic() - began


def _wake_providers(shop: Shop) -> None:
    """The sandbox stands for other companies' servers, which do not sleep."""
    httpx.get(f"{shop.ports.url('command')}/sandbox_provider/payments", timeout=60).raise_for_status()


def _stopped(instances: Instances) -> None:
    """End all functions, but for the scheduled ones, whose next call may be under way."""
    needed = [name for name in instances.running if not manifest().functions[name].schedule]
    with ThreadPoolExecutor(len(needed) or 1) as pool:
        list(pool.map(instances.stop, needed))
