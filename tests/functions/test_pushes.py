"""Functions that Pub/Sub and the scheduler call refuse malformed pushes, and take late or repeated
ones."""

import base64
import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Event
from time import sleep
from typing import Any
from uuid import UUID

import httpx
import pytest
from uuid_utils.compat import uuid7

from shared.config.manifest import Subscription, manifest
from shared.domain.errors import Unavailable
from shared.domain.order import ORDER
from shared.domain.product import PRODUCT
from shared.event_store.aggregates import load
from shared.messaging.envelope import Publishable
from shared.messaging.memory import ACKNOWLEDGED, MemoryBroker
from shared.sagas.coordinate import Coordinator
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from tests.shop_in_memory import PATIENCE, Json, Pushed, ShopInMemory, together

LISTENERS = [function.name for function in manifest().functions.values() if function.topics]
FORWARD = ["reserve_inventory", "process_payment", "arrange_shipping", "confirm_order"]
BACKWARD = ["cancel_shipping", "refund_payment", "release_inventory", "fail_order"]
STEPS = [*FORWARD, *BACKWARD]


def push(data: bytes, **attributes: str) -> Json:
    ours = {
        "ce-specversion": "1.0",
        "ce-id": str(uuid7()),
        "ce-source": "//shop/order-events",
        "ce-type": "OrderCreated",
        "ce-subject": f"order-{uuid7()}",
        "ce-time": "2026-01-01T00:00:00+00:00",
        "correlation_id": "c",
        "causation_id": "c",
    }
    given = {name.replace("_", "-"): value for name, value in attributes.items()}
    message = {"messageId": "1", "data": base64.b64encode(data).decode(), "attributes": ours | given}
    return {"message": message, "subscription": "projects/p/subscriptions/s"}


def announcement(**changes: Any) -> bytes:
    fields = {"version": 1, "schema_version": 1, "data": {}, "recorded_at": "2026-01-01T00:00:00+00:00"}
    return json.dumps(fields | changes).encode()


def with_message(**changes: Any) -> Json:
    body = push(b"{}")
    return body | {"message": body["message"] | changes}


def deliver(shop: ShopInMemory, function: str, body: object) -> httpx.Response:
    """Push the body from one of the function's own subscriptions."""
    own = next(one.name for one in manifest().all_subscriptions if one.endpoint == function)
    named = isinstance(body, dict) and "subscription" in body
    return shop.push(function, {**body, "subscription": f"projects/p/subscriptions/{own}"} if named else body)  # type: ignore[dict-item]


NO_PUSHES: dict[str, object] = {
    "null": None,
    "a list": [],
    "an empty object": {},
    "a CloudEvent": {"specversion": "1.0", "id": "1", "type": "x", "source": "y", "data": {}},
    "no subscription": {"message": with_message()["message"]},
    "an empty message": {"message": {}, "subscription": "s"},
    "data that is no string": with_message(data=5),
    "attributes that are no strings": with_message(attributes={"ce-id": 5}),
}
NOT_OURS: dict[str, object] = {
    "wrong base64": with_message(data="***"),
    "half base64": with_message(data="e30"),
    "no JSON": push(b"hello"),
    "no UTF-8": push(b"\xff\xfe\xfd"),
    "deep JSON": push(b"[" * 100_000),
    "a JSON list": push(b"[]"),
    "no attributes": with_message(attributes={}),
    "an id that is no UUID": push(b"{}", ce_id="1"),
    "a time that is none": push(b"{}", ce_time="noon"),
    "a stream of nothing": push(b'{"version": 1, "schema_version": 1, "data": {}}', ce_subject="nothing"),
}
NO_EVENTS_NOR_COMMANDS: dict[str, object] = {
    "an empty object": push(b"{}"),
    "an unknown type": push(b'{"version": 1, "schema_version": 1, "data": {}}', ce_type="OrderEaten"),
    "a version that is none": push(announcement(version="x")),
    "a version before the first": push(announcement(version=0)),
    "a schema version that is none": push(announcement(schema_version="1")),
    "a time without a zone": push(announcement(recorded_at="2026-01-01")),
    "an unknown type of event": push(announcement(), ce_type="OrderEaten"),
}


def assert_refused_so_that_it_is_tried_again(shop: ShopInMemory, function: str, body: object) -> None:
    response = deliver(shop, function, body)
    assert response.status_code not in ACKNOWLEDGED and response.status_code >= 400
    assert set(response.json()) == {"code", "message", "field"}
    assert len(response.json()["message"]) > 10
    assert "Traceback" not in response.text


