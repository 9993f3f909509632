"""Send queries to the graphql function, next to a bare ASGI function that gives the same answers.

Both run as in the cloud (functions-framework, gunicorn), on the same Firestore. Their turns
alternate, so other programs disturb both as much.
"""

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

from scripts.local.bench_cold import PLAIN, ColdFunctions, PullingBroker, engines
from scripts.local.ports import Ports
from shared.resilience import clock

QUERIES = {
    "{ __typename }": 0.6,
    "{ products(limit: 20) { id name price category { id name } } }": 0.85,
}
"""The queries, and the wanted share of the bare function's requests per second."""
PLAIN_READ = "plain read"
PRODUCTS, CATEGORIES, CLIENTS = 20, 4, 4
WARM_UP = 100
"""Requests to each function before counting."""
UNLIMITED = {"RATE_LIMIT_ANONYMOUS": "1000000000", "RATE_LIMIT_SIGNED_IN": "1000000000"}


class Turn(NamedTuple):
    """`rate`: requests per second. `processor`: the function's seconds of the processor for one."""

    rate: float
    processor: float


@contextmanager
def reading_functions(folder: Path, port: int) -> Iterator[ColdFunctions]:
    """Start both functions, and a catalogue for them to read. Raise CannotStart."""
    with engines(folder, Ports(port)):
        functions = ColdFunctions(folder / "functions", port + 20)
        try:
            _create_catalogue(functions, PullingBroker())
            functions.start("graphql", {"query": "{ __typename }"}, UNLIMITED)
            served = {"FUNCTION_SOURCE": f"{PLAIN}/read.py", "FUNCTION_TARGET": "plain_read"}
            functions.start(PLAIN_READ, {"query": "{ __typename }"}, served)
            _require_same_answers(functions)
            yield functions
        finally:
            functions.close()


def measure(functions: ColdFunctions, query: str, seconds: float) -> tuple[Turn, Turn]:
    """Return our function's turn, and the bare function's in the same moments."""
    ours, plain = list[Turn](), list[Turn]()
    for _ in range(4):
        ours.append(_turn(functions, "graphql", query, seconds / 8))
        plain.append(_turn(functions, PLAIN_READ, query, seconds / 8))
    return _mean(ours), _mean(plain)


def shares(turns: list[tuple[Turn, Turn]]) -> tuple[Turn, Turn, Turn]:
    """Return the medians of ours, of the bare function's, and of their shares in the same round.
    The bare function's processor time is divided by ours, so that more is better for both."""
    ratios = [Turn(ours.rate / plain.rate, plain.processor / ours.processor) for ours, plain in turns]
    ours, plain, share = (
        Turn(*(median(column) for column in zip(*rows, strict=True))) for rows in (*zip(*turns, strict=True), ratios)
    )
    return ours, plain, share


def _mean(turns: list[Turn]) -> Turn:
    return Turn(*(sum(column) / len(turns) for column in zip(*turns, strict=True)))


def _turn(functions: ColdFunctions, name: str, query: str, seconds: float) -> Turn:
    address, body = urlsplit(functions.url(name)).netloc, json.dumps({"query": query}).encode()
    before, began = functions.processor_seconds(name), time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as clients:
        sent = sum(clients.map(lambda _: _send(address, body, began + seconds), range(CLIENTS)))
    took = time.monotonic() - began
    return Turn(sent / took, (functions.processor_seconds(name) - before) / sent)


def _send(address: str, body: bytes, until: float) -> int:
    """Send the body again and again over one connection; return how often."""
    connection, number = http.client.HTTPConnection(address, timeout=30), 0
    while time.monotonic() < until:
        connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK or b'"errors"' in text:
            raise RuntimeError(f"{address} answered {answer.status}: {text.decode()}")
        number += 1
    connection.close()
    return number


def _create_catalogue(functions: ColdFunctions, broker: PullingBroker) -> None:
    categories = [str(clock.new_id()) for _ in range(CATEGORIES)]
    for number, category in enumerate(categories):
        functions.call("create_category", {"categoryId": category, "name": f"Category {number}"})
    for number in range(PRODUCTS):
        name, about = f"Fountain pen {number:02}", "14-carat gold nib, fine; 万年筆「夜空」、細字"
        values = {"name": name, "description": about, "price": 500 + number, "stockQuantity": 10}
        product = {"productId": str(clock.new_id()), "categoryId": categories[number % CATEGORIES]}
        functions.call("create_product", product | values)
    broker.deliver_all(functions)


def _require_same_answers(functions: ColdFunctions) -> None:
    """Raise RuntimeError when the bare function answers otherwise than ours. Warm both up."""
    for query in QUERIES:
        for _ in range(WARM_UP):
            asked = [functions.call(name, {"query": query}, "/graphql") for name in ("graphql", PLAIN_READ)]
        if asked[0]["data"] != asked[1]["data"]:
            raise RuntimeError(f"the functions answer {query} in two ways: {asked}")
