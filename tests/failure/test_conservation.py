"""Units and money are conserved through kills and outages."""

import os
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait
from random import Random
from threading import Event

import pytest
import structlog

from shared.domain.order import OrderStatus
from tests.failure.books import comes_to_rest, faults, open_books
from tests.failure.breakable_shop import BreakableShop
from tests.failure.crowd import Client, Postman
from tests.simulation.invariants import Books

_log = structlog.get_logger()

ENVIRONMENT = {"SAGA_PACE": "0.1"}
CLIENTS, ORDERS, PRODUCTS, STOCK = 10, 31, 4, 120


def kill_again_and_again(shop: BreakableShop, random: Random, until: list[Future[None]]) -> int:
    """Kill the services in turn, at least six times; return how often."""
    kills = 0
    while kills < 6 or not all(one.done() for one in until):
        wait(until, random.uniform(3, 6))
        service = ("command", "query")[kills % 2]
        shop.kill(service)
        shop.start(service)
        kills += 1
    return kills


@pytest.mark.timeout(900)  # every restart of a service takes half a minute on a busy machine
def test_units_and_money_are_conserved_through_failures_duplicates_and_kills(shop: BreakableShop) -> None:
    seed = int(os.environ.get("SEED", time.time_ns() % 2**32))
    _log.info("SEED makes the same clients, duplicates and kills again", seed=seed)
    products = [shop.product(STOCK, price=f"{100 + 37 * n}", name=f"茶 {n}") for n in range(PRODUCTS)]
    clients = [Client(shop, products, Random(f"{seed} client {n}"), slow=n < 4) for n in range(CLIENTS)]
    postman, stop = Postman(shop, Random(f"{seed} postman")), Event()
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        round_trip = pool.submit(postman.go_round, stop)
        try:
            shopping = [pool.submit(client.order, ORDERS) for client in clients]
            kills = kill_again_and_again(shop, Random(f"{seed} kills"), shopping)
        finally:
            stop.set()
    for visit in (*shopping, round_trip):
        visit.result()
    comes_to_rest(shop, 300)  # a busy machine takes minutes for what the kills have held up
    postman.bring(postman.random.sample(postman.known(), 300))
    assert faults(shop) == []
    _log.info("it has been", kills=kills, unanswered=sum(client.unknown for client in clients), pushes=postman.brought)
    assert [client.surprises for client in clients if client.surprises] == []
    assert_something_happened(open_books(shop), clients, postman)


def assert_something_happened(books: Books, clients: list[Client], postman: Postman) -> None:
    """Assert that enough happened for the test to prove something."""
    accepted = {order_id for client in clients for order_id in client.accepted}
    assert len(accepted) >= 300
    placed = {str(order_id) for order_id in books.orders}
    assert accepted <= placed
    assert len(placed) <= len(accepted) + sum(client.unknown for client in clients)
    ends = Counter(order.status for order in books.orders.values())
    _log.info("the orders are", **{status.value: number for status, number in ends.items()})
    assert ends.keys() == {OrderStatus.CONFIRMED, OrderStatus.FAILED, OrderStatus.CANCELLED}
    assert sum(postman.brought.values()) > 300
    events = Counter(event.type for stream in books.streams.values() for event in stream)
    assert {"PaymentRefunded", "ShippingFailed", "InventoryReleased", "InventoryReservationFailed"} <= events.keys()