@pytest.mark.parametrize("function", LISTENERS)
@pytest.mark.parametrize("name", NO_PUSHES)
def test_a_body_that_is_not_a_push_is_refused(shop: ShopInMemory, function: str, name: str) -> None:
    assert_refused_so_that_it_is_tried_again(shop, function, NO_PUSHES[name])
    assert deliver(shop, function, NO_PUSHES[name]).json()["code"] == "INVALID_INPUT"
    assert_nothing_was_written(shop)


@pytest.mark.parametrize("function", LISTENERS)
@pytest.mark.parametrize("name", NOT_OURS)
def test_a_message_that_the_shop_did_not_publish_is_refused(shop: ShopInMemory, function: str, name: str) -> None:
    assert_refused_so_that_it_is_tried_again(shop, function, NOT_OURS[name])
    assert deliver(shop, function, NOT_OURS[name]).json()["code"] == "INVALID_INPUT"
    assert_nothing_was_written(shop)


@pytest.mark.parametrize("function", [function for function in LISTENERS if function != "order_saga"])
@pytest.mark.parametrize("name", NO_EVENTS_NOR_COMMANDS)
def test_a_message_that_is_neither_event_nor_command_is_refused(shop: ShopInMemory, function: str, name: str) -> None:
    assert_refused_so_that_it_is_tried_again(shop, function, NO_EVENTS_NOR_COMMANDS[name])
    assert deliver(shop, function, NO_EVENTS_NOR_COMMANDS[name]).json()["code"] == "INVALID_INPUT"
    assert_nothing_was_written(shop)


@pytest.mark.parametrize("name", NO_EVENTS_NOR_COMMANDS)
def test_the_coordinator_takes_a_message_only_as_a_hint(shop: ShopInMemory, name: str) -> None:
    assert deliver(shop, "order_saga", NO_EVENTS_NOR_COMMANDS[name]).status_code == 204
    assert_nothing_was_written(shop)


@pytest.mark.parametrize("function", [*LISTENERS, "record_dead_letter"])
def test_a_push_of_a_subscription_that_is_not_the_functions_own_is_refused(shop: ShopInMemory, function: str) -> None:
    """Otherwise a push account that is misused could hand any message to any function."""
    own = {one.name for one in manifest().all_subscriptions if one.endpoint == function}
    others = {one.name for one in manifest().all_subscriptions} - own
    made_up = {"s", "", f"{function.replace('_', '-')}.made-up", f"{min(own)}x", min(own).upper(), f"x/{min(own)}/"}
    before = shop.engines.dead_letters.pending(None)
    for name in sorted(others | made_up):
        body = with_message() | {"subscription": f"projects/p/subscriptions/{name}"}
        response = shop.push(function, body)
        assert (response.status_code, response.json()["code"]) == (403, "FORBIDDEN"), name
        assert f"does not push to {function}" in response.json()["message"]
    assert_nothing_was_written(shop)
    assert shop.engines.dead_letters.pending(None) == before


def assert_nothing_was_written(shop: ShopInMemory) -> None:
    assert shop.log() == []
    assert documents(shop) == {}


def documents(shop: ShopInMemory) -> dict[str, dict[str, Any]]:
    return {name: found for name, found in shop.engines.memory_models._collections.items() if found}


@pytest.mark.parametrize("function", LISTENERS)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 100_000, b"\xff", b" " * 21_000_000], ids=lambda body: f"{body!r:.8}"
)
def test_a_body_that_is_not_json_is_refused(shop: ShopInMemory, function: str, body: bytes) -> None:
    response = shop.call(function, body)
    assert (response.status_code, response.json()["code"]) == (422, "INVALID_INPUT")


def test_a_projection_refuses_an_event_of_another_aggregate(shop: ShopInMemory) -> None:
    shop.new_category()
    shop.settle()
    (about_a_category,) = shop.pushed("project_categories")
    before = documents(shop)
    assert_refused_so_that_it_is_tried_again(shop, "project_products", about_a_category.body)
    assert documents(shop) == before


@pytest.mark.parametrize("subject", ["nothing", "category-01a2036e-52b0-77fc-b14e-d9af82f3d492", "product-nothing"])
def test_a_projection_refuses_an_event_under_the_wrong_stream(shop: ShopInMemory, subject: str) -> None:
    shop.new_product()
    shop.settle()
    (pushed,) = shop.pushed("project_products")
    message = pushed.body["message"]
    wrong = message | {"attributes": message["attributes"] | {"ce-subject": subject}}
    before = json.dumps(documents(shop), default=str)
    assert_refused_so_that_it_is_tried_again(shop, "project_products", pushed.body | {"message": wrong})
    assert json.dumps(documents(shop), default=str) == before


