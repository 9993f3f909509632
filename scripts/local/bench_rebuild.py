"""Fill a new generation of the products' read model, next to Firestore's BulkWriter with the same
documents."""

import base64
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import functions_framework
from google.cloud.firestore import Client

from scripts.local.token import PROJECT
from shared.config.manifest import manifest, subscription_of
from shared.config.settings import settings
from shared.domain.events import ProductCreated, StockAdjusted
from shared.domain.values import Money
from shared.event_store.aggregates import CODEC
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, EventRecord
from shared.messaging.envelope import Message
from shared.observability import logs
from shared.observability.context import fresh
from shared.postgres.pool import connect
from shared.read_models.fill import FILL
from shared.read_models.generations import Generations, change_generations, stored_in
from shared.read_models.partitions import FILLING, Partition, Partitions
from shared.read_models.partitions import STREAMS as PAGE
from shared.read_models.protocol import Fields
from shared.read_models.transitions import rebuilt
from shared.resilience import clock
from shared.resilience.calls import awaited
from shared.runtime.current import engines

READ_MODEL, TOPIC, GOAL = "products", "product-events", 0.6
_NOWHERE = Path(os.devnull)


class Rates(NamedTuple):
    """Documents per second of so many workers together."""

    workers: int
    ours: float
    bulk_writer: float


def record_products(number: int) -> list[str]:
    """Append three events for each of so many new products, in full pages, and return their
    streams: one page more, to warm up with."""
    number, streams = -(-number // PAGE) * PAGE + PAGE, list[str]()
    with connect(settings().event_store_url, 1) as pool:
        store = PostgresEventStore(pool)
        for begin in range(0, number, 200):
            ids = [clock.new_id() for _ in range(begin, min(number, begin + 200))]
            store.append(Append([event for each in ids for event in _history(each)]))
            streams += [f"product-{each}" for each in ids]
    return streams


def _history(product_id: UUID) -> list[EventRecord]:
    price = Money(Decimal(500))
    made = ProductCreated(product_id, f"製品 Product {product_id}", None, clock.new_id(), price, 10)
    events = [made, StockAdjusted(product_id, 5, None), StockAdjusted(product_id, -1, None)]
    found = []
    for version, event in enumerate(events, 1):
        name, schema_version, data = CODEC.encode(event)
        head = clock.new_id(), f"product-{product_id}", version, name, schema_version
        found.append(EventRecord(*head, data, fresh(), clock.now()))
    return found


def measure(streams: Sequence[str], workers: int) -> Rates:
    """Fill a generation with the streams, then write its documents again with BulkWriter."""
    _log_apart()
    now = change_generations(engines().read_models, READ_MODEL, lambda now: rebuilt(Generations(newest=now.newest)))
    warm_up, *pages = [streams[begin : begin + PAGE] for begin in range(0, len(streams), PAGE)]
    cut = [Partition(FILLING, number, tuple(page)) for number, page in enumerate(pages)]
    Partitions(engines().read_models, READ_MODEL, now.newest).save(cut)
    pushes = [_push(now.newest, one.streams, one.id) for one in cut]
    ours = _rate(fill, [pushes[n::workers] for n in range(workers)], [_push(now.newest, warm_up)])
    written = awaited(_documents(stored_in(READ_MODEL, now.newest), streams), 120)
    if len(written) != len(streams):
        raise RuntimeError(f"{len(written)} of {len(streams)} documents were written")
    copies = [(f"plain_{now.newest}", written[n::workers]) for n in range(workers)]
    one = (copies[0][0], written[:1])
    return Rates(workers, ours, _rate(write_in_bulk, copies, one))


async def _documents(collection: str, streams: Sequence[str]) -> list[Fields]:
    keys, found = [stream.partition("-")[2] for stream in streams], list[Fields]()
    for begin in range(0, len(keys), 500):
        found += (await engines().queries.queries.get_many(collection, keys[begin : begin + 500])).values()
    return found


def _push(generation: int, page: Sequence[str], partition: str | None = None) -> bytes:
    data = {"generation": generation, "streams": list(page), "partition": partition}
    message = Message(TOPIC, FILL, READ_MODEL, data, fresh())
    pushed = {"data": base64.b64encode(message.body()).decode(), "attributes": message.attributes(), "messageId": "1"}
    subscription = subscription_of(f"project_{READ_MODEL}", TOPIC)
    return json.dumps({"message": pushed, "subscription": f"projects/{PROJECT}/subscriptions/{subscription}"}).encode()


def _log_apart() -> None:
    """Write the lines of the log, as in the cloud, but not among the figures."""
    engines()  # they configure the log, to standard output
    logs.configure(PROJECT, _NOWHERE.open("w"))


def _rate(work: Callable[[Any], int], shares: Sequence[Any], warm_up: Any) -> float:
    """Return the documents per second of processes that each do a share at the same time, after a
    warm-up."""
    with ProcessPoolExecutor(len(shares), mp_context=get_context("spawn")) as processes:
        list(processes.map(work, [warm_up] * len(shares)))
        began = time.monotonic()
        done = sum(processes.map(work, shares))
        return done / (time.monotonic() - began)


def fill(pushes: Sequence[bytes]) -> int:
    """Let the projection's function handle the pushes. Return the number of their streams."""
    _log_apart()
    name = f"project_{READ_MODEL}"
    client = functions_framework.create_app(name, str(manifest().functions[name].source)).test_client()
    for body in pushes:
        answer = client.post("/", data=body, content_type="application/json")
        if answer.status_code != 204:
            raise RuntimeError(answer.get_data(as_text=True))
    return len(pushes) * PAGE


def write_in_bulk(share: tuple[str, Sequence[Fields]]) -> int:
    """Write the documents with Firestore's BulkWriter. Return their number."""
    collection, documents = share
    client = Client(PROJECT)
    writer = client.bulk_writer()
    for document in documents:
        writer.set(client.collection(collection).document(document["id"]), document)
    writer.close()  # type: ignore[no-untyped-call]
    return len(documents)
