"""A client follows an order's saga through GraphQL only, with the providers over real HTTP."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from shared.config.manifest import Subscription
from shared.domain.commands import FailOrder
from shared.domain.order import ORDER
from shared.event_store.protocol import Checkpoint
from shared.messaging.envelope import command_message
from shared.messaging.memory import MemoryOutbox
from shared.observability.context import fresh
from shared.sagas.coordinate import Coordinator
from shared.sagas.definition import Progress
from shared.sagas.memory import MemorySagaStore
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.status import SagaStatus
from shared.sagas.store import StoredSaga
from tests.shop_in_memory import PATIENCE, Json, ShopInMemory

CREATE_CATEGORY = "mutation ($input: CreateCategoryInput!) { createCategory(input: $input) { id } }"
CREATE_PRODUCT = "mutation ($input: CreateProductInput!) { createProduct(input: $input) { id } }"
CREATE_ORDER = """mutation ($input: CreateOrderInput!) {
  createOrder(input: $input) { success message order { id status totalAmount } }
}"""
CANCEL = """mutation ($id: ID!, $reason: String) {
  cancelOrder(id: $id, reason: $reason) { success order { id status } message }
}"""
FULL_ORDER = """query ($id: ID!) { order(id: $id) {
  status totalAmount currency reason sagaId sagaStatus sagaCurrentStep paymentId shippingId
  items { productId productName quantity unitPrice subtotal }
} }"""
STOCK = "query ($id: ID!) { product(id: $id) { stockQuantity reservedQuantity availableQuantity } }"

STOCKED = 10


@pytest.fixture
def tea(shop: ShopInMemory) -> str:
    return product(shop, "Tea")


def product(shop: ShopInMemory, name: str, stock: int = STOCKED) -> str:
    category_id = shop.ask(CREATE_CATEGORY, input={"name": f"for {name}"})["createCategory"]["id"]
    given = {"name": name, "price": "500", "categoryId": category_id, "stockQuantity": stock}
    product_id: str = shop.ask(CREATE_PRODUCT, input=given)["createProduct"]["id"]
    return product_id


def create(shop: ShopInMemory, lines: dict[str, int], **more: str) -> str:
    """Order the quantities of `lines`, whose keys are name:id of a product; return the order's
    id."""
    items = [
        {"productId": product_id, "productName": name, "quantity": quantity, "unitPrice": "500"}
        for (name, product_id), quantity in zip((key.split(":") for key in lines), lines.values(), strict=True)
    ]
    result = shop.ask(CREATE_ORDER, input={"userId": "ann", "items": items, **more})["createOrder"]
    assert result["success"] and result["order"]["status"] == "PENDING"
    order_id: str = result["order"]["id"]
    return order_id


def buy(shop: ShopInMemory, tea: str, quantity: int = 3, **more: str) -> str:
    return create(shop, {f"Tea:{tea}": quantity}, **more)


def order(shop: ShopInMemory, order_id: str) -> Json:
    found: Json = shop.ask(FULL_ORDER, id=order_id)["order"]
    return found


def stock(shop: ShopInMemory, product_id: str) -> tuple[int, int, int]:
    """Return how many units are in stock, reserved and available."""
    found = shop.ask(STOCK, id=product_id)["product"]
    return found["stockQuantity"], found["reservedQuantity"], found["availableQuantity"]


def ledger(shop: ShopInMemory, kind: str) -> dict[str, str]:
    return {entry["key"]: entry["status"] for entry in shop.engines.sandbox.ledger(kind)}


def test_an_order_is_reserved_charged_shipped_and_confirmed(shop: ShopInMemory, tea: str) -> None:
    order_id = buy(shop, tea)
    shop.settle()
    found = order(shop, order_id)
    (payment,), (shipment,) = shop.engines.sandbox.ledger("payments"), shop.engines.sandbox.ledger("shipments")
    assert found == {
        "status": "CONFIRMED",
        "totalAmount": "1500",
        "currency": "JPY",
        "reason": None,
        "sagaId": order_id,
        "sagaStatus": "COMPLETED",
        "sagaCurrentStep": None,
        "paymentId": payment["reference"],
        "shippingId": shipment["reference"],
        "items": [{"productId": tea, "productName": "Tea", "quantity": 3, "unitPrice": "500", "subtotal": "1500"}],
    }
    assert stock(shop, tea) == (7, 0, 7)
    assert (payment["key"], payment["status"], payment["amount"]) == (order_id, "accepted", "1500")
    assert (shipment["key"], shipment["status"]) == (order_id, "accepted")


def test_the_last_unit_can_be_ordered(shop: ShopInMemory, tea: str) -> None:
    order_id = buy(shop, tea, STOCKED)
    shop.settle()
    assert order(shop, order_id)["status"] == "CONFIRMED"
    assert stock(shop, tea) == (0, 0, 0)


@pytest.mark.parametrize(
    ("quantity", "methods", "reason", "payments", "shipments"),
    [
        (STOCKED + 1, {}, "Tea: 11 ordered, 10 available", [], []),
        (3, {"paymentMethod": "decline"}, "the sandbox was told to decline", ["refused"], []),
        (3, {"paymentMethod": "gold"}, "unknown method gold", ["refused"], []),
        (3, {"shippingMethod": "refuse"}, "the sandbox was told to refuse", ["undone"], ["refused"]),
        (3, {"paymentMethod": "fail-2", "shippingMethod": "refuse"}, "told to refuse", ["undone"], ["refused"]),
    ],
)
def test_a_step_that_fails_undoes_the_order_and_says_why(
    shop: ShopInMemory,
    tea: str,
    quantity: int,
    methods: dict[str, Any],
    reason: str,
    payments: list[str],
    shipments: list[str],
) -> None:
    order_id = buy(shop, tea, quantity, **methods)
    shop.settle()
    found = order(shop, order_id)
    assert (found["status"], found["sagaStatus"], found["sagaCurrentStep"]) == ("FAILED", "FAILED", None)
    assert reason in found["reason"]
    assert stock(shop, tea) == (STOCKED, 0, STOCKED)
    assert [*ledger(shop, "payments").values()] == payments
    assert [*ledger(shop, "shipments").values()] == shipments


@pytest.mark.parametrize(
    "methods", [{"paymentMethod": "fail-2"}, {"shippingMethod": "fail-2"}, {"paymentMethod": "fail-1"}]
)
def test_a_provider_that_fails_for_a_while_only_delays_an_order(
    shop: ShopInMemory, tea: str, methods: dict[str, Any]
) -> None:
    order_id = buy(shop, tea, **methods)
    shop.settle()
    assert order(shop, order_id)["status"] == "CONFIRMED"
    assert stock(shop, tea) == (7, 0, 7)
    assert ledger(shop, "payments") == ledger(shop, "shipments") == {order_id: "accepted"}
    assert shop.engines.dead_letters.latest(1) == []


def test_an_order_gets_all_its_lines_or_none(shop: ShopInMemory, tea: str) -> None:
    mug = product(shop, "Mug", stock=1)
    failing = create(shop, {f"Tea:{tea}": 2, f"Mug:{mug}": 2})
    shop.settle()
    assert order(shop, failing)["reason"] == "Mug: 2 ordered, 1 available"
    assert (stock(shop, tea), stock(shop, mug)) == ((10, 0, 10), (1, 0, 1))
    fitting = create(shop, {f"Tea:{tea}": 2, f"Mug:{mug}": 1})
    shop.settle()
    assert order(shop, fitting)["totalAmount"] == "1500"
    assert (stock(shop, tea), stock(shop, mug)) == ((8, 0, 8), (0, 0, 0))


def test_concurrent_orders_get_no_more_units_than_there_are(shop: ShopInMemory, tea: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        order_ids = list(pool.map(lambda _: buy(shop, tea), range(8)))
    shop.settle()
    ends = {order_id: order(shop, order_id)["status"] for order_id in order_ids}
    assert sorted(ends.values()) == 3 * ["CONFIRMED"] + 5 * ["FAILED"]
    assert stock(shop, tea) == (1, 0, 1)
    confirmed = {order_id: "accepted" for order_id, end in ends.items() if end == "CONFIRMED"}
    assert ledger(shop, "payments") == ledger(shop, "shipments") == confirmed


@pytest.mark.parametrize(
    ("lost", "status", "payments"),
    [
        ("reserve_inventory", "PENDING", 0),
        ("process_payment", "INVENTORY_RESERVED", 0),
        ("arrange_shipping", "PAYMENT_PROCESSED", 1),
        ("confirm_order", "SHIPPED", 1),
    ],
)
def test_an_unfinished_order_shows_the_step_it_waits_for(
    shop: ShopInMemory, tea: str, lost: str, status: str, payments: int
) -> None:
    shop.deliver = lambda to, body: 204 if to.endpoint == lost else shop.hand_over(to, body)
    order_id = buy(shop, tea)
    shop.settle()
    found = order(shop, order_id)
    assert (found["status"], found["sagaStatus"], found["sagaCurrentStep"]) == (status, "STARTED", lost)
    assert stock(shop, tea) == ((10, 0, 10) if lost == "reserve_inventory" else (10, 3, 7))
    assert len(ledger(shop, "payments")) == payments


def test_reserved_units_cannot_be_removed_from_stock(shop: ShopInMemory, tea: str) -> None:
    shop.deliver = lambda to, body: 204 if to.endpoint == "process_payment" else shop.hand_over(to, body)
    buy(shop, tea, 3)
    shop.settle()
    adjust = "mutation ($id: ID!, $delta: Int!) { adjustStock(id: $id, delta: $delta) { availableQuantity } }"
    update = (
        "mutation ($id: ID!, $n: Int!) { updateProduct(id: $id, input: {stockQuantity: $n}) { availableQuantity } }"
    )
    assert shop.refusal(adjust, id=tea, delta=-8) == {"code": "BUSINESS_RULE_VIOLATION", "field": ["delta"]}
    assert shop.refusal(update, id=tea, n=2) == {"code": "BUSINESS_RULE_VIOLATION", "field": ["input", "stockQuantity"]}
    assert shop.ask(adjust, id=tea, delta=-7)["adjustStock"] == {"availableQuantity": 0}
    assert shop.ask(update, id=tea, n=5)["updateProduct"] == {"availableQuantity": 2}


def test_an_order_that_is_being_compensated_shows_it(shop: ShopInMemory, tea: str) -> None:
    shop.deliver = lambda to, body: 204 if to.endpoint == "refund_payment" else shop.hand_over(to, body)
    order_id = buy(shop, tea, shippingMethod="refuse")
    shop.settle()
    found = order(shop, order_id)
    assert (found["sagaStatus"], found["sagaCurrentStep"]) == ("STARTED", "compensating")
    assert found["reason"] == "the sandbox was told to refuse"


def cancel(shop: ShopInMemory, order_id: str, reason: str | None = None) -> Json:
    return shop.graphql(CANCEL, {"id": order_id, "reason": reason})


STEPS = ["reserve_inventory", "process_payment", "arrange_shipping", "confirm_order"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_order_can_be_cancelled_at_any_time_before_shipment(
    shop: ShopInMemory, tea: str, step: str, when: str
) -> None:
    answers: list[Json] = []
    later_steps, cancelled = STEPS[STEPS.index(step) + 1 :], Event()

    def deliver(subscription: Subscription, body: Json) -> int:
        if subscription.endpoint in later_steps:
            assert cancelled.wait(PATIENCE)
        if subscription.endpoint != step:
            return shop.hand_over(subscription, body)
        order_id = json.loads(base64.b64decode(body["message"]["data"]))["orderId"]
        if when == "before":
            answers.append(cancel(shop, order_id, "too late"))
        status = shop.hand_over(subscription, body)
        if when == "after":
            answers.append(cancel(shop, order_id, "too late"))
        cancelled.set()
        return status

    shop.deliver = deliver
    order_id = buy(shop, tea)
    shop.settle()
    shipped = (step, when) == ("arrange_shipping", "after") or step == "confirm_order"
    (answer,) = answers
    if shipped:
        assert answer["errors"][0]["extensions"] == {"code": "BUSINESS_RULE_VIOLATION", "field": ["id"]}
    else:
        assert answer["data"]["cancelOrder"]["success"]
    found = order(shop, order_id)
    assert found["status"] == ("CONFIRMED" if shipped else "CANCELLED")
    assert found["reason"] == (None if shipped else "too late")
    assert_consistent(shop, tea, [order_id], each=3)


def test_cancelling_at_once_ends_cancelled_or_confirmed_but_never_both(shop: ShopInMemory, tea: str) -> None:
    def buy_and_cancel(_: int) -> str:
        order_id = buy(shop, tea, 1)
        cancel(shop, order_id)
        return order_id

    with ThreadPoolExecutor(4) as pool:
        order_ids = list(pool.map(buy_and_cancel, range(8)))
    shop.settle()
    assert {order(shop, order_id)["status"] for order_id in order_ids} <= {"CANCELLED", "CONFIRMED"}
    assert_consistent(shop, tea, order_ids, each=1)


def assert_consistent(shop: ShopInMemory, tea: str, order_ids: list[str], each: int) -> None:
    """Check that every order has one end, which payments, shipments and stock match, and no unit
    stays reserved."""
    ends: list[tuple[str, str]] = [
        (event.stream.removeprefix("order-"), event.type)
        for event in shop.log()
        if event.type in ("OrderConfirmed", "OrderCancelled", "OrderFailed")
    ]
    assert sorted(order_id for order_id, _ in ends) == sorted(order_ids)
    confirmed = {order_id for order_id, end in ends if end == "OrderConfirmed"}
    for kind in ("payments", "shipments"):
        assert {key for key, status in ledger(shop, kind).items() if status == "accepted"} == confirmed
    left = STOCKED - each * len(confirmed)
    assert stock(shop, tea) == (left, 0, left)


def test_cancelling_twice_is_not_an_error(shop: ShopInMemory, tea: str) -> None:
    shop.deliver = lambda to, body: 204 if to.endpoint == "process_payment" else shop.hand_over(to, body)
    order_id = buy(shop, tea)
    shop.settle()
    assert cancel(shop, order_id, "first")["data"]["cancelOrder"]["success"]
    assert cancel(shop, order_id, "second")["data"]["cancelOrder"]["success"]
    shop.settle()
    assert cancel(shop, order_id, "third")["data"]["cancelOrder"]["order"]["status"] == "CANCELLED"
    assert order(shop, order_id)["reason"] == "first"


def test_cancelling_an_order_that_failed_leaves_it_failed(shop: ShopInMemory, tea: str) -> None:
    order_id = buy(shop, tea, paymentMethod="decline")
    shop.settle()
    assert cancel(shop, order_id)["data"]["cancelOrder"]["order"]["status"] == "FAILED"
    assert "decline" in order(shop, order_id)["reason"]


@pytest.mark.parametrize(
    ("order_id", "code"),
    [("01a2036e-52b0-77fc-b14e-d9af82f3d492", "NOT_FOUND"), ("x", "INVALID_INPUT"), ("", "INVALID_INPUT")],
)
def test_only_an_order_can_be_cancelled(shop: ShopInMemory, order_id: str, code: str) -> None:
    assert shop.refusal(CANCEL, id=order_id) == {"code": code, "field": ["id"]}


def test_a_product_that_is_deleted_while_it_is_reserved_is_still_shipped(shop: ShopInMemory, tea: str) -> None:
    reserved = Event()

    def deliver(subscription: Subscription, body: Json) -> int:
        if subscription.endpoint == "process_payment":
            delete = "mutation ($id: ID!) { deleteProduct(id: $id) { success } }"
            shop.ask(delete, id=tea)
            reserved.set()
        return shop.hand_over(subscription, body)

    shop.deliver = deliver
    order_id = buy(shop, tea)
    shop.settle()
    assert reserved.wait(PATIENCE)
    assert order(shop, order_id)["status"] == "CONFIRMED"
    assert stock(shop, tea) == (7, 0, 7)


def test_price_and_name_of_a_line_must_match_the_product(shop: ShopInMemory, tea: str) -> None:
    line: dict[str, Any] = {"productId": tea, "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    for field, wrong in {"unitPrice": "499", "productName": "Gold"}.items():
        given = {"userId": "ann", "items": [line | {field: wrong}]}
        extensions = shop.refusal(CREATE_ORDER, input=given)
        assert extensions == {"code": "BUSINESS_RULE_VIOLATION", "field": ["input", "items", 0, field]}
    assert shop.ask("{ orders { id } }")["orders"] == []


def versions(shop: ShopInMemory) -> list[StoredSaga]:
    """Return every version of the only saga, in order."""
    entries = shop.engines.saga_log.read_all(Checkpoint(), 1_000)
    return [replace(entry.saga.saga, version=0) for entry in entries if entry.saga]


def books(shop: ShopInMemory, tea: str) -> list[Any]:
    return [shop.log(), ledger(shop, "payments"), ledger(shop, "shipments"), stock(shop, tea)]


@pytest.mark.parametrize(
    "methods",
    [{}, {"paymentMethod": "decline"}, {"shippingMethod": "refuse"}, {"paymentMethod": "fail-2"}, {"quantity": 11}],
    ids=str,
)
def test_a_saga_restored_to_any_version_ends_without_repeating_a_step(
    shop: ShopInMemory, tea: str, methods: dict[str, Any]
) -> None:
    order_id = buy(shop, tea, **methods)
    shop.settle()
    before, saved = books(shop, tea), versions(shop)
    for version in (None, *saved[:-1]):
        outbox = MemoryOutbox()
        sagas = MemorySagaStore(outbox)
        coordinator = Coordinator(ORDER_FULFILMENT, ORDER, shop.engines.event_store, sagas)
        if version:
            sagas.save(version, [], [])
            assert coordinator.sweep(datetime.now(UTC) + timedelta(hours=9)) == 1
        else:
            coordinator.retry(UUID(order_id), "ann")
        restored = sagas.load(UUID(order_id))
        assert restored is not None
        assert restored.progress == saved[-1].progress
        assert outbox.backlog().waiting == 0
    assert books(shop, tea) == before


def test_a_lost_saga_of_an_order_under_way_sends_its_next_command_only(shop: ShopInMemory, tea: str) -> None:
    shop.deliver = lambda to, body: 204 if to.endpoint == "arrange_shipping" else shop.hand_over(to, body)
    order_id = buy(shop, tea)
    shop.settle()
    outbox = MemoryOutbox()
    lost = Coordinator(ORDER_FULFILMENT, ORDER, shop.engines.event_store, MemorySagaStore(outbox))
    lost.retry(UUID(order_id), "ann")
    assert outbox.backlog().waiting == 1
    assert [entry.name for entry in lost.sagas.history(UUID(order_id))] == [
        *("OrderCreated", "InventoryReserved", "PaymentProcessed"),
        "ArrangeShipping",
    ]


def test_a_saga_keeps_no_copy_of_what_its_events_tell_of_the_customer(shop: ShopInMemory, tea: str) -> None:
    order_id = buy(shop, tea)
    shop.settle()
    history = shop.engines.sagas.history(UUID(order_id))
    assert {entry.kind for entry in history} == {"event", "command"}
    assert [entry.data for entry in history if entry.kind == "event"] == [{}] * 6


def test_a_saga_ahead_of_a_restored_event_store_is_rebuilt_from_its_stream(shop: ShopInMemory, tea: str) -> None:
    shop.deliver = lambda to, body: 204 if to.endpoint == "arrange_shipping" else shop.hand_over(to, body)
    order_id = buy(shop, tea)
    shop.settle()
    (*_, last) = versions(shop)
    sagas = MemorySagaStore()
    sagas.save(replace(last, progress=replace(last.progress, status=SagaStatus.COMPLETED, seen=9)), [], [])
    Coordinator(ORDER_FULFILMENT, ORDER, shop.engines.event_store, sagas).retry(UUID(order_id), "ann")
    rebuilt = sagas.load(UUID(order_id))
    assert rebuilt is not None
    assert (rebuilt.version, rebuilt.progress.status, rebuilt.progress.step) == (2, SagaStatus.STARTED, 2)


def test_a_stuck_saga_whose_order_the_event_store_has_lost_can_be_closed(shop: ShopInMemory) -> None:
    saga_id = uuid7()
    shop.engines.sagas.save(StoredSaga("OrderSaga", Progress(saga_id, SagaStatus.STUCK), 0, "c"), [], [])
    retried = shop.ask("mutation ($id: ID!) { retrySaga(id: $id) { status } }", id=str(saga_id))
    assert retried == {"retrySaga": {"status": "FAILED"}}


def test_a_stuck_saga_that_missed_the_end_of_its_order_ends_when_it_is_retried(shop: ShopInMemory, tea: str) -> None:
    """The previous release ignored a compensation or an end that came while the saga was going
    forward."""
    order_id = buy(shop, tea, shippingMethod="refuse")
    shop.settle()
    (*_, last) = versions(shop)
    missed = replace(last.progress, status=SagaStatus.STUCK, undone=frozenset())
    sagas = MemorySagaStore()
    sagas.save(replace(last, progress=missed), [], [])
    Coordinator(ORDER_FULFILMENT, ORDER, shop.engines.event_store, sagas).retry(UUID(order_id), "ann")
    ended = sagas.load(UUID(order_id))
    assert ended is not None
    assert ended.progress.status is SagaStatus.FAILED


@pytest.mark.parametrize("step", STEPS)
def test_an_order_that_an_operator_ends_is_undone_first(shop: ShopInMemory, tea: str, step: str) -> None:
    shop.deliver = lambda to, body: 204 if to.endpoint == step else shop.hand_over(to, body)
    order_id = buy(shop, tea)
    shop.settle()
    shop.deliver = shop.hand_over
    command = FailOrder(UUID(order_id), "ended by an operator")
    shop.engines.publisher.publish([command_message(command, ORDER.stream(UUID(order_id)), fresh())])
    shop.settle()
    found = order(shop, order_id)
    assert (found["status"], found["sagaStatus"]) == ("FAILED", "FAILED")
    assert found["reason"] == "ended by an operator"
    assert stock(shop, tea) == (STOCKED, 0, STOCKED)
    assert {*ledger(shop, "payments").values(), *ledger(shop, "shipments").values()} <= {"undone"}