@pytest.mark.parametrize("function", STEPS)
def test_a_step_refuses_the_command_of_another_step(shop: ShopInMemory, function: str) -> None:
    shop.deliver = lambda *_: 204
    order_id = shop.new_order(shop.new_product())
    other = "ConfirmOrder" if function != "confirm_order" else "ReserveInventory"
    before = shop.log()
    body = push(command_data(function, order_id), ce_type=other)
    assert_refused_so_that_it_is_tried_again(shop, function, body)
    assert shop.log() == before


@pytest.mark.parametrize("function", STEPS)
def test_a_step_of_an_order_that_does_not_exist_writes_nothing(shop: ShopInMemory, function: str) -> None:
    shop.deliver = lambda *_: 204
    name = function.title().replace("_", "")
    deliver(shop, function, push(command_data(function, str(uuid7())), ce_type=name))
    assert shop.log() == []
    assert shop.engines.sandbox.ledger("payments") == shop.engines.sandbox.ledger("shipments") == []


def command_data(function: str, order_id: str) -> bytes:
    return json.dumps({"orderId": order_id} | ({"reason": "?"} if function == "fail_order" else {})).encode()


def test_a_poison_message_becomes_a_dead_letter_and_delays_no_other(shop: ShopInMemory) -> None:
    behind_it = Event()

    def deliver(subscription: Subscription, body: Json) -> int:
        if body.get("deliveryAttempt") == subscription.max_attempts:
            behind_it.wait(PATIENCE)  # the last attempt ends after the messages behind it have arrived
        status = shop.hand_over(subscription, body)
        if subscription.endpoint == "project_products" and status == 204:
            behind_it.set()
        return status

    shop.deliver = deliver
    shop.engines.broker.publish_raw("product-events", b"poison", {"colour": "green"})
    product_id = shop.new_product()
    shop.settle()
    assert product_id in documents(shop)["products"]
    letters = shop.engines.dead_letters.latest(10)
    consumers = {one.name for one in manifest().all_subscriptions if one.topic == "product-events"}
    assert {letter.source for letter in letters} == consumers
    for letter in letters:
        assert (base64.b64decode(letter.data), letter.attempts) == (
            b"poison",
            manifest().subscriptions.max_delivery_attempts,
        )
        assert letter.attributes["colour"] == "green"
    attempts = [one for one in shop.pushed("project_products") if one.body["message"]["attributes"].get("colour")]
    assert [one.body["deliveryAttempt"] for one in attempts] == list(range(1, 11))


def test_a_dead_letter_is_stored_once_however_often_it_is_delivered(shop: ShopInMemory) -> None:
    shop.engines.broker.publish_raw("reserve-inventory", b"poison", {})
    shop.settle()
    (recorded,) = shop.pushed("record_dead_letter")
    assert shop.push("record_dead_letter", recorded.body).status_code == 204
    assert len(shop.engines.dead_letters.latest(10)) == 1


def test_a_message_that_fails_for_a_while_arrives_in_the_end(shop: ShopInMemory) -> None:
    shop.deliver = lambda to, body: shop.hand_over(to, body) if body.get("deliveryAttempt", 9) > 3 else 503
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    assert status(shop, order_id) == "CONFIRMED"
    assert shop.engines.dead_letters.latest(10) == []


def status(shop: ShopInMemory, order_id: str) -> str:
    return load(shop.engines.event_store, [ORDER.ref(UUID(order_id))])[0].state.status.value


def one_order_undone(shop: ShopInMemory) -> None:
    """Cancel an order just before it is shipped, so that every compensation runs."""

    def deliver(subscription: Subscription, body: Json) -> int:
        if subscription.endpoint == "arrange_shipping":
            shop.command("cancel_order", {"orderId": order_of(body)})
        return shop.hand_over(subscription, body)

    shop.deliver = deliver
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    assert status(shop, order_id) == "CANCELLED"


def one_order_done(shop: ShopInMemory) -> None:
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    assert status(shop, order_id) == "CONFIRMED"


def order_of(body: Json) -> str:
    order_id: str = json.loads(base64.b64decode(body["message"]["data"]))["orderId"]
    return order_id


