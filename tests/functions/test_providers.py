"""What a provider does to one order, it does to that order only; a provider that is down is not
called."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from statistics import median
from uuid import UUID

import httpx
import pytest

from shared.config.settings import Settings
from shared.domain.order import ORDER, Order, OrderStatus
from shared.event_store.aggregates import load
from shared.gateways.providers import TIMEOUT
from shared.sagas.coordinate import Coordinator
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from tests.shop_in_memory import PATIENCE, ShopInMemory, until

PROVIDER = "the payment provider"


@pytest.fixture
def shop_settings(shop_settings: Settings) -> Settings:
    """Let a breaker open after the failures of four orders."""
    return replace(shop_settings, breaker_fail_max=4, breaker_reset_seconds=600)


def state(shop: ShopInMemory, order_id: str) -> Order:
    return load(shop.engines.event_store, [ORDER.ref(UUID(order_id))])[0].state


LOOK = 0.005
"""Seconds between two looks at an order."""


def confirmed_after(shop: ShopInMemory, product_id: str) -> int:
    """Order one unit and return after how many looks the order is confirmed. A process that the
    machine stops for a while does not look meanwhile."""
    began, looks = time.monotonic(), 1
    order_id = shop.new_order(product_id)
    while state(shop, order_id).status is not OrderStatus.CONFIRMED:
        assert time.monotonic() - began < PATIENCE, state(shop, order_id)
        time.sleep(LOOK)
        looks += 1
    return looks


@pytest.mark.parametrize(("method", "attempts"), [("time-out", 7), ("fail-9", 20)])
def test_an_order_beside_three_whose_payments_fail_is_as_fast_as_alone(
    shop: ShopInMemory, method: str, attempts: int
) -> None:
    product_id = shop.new_product()
    alone = median(confirmed_after(shop, product_id) for _ in range(3))
    before = len(shop.pushed("process_payment"))
    for _ in range(3):
        shop.new_order(product_id, paymentMethod=method)
    while len(shop.pushed("process_payment")) < before + attempts:
        time.sleep(0.005)
    beside = median(confirmed_after(shop, product_id) for _ in range(3))
    shop.deliver = lambda *_: 204
    assert beside < max(5 * alone, TIMEOUT / 2 / LOOK)  # half a call that hangs; the machine may have become slower
    assert shop.engines.breakers.states()[PROVIDER] == "closed"


def test_orders_whose_payments_hang_take_turns(shop: ShopInMemory) -> None:
    """A call that hangs holds a thread and a place of the subscription. After its first, an order
    waits for the others that hang, and no attempt is counted for it."""
    shop.engines.keep_in_memory(lease_seconds=0.01)
    under_way, together, tried = Counter[str](), [0], Counter[str]()

    def hang(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        tried[path] += 1
        if tried[path] > 1:
            under_way[path] += 1
            together.append(under_way.total())
            time.sleep(0.05)
            under_way[path] -= 1
        raise httpx.ReadTimeout("too late")

    shop.engines.http = httpx.Client(transport=httpx.MockTransport(hang))
    product_id = shop.new_product()
    for _ in range(3):
        shop.new_order(product_id)
    until(lambda: len(tried) == 3 and tried.total() > 8 and shop.call("relay_outbox").status_code == 200)
    shop.deliver = lambda *_: 204
    assert max(together) == 1


def test_a_provider_that_is_down_is_no_longer_called_for_any_order(shop: ShopInMemory) -> None:
    called: list[str] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        called.append(request.url.path)
        raise httpx.ConnectError("connection refused")

    shop.engines.http = httpx.Client(transport=httpx.MockTransport(refuse))
    product_id, most = shop.new_product(), shop.engines.settings.breaker_fail_max
    for _ in range(most - 1):
        shop.new_order(product_id)
    shop.settle()
    assert len(called) > most
    assert shop.engines.breakers.states()[PROVIDER] == "closed"
    shop.new_order(product_id)
    shop.settle()
    assert shop.engines.breakers.states()[PROVIDER] == "open"
    calls = len(called)
    shop.new_order(product_id)
    shop.settle()
    assert len(called) == calls


class AnswersOnce:
    """The sandbox provider, which answers `content` to every payment request of the first order."""

    def __init__(self, content: bytes, sandbox: httpx.Client) -> None:
        self.content = content
        self.requests: list[str] = []
        self._sandbox = sandbox

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method == "PUT" and "/payments/" in path and path in (self.requests or [path]):
            self.requests.append(path)
            return httpx.Response(200, content=self.content)
        return self._sandbox.request(request.method, request.url, content=request.content, headers=request.headers)


@pytest.fixture
def sandbox() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


def answering_once(shop: ShopInMemory, sandbox: httpx.Client, content: bytes) -> AnswersOnce:
    provider = AnswersOnce(content, sandbox)
    shop.engines.http = httpx.Client(transport=httpx.MockTransport(provider))
    return provider


def expire_deadlines_at_once(shop: ShopInMemory) -> None:
    now = timedelta(0)
    steps = tuple(replace(step, within=now) for step in ORDER_FULFILMENT.steps)
    saga = replace(ORDER_FULFILMENT, steps=steps, undo_within=now)
    shop.engines.order_saga = Coordinator(saga, ORDER, shop.engines.event_store, shop.engines.sagas)


MALFORMED = {
    "an empty body": b"",
    "HTML": b"<!doctype html><title>Maintenance</title>",
    "cut off": b'{"status": "accepted", "refer',
    "no UTF-8": b'{"status": "accepted", "reference": "\xff"}',
    "a list": b'["accepted"]',
    "null": b"null",
    "no status": b'{"reference": "1"}',
    "another status": b'{"status": "perhaps"}',
    "a number as reference": b'{"status": "accepted", "reference": 5}',
    "an object as reason": b'{"status": "refused", "reason": {"code": 5}}',
    "a reference of 1,000 characters": json.dumps({"status": "accepted", "reference": "x" * 1_000}).encode(),
    "more than a hundred kilobytes": json.dumps({"status": "refused", "reason": "x" * 100_000}).encode(),
    "deeply nested": b"[" * 50_000 + b"]" * 50_000,
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_delays_and_at_last_undoes_its_order_only(
    shop: ShopInMemory, sandbox: httpx.Client, content: bytes
) -> None:
    expire_deadlines_at_once(shop)
    provider, product_id = answering_once(shop, sandbox, content), shop.new_product()
    order_id = shop.new_order(product_id)
    shop.settle()
    others = [shop.new_order(product_id) for _ in range(3)]
    shop.settle()
    assert {state(shop, other).status for other in others} == {OrderStatus.CONFIRMED}
    assert len(provider.requests) == 1
    assert state(shop, order_id).status is OrderStatus.INVENTORY_RESERVED
    while shop.call("sweep_sagas").json() != {"done": 0}:
        shop.settle()
    ended = state(shop, order_id)
    assert (ended.status, ended.reason) == (OrderStatus.FAILED, "no PaymentProcessed in time")
    assert len(provider.requests) == 1 + ORDER_FULFILMENT.steps[1].retries.times
    assert shop.engines.breakers.states()[PROVIDER] == "closed"
    assert {one["status"] for one in shop.engines.sandbox.ledger("payments") if one["key"] == order_id} == {"undone"}
    assert shop.engines.dead_letters.latest(1) == []


@pytest.mark.parametrize(
    ("content", "reference"),
    [
        (rb'{"status": "accepted", "reference": "p\ud83d-1"}', "p-1"),
        (rb'{"status": "accepted", "reference": "p\u0000-1"}', "p-1"),
        (rb'{"status": "accepted", "reference": "\ud83d\ude42"}', "🙂"),
        (b'{"status": "accepted", "reference": "p-1", "more": {"id": 1}}', "p-1"),
    ],
    ids=["half a surrogate pair", "a null byte", "an emoji", "further fields"],
)
def test_an_answer_is_taken_without_the_characters_that_cannot_be_stored(
    shop: ShopInMemory, sandbox: httpx.Client, content: bytes, reference: str
) -> None:
    answering_once(shop, sandbox, content)
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    assert (state(shop, order_id).status, state(shop, order_id).payment_id) == (OrderStatus.CONFIRMED, reference)


def test_a_long_reason_is_cut(shop: ShopInMemory, sandbox: httpx.Client) -> None:
    answering_once(shop, sandbox, json.dumps({"status": "refused", "reason": "no " * 30_000}).encode())
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    assert state(shop, order_id).status is OrderStatus.FAILED
    assert len(state(shop, order_id).reason or "") == 1_000


@pytest.mark.parametrize("content", [*MALFORMED.values(), b'{"status": "accepted"}'], ids=[*MALFORMED, "accepted"])
def test_a_refund_without_a_clear_answer_is_asked_for_again(shop: ShopInMemory, content: bytes) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            return httpx.Response(200, content=content)
        return httpx.Response(200, json={"status": "accepted" if "/payments/" in request.url.path else "refused"})

    shop.engines.http = httpx.Client(transport=httpx.MockTransport(answer))
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    assert "PaymentRefunded" not in {event.type for event in shop.log()}
    assert state(shop, order_id).status is OrderStatus.PAYMENT_PROCESSED
    (letter,) = shop.engines.dead_letters.latest(10)
    assert "did not answer with the status undone" in str(letter)
    assert shop.engines.breakers.states()[PROVIDER] == "closed"
