"""Keep a shop busy with streams and a mixed load, and look at the memory of the process that
answers GraphQL."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx

from scripts.local.ports import Ports, busy
from scripts.local.processes import CannotStart
from scripts.local.seed import seed
from scripts.local.token import emulator_token
from shared.config.manifest import ROOT

USERS = 200
START_SECONDS = 600
"""For scripts/dev to start; the first start downloads what is missing."""
REOPENED = 20.0
"""Seconds after which a stream is closed and opened again, as clients come and go."""
MOST_PER_CLIENT = 25
"""Streams of one user; the shop allows 50."""

ORDER = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } } }"
STREAMS = (
    "subscription { eventStream { eventType aggregateId eventData } }",
    "subscription { sagaUpdates { id state } }",
    "subscription { pubsubStream { topic payload } }",
    "subscription { dashboardStatsStream { totalEvents activeSagas } }",
)
QUERIES = (
    '{ products(limit: 50, sortBy: "price") { NAME: id name price category { name productCount } } }',
    '{ searchProducts(searchTerm: "NAME") { id name } }',
    "{ NAME: orders(limit: 50) { id status items { productName quantity } } }",
    "{ NAME: recentEvents(limit: 100) { id eventType eventData } }",
    "{ NAME: sagas(limit: 50) { id state commandsDispatched { commandType } } }",
    "{ NAME: projectionStatus { name status lagEvents } systemStatistics { sagas { total } } }",
    "{ NAME: dashboardStats { totalEvents } health { status checks { name message } } }",
    '{ NAME: order(id: "0190b1b6-7c5e-7000-8000-000000000000") { id timeline { kind } } }',
    "{ NAME: nothingOfThisName }",
)
"""NAME becomes another word each time, so that every text is new to the caches."""
MEMORY = "{ memoryInfo { totalMb etsMb } }"


class Reading(NamedTuple):
    """`megabytes`: resident memory without the stores that this profile keeps in memory. `answers`:
    since the start."""

    seconds: float
    megabytes: float
    answers: int


@contextmanager
def running_shop(folder: Path, port: int, memory: bool) -> Iterator[str]:
    """Start `scripts/dev` in a process of its own; yield its GraphQL URL. Raise CannotStart."""
    ports = Ports(port)
    if taken := busy(list(range(port, port + 8))):
        raise CannotStart(f"Port {taken[0]} is in use by another program. Choose others with --port N.")
    command = [sys.executable, "-m", "scripts.local.dev", f"--port={port}", f"--data={folder / 'data'}", "--no-seed"]
    limits = {"RATE_LIMIT_SIGNED_IN": "1000000", "RATE_LIMIT_ANONYMOUS": "1000000"}
    environment = {**os.environ, **limits, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with (folder / "screen").open("wb") as screen:
        options = ["--memory"] if memory else []
        process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=screen, stderr=screen, env=environment)
    try:
        ends = time.monotonic() + START_SECONDS
        while "Ctrl-C stops it all" not in (said := (folder / "screen").read_text()):
            if process.poll() is not None or time.monotonic() > ends:
                raise CannotStart(f"scripts/dev did not start:\n{said}")
            time.sleep(0.2)
        yield f"{ports.url('client')}/graphql"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


async def soak(url: str, seconds: float, streams: int, clients: int, readings: int) -> list[Reading]:
    """Load the shop for so long; print and return evenly spaced readings."""
    load = _Load(url, await asyncio.to_thread(seed, url), time.monotonic() + seconds)
    began, found = time.monotonic(), list[Reading]()
    async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=None)) as load.http:
        tasks = [asyncio.create_task(load.stream(number)) for number in range(streams)]
        tasks += [asyncio.create_task(load.ask(number)) for number in range(clients)]
        for number in range(1, readings + 1):
            await asyncio.sleep(max(0.0, began + number * seconds / readings - time.monotonic()))
            found.append(Reading(time.monotonic() - began, await load.megabytes(), load.answers.total()))
            print(
                f"{found[-1].seconds:8.0f} s{found[-1].megabytes:10.1f} MB{found[-1].answers:10,} answers", flush=True
            )
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(f"\n{', '.join(f'{number:,} {what}' for what, number in sorted(load.answers.items()))}")
    return found


def growth(readings: Sequence[Reading], warm_up: float) -> float:
    """Return how much higher the median of the last quarter of the readings is than that of the
    first quarter after the warm-up, which is this share of all readings; 0.1 is a tenth."""
    warm = [one.megabytes for one in readings[int(len(readings) * warm_up) :]]
    quarter = max(1, len(warm) // 4)
    return median(warm[-quarter:]) / median(warm[:quarter]) - 1


class _Load:
    """`answers`: how many there were, by what they were. Clients and streams go on until `ends`."""

    http: httpx.AsyncClient

    def __init__(self, url: str, products: list[dict[str, Any]], ends: float) -> None:
        self._url, self._products, self._ends = url, products, ends
        self.answers = Counter[str]()

    async def megabytes(self) -> float:
        memory = (await self._post(MEMORY, "admin")).json()["data"]["memoryInfo"]
        return float(memory["totalMb"] - memory["etsMb"])

    async def ask(self, client: int) -> None:
        """Order, or query something, again and again."""
        chosen = random.Random(client)
        while time.monotonic() < self._ends:
            user = f"user-{chosen.randrange(USERS)}"
            if chosen.random() < 0.25:
                await self._counted(self._post(ORDER, user, input=self._order(chosen, user)))
            else:
                name = "".join(chosen.choices("abcdefghijklmnopqrstuvwxyz", k=8))
                await self._counted(self._post(chosen.choice(QUERIES).replace("NAME", name), "admin"))

    def _order(self, chosen: random.Random, user: str) -> dict[str, Any]:
        product = chosen.choice(self._products)
        line = {"productId": product["id"], "productName": product["name"], "quantity": 1}
        payment = chosen.choice(["approve", "approve", "decline"])
        return {"userId": user, "items": [line | {"unitPrice": product["price"]}], "paymentMethod": payment}

    async def stream(self, number: int) -> None:
        """Keep a stream open, and open it again from time to time."""
        query, user = STREAMS[number % len(STREAMS)], f"watcher-{number // MOST_PER_CLIENT}"
        while time.monotonic() < self._ends:
            with suppress(TimeoutError, httpx.TransportError):
                async with asyncio.timeout(REOPENED * random.uniform(0.5, 1.5)):
                    headers = {**_signed_in(user), "Accept": "text/event-stream"}
                    async with self.http.stream("POST", self._url, json={"query": query}, headers=headers) as answer:
                        async for line in answer.aiter_lines():
                            self.answers["live updates"] += line.startswith("event: next")
            self.answers["streams"] += 1

    async def _counted(self, request: Any) -> None:
        try:
            answer = (await request).json()
            self.answers["errors" if "errors" in answer else "results"] += 1
        except (httpx.TransportError, ValueError):
            self.answers["without an answer"] += 1

    async def _post(self, query: str, user: str, **variables: Any) -> httpx.Response:
        body = {"query": query, "variables": variables}
        return await self.http.post(self._url, json=body, headers=_signed_in(user))


def _signed_in(user: str) -> dict[str, str]:
    role = "writer" if user.startswith("user-") else "admin"
    return {"Authorization": f"Bearer {emulator_token(f'{user}@example.com', role=role)}"}
