"""Append one event in three ways, and measure how often processes do it at the same time in a given
time."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count, cycle
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier
from uuid import UUID, uuid4

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate as TheirAggregate
from eventsourcing.domain import event
from psycopg.conninfo import conninfo_to_dict
from uuid_utils.compat import uuid7

from shared.config.manifest import SQL_FOLDERS
from shared.domain.events import ProductPriceChanged
from shared.domain.product import PRODUCT
from shared.domain.values import Money
from shared.event_store.aggregates import Loaded, records
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append
from shared.observability.context import fresh
from shared.postgres.migrations import migrate
from shared.postgres.pool import connect

Rates = dict[tuple[str, int], list[float]]
"""Appends per second, one number a round, by contender and number of clients."""

STREAMS = 16
"""The number of streams of each client, written in turn."""

WARM_UP = 0.5
"""Seconds under full load before counting, so that connections, statements and plans are cached."""

_CONTEXT = multiprocessing.get_context("forkserver")


def set_up(url: str) -> None:
    """Create the event store's schema, and a copy of its events table for the plain INSERT."""
    _CONTEXT.set_forkserver_preload([__name__])
    migrate(url, SQL_FOLDERS["event_store"])
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE plain_events (LIKE events INCLUDING ALL)")
    _their_application(url).close()


def plain_insert(url: str) -> Iterator[None]:
    """Insert one row at each step, computing only the values that differ from row to row."""
    insert = """INSERT INTO plain_events (id, stream, version, type, schema_version, data, metadata, recorded_at)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"""
    data = f'{{"product_id": "{uuid4()}", "price": {{"amount": "1200", "currency": "JPY"}}}}'
    metadata = f'{{"correlation_id": "{uuid4()}", "causation_id": "{uuid4()}", "actor": "bench", "traceparent": null}}'
    versions = {f"product-{uuid4()}": 0 for _ in range(STREAMS)}
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        for stream in cycle(versions):
            versions[stream] += 1
            row = (uuid7(), stream, versions[stream], "ProductPriceChanged", 1, data, metadata, datetime.now(UTC))
            cursor.execute(insert, row, prepare=True)
            yield


def our_append(url: str) -> Iterator[None]:
    """Append as a command does: encode, write the event and its outbox row. Publishing is left to
    the relay."""
    store = PostgresEventStore(connect(url, size=4))
    refs = [PRODUCT.ref(uuid4()) for _ in range(STREAMS)]
    price, context = Money(Decimal(1200)), fresh("bench")
    for number in count():
        ref = refs[number % STREAMS]
        loaded = Loaded(ref, PRODUCT.initial, number // STREAMS)
        written = records([loaded], [ProductPriceChanged(ref.id, price)], context)
        store.append(Append(events=written))
        yield


class TheirProduct(TheirAggregate):
    @event("PriceChanged")
    def change_price(self, amount: Decimal, currency: str) -> None:
        self.price = (amount, currency)


def their_save(url: str) -> Iterator[None]:
    """Save with eventsourcing, set up as its documentation says. It has no outbox row: its readers
    follow the log."""
    shop = _their_application(url, CREATE_TABLE="no")
    for product in cycle([TheirProduct() for _ in range(STREAMS)]):
        if product.pending_events == []:
            product.change_price(Decimal(1200), "JPY")
        shop.save(product)
        yield


def _their_application(url: str, **settings: str) -> Application[UUID]:
    parts = conninfo_to_dict(url)
    where = {f"POSTGRES_{name.upper()}": str(parts.get(name, "")) for name in ("dbname", "host", "user", "password")}
    return Application({"PERSISTENCE_MODULE": "eventsourcing.postgres"} | where | settings)


PLAIN, OURS, THEIRS = "plain INSERT", "PostgresEventStore.append", "eventsourcing's save"
CONTENDERS: dict[str, Callable[[str], Iterator[None]]] = {PLAIN: plain_insert, OURS: our_append, THEIRS: their_save}


def measure(url: str, contender: str, clients: int, seconds: float) -> float:
    """Return the appends per second of all clients together. Raise EOFError when a client died and
    printed why."""
    barrier = _CONTEXT.Barrier(clients)
    running, receivers = [], []
    try:
        for _ in range(clients):
            receiver, sender = _CONTEXT.Pipe(duplex=False)
            process = _CONTEXT.Process(target=_client, args=(contender, url, barrier, seconds, sender), daemon=True)
            process.start()
            sender.close()
            running.append(process)
            receivers.append(receiver)
        counted: list[int] = [receiver.recv() for receiver in receivers]
        return sum(counted) / seconds
    finally:
        for process in running:
            process.terminate()
            process.join()


def _client(contender: str, url: str, barrier: Barrier, seconds: float, result: "Pipe[int, int]") -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    appends = CONTENDERS[contender](url)
    next(appends)
    barrier.wait(timeout=30)
    _appended(appends, WARM_UP)
    result.send(_appended(appends, seconds))


def _appended(appends: Iterator[None], seconds: float) -> int:
    """Append for this many seconds; return the number of appends."""
    until = time.perf_counter() + seconds
    number = 0
    while time.perf_counter() < until:
        next(appends)
        number += 1
    return number