@pytest.mark.parametrize(("steps", "run"), [(FORWARD, one_order_done), (BACKWARD, one_order_undone)])
def test_a_message_delivered_again_later_changes_nothing(
    shop: ShopInMemory, steps: Sequence[str], run: Callable[[ShopInMemory], None]
) -> None:
    run(shop)
    before = everything(shop)
    delivered = shop.pushed(*steps, "order_saga")
    assert {one.function for one in delivered} == {*steps, "order_saga"}
    for one in (*delivered, *reversed(delivered)):
        assert shop.push(one.function, one.body).status_code == 204
    shop.settle()
    assert everything(shop) == before


def everything(shop: ShopInMemory) -> list[Any]:
    sandbox = shop.engines.sandbox
    models = json.dumps(documents(shop), default=str, sort_keys=True)
    sagas = [shop.engines.sagas.history(order_id) for order_id in order_ids(shop)]
    return [shop.log(), sandbox.ledger("payments"), sandbox.ledger("shipments"), models, sagas]


def order_ids(shop: ShopInMemory) -> list[UUID]:
    return [ORDER.id_of(event.stream) for event in shop.log() if event.type == "OrderCreated"]


@pytest.mark.parametrize("run", [one_order_done, one_order_undone])
def test_a_message_delivered_twice_at_once_has_one_effect(
    shop: ShopInMemory, run: Callable[[ShopInMemory], None]
) -> None:
    with ThreadPoolExecutor(8) as pool:
        once = shop.hand_over

        def twice(subscription: Subscription, body: Json) -> int:
            return max(pool.map(lambda _: once(subscription, body), range(2)))

        shop.deliver = shop.hand_over = twice  # type: ignore[method-assign]
        run(shop)
    happened = Counter(event.type for event in shop.log())
    assert set(happened.values()) == {1}
    (order_id,) = order_ids(shop)
    seen = [entry.name for entry in shop.engines.sagas.history(order_id) if entry.kind == "event"]
    assert len(seen) == len(set(seen))
    assert shop.engines.dead_letters.latest(10) == []
    assert_balanced(shop)


def test_concurrent_messages_advance_a_saga_once(shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.deliver = lambda *_: 204
    shop.new_order(shop.new_product())
    shop.settle()
    (pushed,) = shop.pushed("order_saga")
    monkeypatch.setattr(shop.engines.sagas, "load", together(4, shop.engines.sagas.load))
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: shop.push("order_saga", pushed.body).status_code, range(4))) == {204}
    shop.settle()
    assert len(shop.pushed("reserve_inventory")) == 1


def assert_balanced(shop: ShopInMemory) -> None:
    """Check that payments, shipments and shipped units belong to confirmed orders, and no unit
    stays reserved."""
    log = shop.log()
    confirmed = sorted(event.stream.removeprefix("order-") for event in log if event.type == "OrderConfirmed")
    for kind in ("payments", "shipments"):
        held = [entry["key"] for entry in shop.engines.sandbox.ledger(kind) if entry["status"] == "accepted"]
        assert sorted(held) == confirmed
    products = {PRODUCT.id_of(event.stream) for event in log if event.type == "ProductCreated"}
    for product in load(shop.engines.event_store, [PRODUCT.ref(product_id) for product_id in products]):
        assert (product.state.reserved, product.state.on_hand) == ({}, 100 - len(confirmed))


class PartlyUnreachable:
    """The broker, without the topics in `unreachable`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.unreachable: set[str] = set()
        self._broker = broker

    def publish(self, messages: Sequence[Publishable]) -> list[UUID]:
        if self.unreachable & {message.topic for message in messages}:
            raise Unavailable("Pub/Sub is down")
        return self._broker.publish(messages)

    def has_topic(self, topic: str) -> bool:
        return self._broker.has_topic(topic)


LEASE_SECONDS = 0.2


@pytest.fixture
def unreachable(shop: ShopInMemory) -> set[str]:
    """The topics that can't be published to. The outboxes' leases are short."""
    publisher = shop.engines.publisher = PartlyUnreachable(shop.engines.broker)
    shop.engines.keep_in_memory(lease_seconds=LEASE_SECONDS)
    return publisher.unreachable


@pytest.mark.parametrize("topic", ["order-events", "reserve-inventory"])
def test_unpublished_messages_are_relayed_later(shop: ShopInMemory, unreachable: set[str], topic: str) -> None:
    product_id = shop.new_product()
    unreachable.add(topic)
    order_id = shop.new_order(product_id)
    shop.settle()
    assert status(shop, order_id) == "PENDING"
    sleep(LEASE_SECONDS)
    refused = shop.call("relay_outbox")
    assert (refused.status_code, refused.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    unreachable.clear()
    sleep(LEASE_SECONDS)
    assert shop.call("relay_outbox").json() == {"done": 1}
    shop.settle()
    assert status(shop, order_id) == "CONFIRMED"
    assert shop.call("relay_outbox").json() == {"done": 0}


def test_published_messages_are_not_relayed(shop: ShopInMemory, unreachable: set[str]) -> None:
    shop.new_order(shop.new_product())
    shop.settle()
    assert unreachable == set()
    assert shop.call("relay_outbox").json() == {"done": 0}


def expire_deadlines_at_once(shop: ShopInMemory) -> None:
    """Let every deadline of the saga pass as soon as it is set."""
    now = timedelta(0)
    steps = tuple(replace(step, within=now) for step in ORDER_FULFILMENT.steps)
    saga = replace(ORDER_FULFILMENT, steps=steps, undo_within=now)
    shop.engines.order_saga = Coordinator(saga, ORDER, shop.engines.event_store, shop.engines.sagas)


@pytest.mark.parametrize("lost", [*FORWARD, "order_saga"])
def test_the_sweep_makes_up_for_a_lost_message(shop: ShopInMemory, lost: str) -> None:
    expire_deadlines_at_once(shop)
    lost_pushes: list[Pushed] = []

    def deliver(subscription: Subscription, body: Json) -> int:
        if subscription.endpoint == lost and len(lost_pushes) < (1 if lost in FORWARD else 2):
            lost_pushes.append(Pushed(lost, body))
            return 204 if lost in FORWARD or len(lost_pushes) == 2 else shop.hand_over(subscription, body)
        return shop.hand_over(subscription, body)

    shop.deliver = deliver
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    assert status(shop, order_id) not in ("CONFIRMED", "FAILED")
    assert shop.call("sweep_sagas").json() == {"done": 1}
    shop.settle()
    assert status(shop, order_id) == "CONFIRMED"
    assert shop.call("sweep_sagas").json() == {"done": 0}
    assert_balanced(shop)


@pytest.mark.parametrize("silent", FORWARD)
def test_an_order_whose_step_never_answers_is_undone(shop: ShopInMemory, silent: str) -> None:
    expire_deadlines_at_once(shop)
    shop.deliver = lambda to, body: 204 if to.endpoint == silent else shop.hand_over(to, body)
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    for _ in range(10):
        shop.call("sweep_sagas")
        shop.settle()
    assert status(shop, order_id) == "FAILED"
    assert "in time" in next(event.data["reason"] for event in shop.log() if event.type == "OrderFailed")
    assert_balanced(shop)


@pytest.mark.parametrize(
    ("late", "until", "end"),
    [
        ("reserve_inventory", "release_inventory", "FAILED"),
        ("reserve_inventory", "fail_order", "FAILED"),
        ("process_payment", "refund_payment", "FAILED"),
        ("process_payment", "release_inventory", "FAILED"),
        ("arrange_shipping", "cancel_shipping", "FAILED"),
        ("arrange_shipping", "refund_payment", "FAILED"),
        ("confirm_order", "cancel_shipping", "CONFIRMED"),  # it wins the race: no step has been undone yet
        ("confirm_order", "refund_payment", "FAILED"),
        ("confirm_order", "fail_order", "FAILED"),
    ],
)
def test_a_step_that_arrives_while_it_is_undone_leaves_nothing_behind(
    shop: ShopInMemory, late: str, until: str, end: str
) -> None:
    expire_deadlines_at_once(shop)

    def deliver(subscription: Subscription, body: Json) -> int:
        if subscription.endpoint == late:
            return 204
        if subscription.endpoint == until:
            assert {shop.push(late, lost.body).status_code for lost in shop.pushed(late)} == {204}
        return shop.hand_over(subscription, body)

    shop.deliver = deliver
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    for _ in range(10):
        shop.call("sweep_sagas")
        shop.settle()
    assert status(shop, order_id) == end
    assert_balanced(shop)


def test_the_sweep_does_not_touch_sagas_before_their_deadline(shop: ShopInMemory) -> None:
    shop.deliver = lambda to, body: 204 if to.endpoint == "process_payment" else shop.hand_over(to, body)
    shop.new_order(shop.new_product())
    shop.settle()
    before = len(shop.pushed(*STEPS))
    assert shop.call("sweep_sagas").json() == {"done": 0}
    shop.settle()
    assert len(shop.pushed(*STEPS)) == before
