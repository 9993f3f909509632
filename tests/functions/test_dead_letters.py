"""Dead letters and stuck sagas: what an admin sees, and can do about them."""

import base64
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from scripts.local.token import emulator_token
from shared.config.manifest import Subscription, manifest
from shared.domain.commands import ProcessPayment
from shared.domain.errors import Unavailable
from shared.domain.order import ORDER
from shared.gateways.protocol import PaymentGateway
from shared.gateways.providers import HttpProvider
from shared.messaging.envelope import ONLY_FOR, command_message
from shared.messaging.outbox import Publisher
from shared.monitoring.counts import Tally
from shared.monitoring.executions import ExecutionFilter
from shared.observability.context import fresh
from shared.read_models.by_generation import EveryGeneration
from shared.resilience.breakers import Breaker, Breakers
from shared.sagas.coordinate import Coordinator
from shared.sagas.definition import Retries
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.store import StoredSaga
from tests.scrapes import now
from tests.shop_in_memory import Json, ShopInMemory
from tests.stand_ins import raising, with_methods

FIELDS = """id source topic type subject status attempts error attributes data correlationId recordedAt updatedAt
    history { kind by attempts reason at }"""
LIST = f"""query ($status: DeadLetterStatus, $source: String, $limit: Int, $offset: Int) {{
    deadLetters(status: $status, source: $source, limit: $limit, offset: $offset) {{ {FIELDS} }}
}}"""
RETRY = f"mutation ($id: ID!) {{ retryDeadLetter(id: $id) {{ {FIELDS} }} }}"
RETRY_ALL = (
    "mutation ($source: String, $limit: Int) { retryDeadLetters(source: $source, limit: $limit) { retried left } }"
)
DISCARD = f"mutation ($id: ID!, $reason: String!) {{ discardDeadLetter(id: $id, reason: $reason) {{ {FIELDS} }} }}"
SAGA = """query ($id: ID!) { saga(id: $id) {
    status sagaType state eventsHandled commandsDispatched { commandType commandData timestamp } correlationId
} }"""
RETRY_SAGA = "mutation ($id: ID!) { retrySaga(id: $id) { id status } }"
PRODUCTS, CATEGORIES = "project-products.product-events", "project-categories.product-events"


def letters(shop: ShopInMemory, **which: Any) -> list[Json]:
    found: list[Json] = shop.ask(LIST, **which)["deadLetters"]
    return found


def poison(shop: ShopInMemory, data: bytes = b"poison", **attributes: str) -> dict[str, Json]:
    """Publish a message that both subscriptions reject; return their letters by source."""
    shop.engines.broker.publish_raw("product-events", data, attributes)
    shop.settle()
    return {letter["source"]: letter for letter in letters(shop)}


def kinds(letter: Json) -> list[str]:
    return [entry["kind"] for entry in letter["history"]]


def retries_of(shop: ShopInMemory, function: str) -> list[Json]:
    """Return the retried messages that were pushed to a function."""
    pushed = [one.body["message"] for one in shop.pushed(function)]
    return [message for message in pushed if ONLY_FOR in message["attributes"]]


class Broken:
    """Stands for any engine; each of its methods raises this error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, _: str) -> Callable[..., Any]:
        def fail(*_: Any) -> Any:
            raise self._error

        return fail


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (RuntimeError("a bug\0"), "RuntimeError: a bug\ufffd"),
        (Unavailable("the provider is down"), "the provider is down"),
    ],
)
def test_a_dead_letter_shows_its_error_and_succeeds_once_its_consumer_works(
    shop: ShopInMemory, error: Exception, shown: str
) -> None:
    working, shop.engines.payments = shop.engines.payments, cast(PaymentGateway, Broken(error))
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    (letter,) = letters(shop, status="PENDING", source="process-payment.process-payment")
    assert (letter["type"], letter["subject"]) == ("ProcessPayment", f"order-{order_id}")
    assert (letter["error"], letter["attempts"], letter["topic"]) == (shown, 10, "process-payment")
    assert letter["correlationId"] == shop.log()[-1].metadata.correlation_id
    shop.engines.payments = working
    assert shop.ask(RETRY, id=letter["id"])["retryDeadLetter"]["status"] == "RETRIED"
    shop.settle()
    assert shop.ask("query ($id: ID!) { order(id: $id) { status } }", id=order_id)["order"]["status"] == "CONFIRMED"
    (retried,) = letters(shop)
    assert (retried["status"], kinds(retried)) == ("RETRIED", ["FAILED", "RETRIED"])
    assert retried["history"][1]["by"] == "ann"


def test_a_retry_reaches_only_the_consumer_that_failed(shop: ShopInMemory) -> None:
    shop.deliver = lambda to, body: 204 if to.endpoint == "reserve_inventory" else shop.hand_over(to, body)
    working, models = shop.engines.order_saga, shop.engines.read_models
    shop.engines.order_saga = cast(Coordinator, Broken(RuntimeError("a bug")))
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    (letter,) = letters(shop)
    assert letter["source"] == "order-saga.order-events"
    shop.engines.order_saga = working
    shop.engines.read_models = cast(EveryGeneration, Broken(AssertionError("this consumer has had it")))
    shop.ask(RETRY, id=letter["id"])
    shop.settle()
    assert shop.ask(SAGA, id=order_id)["saga"]["status"] == "STARTED"
    assert len(retries_of(shop, "project_orders")) == 1  # which took it without looking at it
    assert len(letters(shop)) == 1
    shop.engines.read_models = models


def test_a_message_that_fails_again_is_the_same_letter_with_its_history(shop: ShopInMemory) -> None:
    before = poison(shop)
    assert set(before) == {PRODUCTS, CATEGORIES}
    retried = shop.ask(RETRY, id=before[PRODUCTS]["id"])["retryDeadLetter"]
    assert "RETRIED" in kinds(retried)
    shop.settle()
    after = {letter["source"]: letter for letter in letters(shop)}
    assert after[CATEGORIES] == before[CATEGORIES]
    again = after[PRODUCTS]
    assert (again["id"], again["status"], again["attempts"]) == (before[PRODUCTS]["id"], "PENDING", 20)
    assert kinds(again) == ["FAILED", "RETRIED", "FAILED"]
    assert "not a message of this shop" in again["error"]
    assert len(letters(shop)) == 2


@pytest.mark.parametrize(
    ("data", "attributes"),
    [
        (b"poison", {"colour": "green", "topic": "x", "retry": "y"}),
        (b"\x00\xff\xfe", {"null": "\0", "お茶": "🍵"}),
        (b"", {}),
        (b'"\\ud800"', {"ce-id": "not a UUID", "ce-type": "?"}),
        (b"x" * 10_000_000, {}),
    ],
    ids=["foreign", "binary", "empty", "half ours", "large"],
)
def test_a_message_that_cannot_be_decoded_is_published_again_exactly_as_before(
    shop: ShopInMemory, data: bytes, attributes: dict[str, str]
) -> None:
    letter = poison(shop, data, **attributes)[PRODUCTS]
    assert letter["data"] == base64.b64encode(data).decode()[:10_000]
    assert letter["attributes"] == attributes
    shop.ask(RETRY, id=letter["id"])
    shop.settle()
    message = retries_of(shop, "project_products")[0]
    assert base64.b64decode(message["data"]) == data
    assert message["attributes"] == attributes | {ONLY_FOR: PRODUCTS, "dead-letter": letter["id"]}


def test_a_second_click_publishes_nothing_again(shop: ShopInMemory) -> None:
    letter = poison(shop)[PRODUCTS]
    shop.deliver = lambda *_: 204
    for _ in range(3):
        assert shop.ask(RETRY, id=letter["id"])["retryDeadLetter"]["status"] == "RETRIED"
        shop.settle()
    assert len(retries_of(shop, "project_products")) == 1
    assert shop.refusal(DISCARD, id=letter["id"], reason="late")["code"] == "BUSINESS_RULE_VIOLATION"


def test_a_letter_is_retried_or_discarded_never_both(shop: ShopInMemory) -> None:
    poison(shop)
    shop.deliver = lambda *_: 204
    ids = [letter["id"] for letter in letters(shop)]
    asks: list[tuple[str, Json]] = [(RETRY, {"id": i}) for i in ids] + [
        (DISCARD, {"id": i, "reason": "x"}) for i in ids
    ]
    asks += [(RETRY_ALL, {}), *asks]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda ask: shop.graphql(*ask), asks))
    shop.settle()
    codes = {error["extensions"]["code"] for answer in answers for error in answer.get("errors", [])}
    assert codes <= {"BUSINESS_RULE_VIOLATION", "CONFLICT"}
    for letter in letters(shop):
        assert kinds(letter) in (["FAILED", "RETRIED"], ["FAILED", "DISCARDED"])
        assert letter["status"] == kinds(letter)[1]
        function = letter["source"].partition(".")[0].replace("-", "_")
        sent = [one for one in retries_of(shop, function) if one["attributes"][ONLY_FOR] == letter["source"]]
        assert len(sent) == (letter["status"] == "RETRIED")


def test_a_retry_that_cannot_be_published_leaves_the_letter_pending(shop: ShopInMemory) -> None:
    letter = poison(shop)[PRODUCTS]
    shop.engines.publisher = cast(Publisher, Broken(Unavailable("Pub/Sub is away")))
    assert shop.refusal(RETRY, id=letter["id"])["code"] == "SERVICE_UNAVAILABLE"
    assert shop.refusal(RETRY_ALL)["code"] == "SERVICE_UNAVAILABLE"
    shop.engines.publisher = shop.engines.broker
    assert [one["status"] for one in letters(shop)] == ["PENDING", "PENDING"]
    shop.deliver = lambda *_: 204
    assert shop.ask(RETRY, id=letter["id"])["retryDeadLetter"]["status"] == "RETRIED"


def test_many_are_retried_in_batches_the_oldest_first(shop: ShopInMemory) -> None:
    for _ in range(13):
        shop.engines.broker.publish_raw("product-events", b"poison", {})
    shop.settle()
    shop.deliver = lambda *_: 204
    of_products = [letter["id"] for letter in letters(shop, source=PRODUCTS, limit=100)][::-1]
    assert shop.ask(RETRY_ALL, source=PRODUCTS, limit=12)["retryDeadLetters"] == {"retried": 12, "left": 1}
    pending = letters(shop, status="PENDING", source=PRODUCTS)
    assert [letter["id"] for letter in pending] == of_products[12:]
    assert shop.ask(RETRY_ALL)["retryDeadLetters"] == {"retried": 14, "left": 0}
    assert shop.ask(RETRY_ALL)["retryDeadLetters"] == {"retried": 0, "left": 0}


def test_what_has_one_cause_is_listed_retried_and_discarded_without_what_has_another(shop: ShopInMemory) -> None:
    for number, data in enumerate((b"poison", b"[]", b"poison")):
        shop.engines.broker.publish_raw("product-events", data, {"number": f"{number}"})
    shop.settle()
    causes = shop.ask("{ deadLetterCauses { source type error count } }")["deadLetterCauses"]
    first, second = ({**one, "count": None} for one in causes if one["source"] == PRODUCTS)
    assert first["error"] != second["error"] and first["type"] is second["type"] is None
    for one in (first, second):
        del one["count"]
    listed = """query ($cause: DeadLetterCauseInput) {
        deadLettersConnection(filter: { status: PENDING, cause: $cause }) { totalCount edges { node { error } } } }"""
    found = shop.ask(listed, cause=first)["deadLettersConnection"]
    assert (found["totalCount"], {edge["node"]["error"] for edge in found["edges"]}) == (2, {first["error"]})
    shop.deliver = lambda *_: 204
    retry = "mutation ($c: DeadLetterCauseInput) { retryDeadLetters(cause: $c, limit: 1) { retried left } }"
    assert shop.ask(retry, c=first)["retryDeadLetters"] == {"retried": 1, "left": 1}
    discard = """mutation ($c: DeadLetterCauseInput) {
        discardDeadLetters(cause: $c, reason: "made by hand") { discarded left } }"""
    assert shop.ask(discard, c=second)["discardDeadLetters"] == {"discarded": 1, "left": 0}
    statuses = [(one["error"], one["status"]) for one in letters(shop, source=PRODUCTS)]
    assert sorted(statuses) == sorted(
        [(first["error"], "RETRIED"), (first["error"], "PENDING"), (second["error"], "DISCARDED")]
    )
    assert {one["status"] for one in letters(shop, source=CATEGORIES)} == {"PENDING"}


def test_a_retried_letter_that_fails_at_once_is_not_retried_again(shop: ShopInMemory) -> None:
    poison(shop)
    assert shop.ask(RETRY_ALL)["retryDeadLetters"]["retried"] == 2
    shop.settle()
    assert [(letter["status"], letter["attempts"]) for letter in letters(shop)] == [("PENDING", 20)] * 2


@pytest.mark.parametrize(("data", "source"), [("***", PRODUCTS), ("e30=", "long-gone.product-events")])
def test_a_letter_that_can_never_be_published_is_refused_and_does_not_stop_the_others(
    shop: ShopInMemory, data: str, source: str
) -> None:
    attributes = {"CloudPubSubDeadLetterSourceSubscription": source}
    body = {
        "message": {"messageId": "1", "data": data, "attributes": attributes},
        "subscription": f"projects/p/subscriptions/record-dead-letter.{PRODUCTS}.dead",
    }
    assert shop.push("record_dead_letter", body).status_code == 204
    (bad,) = letters(shop)
    poison(shop)
    shop.deliver = lambda *_: 204
    assert shop.ask(RETRY_ALL, limit=2)["retryDeadLetters"] == {"retried": 2, "left": 1}
    assert shop.refusal(RETRY, id=bad["id"])["code"] == "BUSINESS_RULE_VIOLATION"
    assert shop.ask(DISCARD, id=bad["id"], reason="garbage")["discardDeadLetter"]["status"] == "DISCARDED"


def test_a_discarded_letter_stays_discarded_with_the_admin_and_the_reason(shop: ShopInMemory) -> None:
    letter = poison(shop)[PRODUCTS]
    for reason in ("試験 🍵", "again"):
        found = shop.ask(DISCARD, id=letter["id"], reason=reason)["discardDeadLetter"]
        assert (found["status"], found["history"][-1]["reason"]) == ("DISCARDED", "試験 🍵")
        assert found["history"][-1]["by"] == "ann"
    assert shop.refusal(RETRY, id=letter["id"]) == {"code": "BUSINESS_RULE_VIOLATION", "field": ["id"]}
    assert [one["id"] for one in letters(shop, status="PENDING")] != [letter["id"]]


@pytest.mark.parametrize("reason", ["", "   ", "a\nb", "\0", "\ud800", "x" * 2001])
def test_discarding_needs_a_reason(shop: ShopInMemory, reason: str) -> None:
    letter = poison(shop)[PRODUCTS]
    assert shop.refusal(DISCARD, id=letter["id"], reason=reason) == {"code": "INVALID_INPUT", "field": ["reason"]}
    assert letters(shop, status="DISCARDED") == []
    assert shop.ask(DISCARD, id=letter["id"], reason="x" * 2000)


@pytest.mark.parametrize(
    ("query", "given", "code", "field"),
    [
        (RETRY, {"id": str(uuid7())}, "NOT_FOUND", ["id"]),
        (RETRY, {"id": "x"}, "INVALID_INPUT", ["id"]),
        (DISCARD, {"id": str(uuid7()), "reason": "x"}, "NOT_FOUND", ["id"]),
        (DISCARD, {"id": "", "reason": "x"}, "INVALID_INPUT", ["id"]),
        (RETRY_ALL, {"limit": 0}, "INVALID_INPUT", ["limit"]),
        (RETRY_ALL, {"limit": 1001}, "INVALID_INPUT", ["limit"]),
        (RETRY_ALL, {"source": "\0"}, "INVALID_INPUT", ["source"]),
        (LIST, {"limit": 1001}, "INVALID_INPUT", ["limit"]),
        (LIST, {"offset": -1}, "INVALID_INPUT", ["offset"]),
        (LIST, {"source": "a\0b"}, "INVALID_INPUT", ["source"]),
        (LIST, {"source": "\ud800"}, "INVALID_INPUT", ["source"]),
        (SAGA, {"id": str(uuid7())}, "NOT_FOUND", ["id"]),
        (SAGA, {"id": "x"}, "INVALID_INPUT", ["id"]),
        (RETRY_SAGA, {"id": str(uuid7())}, "NOT_FOUND", ["id"]),
        (RETRY_SAGA, {"id": "x"}, "INVALID_INPUT", ["id"]),
        ('query { sagas(status: "asleep") { id } }', {}, "INVALID_INPUT", ["status"]),
        ("query ($t: String) { sagas(sagaType: $t) { id } }", {"t": "\0"}, "INVALID_INPUT", ["sagaType"]),
        ("query { sagas(limit: 1001) { id } }", {}, "INVALID_INPUT", ["limit"]),
    ],
)
def test_invalid_requests_are_refused(shop: ShopInMemory, query: str, given: Json, code: str, field: list[str]) -> None:
    answer = shop.graphql(query, given)
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == code
    assert error["extensions"].get("field") == field or "cost" in error["message"]


def test_only_admins_see_dead_letters(shop: ShopInMemory) -> None:
    poison(shop)
    token = emulator_token("w@example.com")
    for headers, code in (
        ({"Authorization": ""}, "UNAUTHENTICATED"),
        ({"Authorization": f"Bearer {token}"}, "FORBIDDEN"),
    ):
        answer = shop.graphql(LIST, {}, headers)
        assert answer["data"] == {"deadLetters": None}
        assert [error["extensions"]["code"] for error in answer["errors"]] == [code]


@pytest.mark.parametrize("noting", ["hangs", "fails"])
def test_noting_why_a_delivery_failed_neither_delays_nor_changes_the_answer(
    shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch, hang: Callable[..., Any], noting: str
) -> None:
    def note(*_: str) -> None:
        if noting == "fails":
            raise Unavailable("the command database is away")
        hang()

    monkeypatch.setattr(shop.engines.dead_letters, "note_failure", note)
    message = {"messageId": "1", "data": "e30=", "attributes": {}}
    started = time.monotonic()
    body = {"message": message, "subscription": "projects/p/subscriptions/project-orders.order-events"}
    response = shop.push("project_orders", body)
    assert time.monotonic() - started < 10
    assert (response.status_code, response.json()["code"]) == (422, "INVALID_INPUT")


def test_a_message_for_another_consumer_is_acknowledged_unread(shop: ShopInMemory) -> None:
    message = {"messageId": "1", "data": "***", "attributes": {ONLY_FOR: "project-orders.order-events"}}
    for function, status in (("project_orders", 422), ("order_saga", 204)):
        subscription = f"{function.replace('_', '-')}.order-events"
        body = {"message": message, "subscription": f"projects/p/subscriptions/{subscription}"}
        assert shop.push(function, body).status_code == status


def no_patience(shop: ShopInMemory) -> None:
    """Let each deadline of the saga pass at once, and each compensation have two attempts."""
    now = timedelta(0)
    steps = tuple(replace(step, within=now) for step in ORDER_FULFILMENT.steps)
    saga = replace(ORDER_FULFILMENT, steps=steps, undo_within=now, undo_retries=Retries(1))
    shop.engines.order_saga = Coordinator(saga, ORDER, shop.engines.event_store, shop.engines.sagas)


class NoRefunds:
    """A payment provider that charges and cannot refund."""

    def __init__(self, working: PaymentGateway) -> None:
        self.charge = working.charge

    def refund(self, key: str) -> None:
        raise Unavailable("the payment provider refuses DELETE")


def stuck(shop: ShopInMemory) -> tuple[str, str, Callable[[], None]]:
    """Make an order whose refund fails. Return it, its product, and a function that repairs
    refunds."""
    no_patience(shop)
    working = shop.engines.payments
    shop.engines.payments = NoRefunds(working)
    product_id = shop.new_product()
    order_id = shop.new_order(product_id, shippingMethod="refuse")
    shop.settle()
    while shop.call("sweep_sagas").json() != {"done": 0}:
        shop.settle()

    def mend() -> None:
        shop.engines.payments = working

    return order_id, product_id, mend


def test_a_compensation_that_keeps_failing_leaves_the_saga_stuck_until_it_is_retried(shop: ShopInMemory) -> None:
    order_id, product_id, mend = stuck(shop)
    found = shop.ask(SAGA, id=order_id)["saga"]
    assert (found["status"], found["sagaType"], found["state"]["step"]) == ("STUCK", "OrderSaga", 1)
    assert [one["commandType"] for one in found["commandsDispatched"]].count("RefundPayment") == 2
    assert found["eventsHandled"][:2] == ["OrderCreated", "InventoryReserved"]
    assert [one["id"] for one in shop.ask('{ sagas(status: "STUCK") { id } }')["sagas"]] == [order_id]
    given_up = letters(shop, source="refund-payment.refund-payment")
    assert {letter["error"] for letter in given_up} == {"the payment provider refuses DELETE"}
    mend()
    retried = shop.ask(RETRY_SAGA, id=order_id)["retrySaga"]
    assert retried["id"] == order_id
    assert retried["status"] in ("COMPENSATING", "FAILED")  # as it is when the answer is made, perhaps undone by then
    shop.settle()
    assert shop.ask(SAGA, id=order_id)["saga"]["status"] == "FAILED"
    order = shop.ask("query ($id: ID!) { order(id: $id) { status sagaStatus } }", id=order_id)["order"]
    assert order == {"status": "FAILED", "sagaStatus": "FAILED"}
    stock = shop.ask("query ($id: ID!) { product(id: $id) { stockQuantity reservedQuantity } }", id=product_id)
    assert stock["product"] == {"stockQuantity": 100, "reservedQuantity": 0}
    assert [entry["status"] for entry in shop.engines.sandbox.ledger("payments")] == ["undone"]
    history = shop.engines.sagas.history(UUID(order_id))
    assert [entry.data for entry in history if entry.kind == "retry"] == [{"actor": "ann"}]
    before = (shop.log(), shop.engines.sandbox.ledger("payments"))
    assert shop.ask(RETRY_ALL)["retryDeadLetters"]["retried"] == len(given_up)  # by now they change nothing
    shop.settle()
    assert (shop.log(), shop.engines.sandbox.ledger("payments")) == before
    assert {letter["status"] for letter in letters(shop)} == {"RETRIED"}


def test_admins_who_retry_a_saga_at_once_send_one_command(shop: ShopInMemory) -> None:
    order_id, _, mend = stuck(shop)
    shop.deliver = lambda *_: 204
    sent = len(shop.pushed("refund_payment"))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: shop.graphql(RETRY_SAGA, {"id": order_id}), range(4)))
    shop.settle()
    assert answers == [{"data": {"retrySaga": {"id": order_id, "status": "COMPENSATING"}}}] * 4
    assert len(shop.pushed("refund_payment")) == sent + 1
    mend()


def test_an_order_whose_saga_never_began_gets_one(shop: ShopInMemory) -> None:
    shop.deliver = lambda to, body: 204 if to.endpoint == "order_saga" else shop.hand_over(to, body)
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    assert shop.ask("{ sagas { id } }")["sagas"] == []
    shop.deliver = shop.hand_over
    assert shop.ask(RETRY_SAGA, id=order_id)["retrySaga"]["status"] == "STARTED"
    shop.settle()
    assert shop.ask(SAGA, id=order_id)["saga"]["status"] == "COMPLETED"
    answer = shop.graphql(RETRY_SAGA, {"id": order_id})
    assert answer["errors"][0]["extensions"]["code"] == "BUSINESS_RULE_VIOLATION"
    assert "COMPLETED" in answer["errors"][0]["message"]


def test_a_late_answer_frees_a_stuck_saga_without_another_compensation(shop: ShopInMemory) -> None:
    order_id, _, mend = stuck(shop)
    mend()
    late = [letter["id"] for letter in letters(shop, source="refund-payment.refund-payment")]
    deliver = shop.hand_over
    shop.deliver = lambda to, body: 204 if to.endpoint == "order_saga" else deliver(to, body)
    shop.ask(RETRY, id=late[0])
    shop.settle()
    shop.deliver = deliver
    shop.ask(RETRY_SAGA, id=order_id)
    shop.settle()
    assert shop.ask(SAGA, id=order_id)["saga"]["status"] == "FAILED"
    assert [entry.kind for entry in shop.engines.sagas.history(UUID(order_id))].count("retry") == 0


def test_only_expired_records_are_deleted(shop: ShopInMemory) -> None:
    poison(shop)
    shop.new_order(shop.new_product())
    shop.settle()
    (discarded, kept) = letters(shop)
    shop.ask(DISCARD, id=discarded["id"], reason="old")
    assert shop.call("expire_records").json() == {"done": 0}
    shop.engines.settings = replace(shop.engines.settings, keep_history_days=0)
    assert shop.call("expire_records").json()["done"] > 1
    assert [letter["id"] for letter in letters(shop)] == [kept["id"]]
    (saga,) = shop.ask("{ sagas { status eventsHandled } }")["sagas"]
    assert saga == {"status": "COMPLETED", "eventsHandled": []}
    assert shop.call("expire_records").json() == {"done": 0}


@pytest.mark.parametrize("error", [Unavailable("away"), RuntimeError("a bug")])
@pytest.mark.parametrize("failing", ["forget_keys", "forget_failures"])
def test_a_store_that_fails_does_not_stop_the_others_from_deleting(
    shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch, failing: str, error: Exception
) -> None:
    shop.ask(DISCARD, id=poison(shop)[PRODUCTS]["id"], reason="old")
    shop.engines.settings = replace(shop.engines.settings, keep_history_days=0)
    store: Any = shop.engines.event_store if failing == "forget_keys" else shop.engines.dead_letters

    def fail(*_: Any) -> int:
        raise error

    monkeypatch.setattr(store, failing, fail)
    assert shop.call("expire_records").status_code in (500, 503)
    assert letters(shop, status="DISCARDED") == []


def test_a_consumer_that_was_never_reached_reports_no_error(shop: ShopInMemory) -> None:
    def deliver(subscription: Subscription, body: Json) -> int:
        return 0 if subscription.endpoint == "project_products" else shop.hand_over(subscription, body)

    shop.deliver = deliver
    shop.new_product()
    shop.settle()
    (letter,) = letters(shop)
    assert (letter["source"], letter["error"], letter["attempts"]) == (PRODUCTS, None, 10)


def order_of(shop: ShopInMemory, order_id: str) -> Json:
    found: Json = shop.ask(
        "query ($id: ID!) { order(id: $id) { status whatHappensNow timeline { kind name status error } } }", id=order_id
    )["order"]
    return found


def opened(shop: ShopInMemory, dependency: str) -> Breaker:
    """Open a dependency's circuit breaker for an hour and return it."""
    shop.engines.breakers = Breakers(1, 3600)
    with pytest.raises(Unavailable), shop.engines.breakers[dependency].guard():
        raise Unavailable("down")
    return shop.engines.breakers[dependency]


def test_waiting_for_an_open_breaker_uses_up_no_attempt(shop: ShopInMemory) -> None:
    """However often the message comes back while the provider is away, no dead letter is left
    behind."""
    breaker = opened(shop, "the payment provider")
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    for _ in range(15):  # more than a message has attempts
        (waiting,) = shop.engines.outboxes[1].about(f"order-{order_id}")
        shop.engines.outboxes[1].delete([waiting.id])
        shop.engines.broker.publish([waiting])
        shop.settle()
    assert breaker.state == "open"
    assert letters(shop) == []
    shown = order_of(shop, order_id)
    assert "it waits for the payment provider" in shown["whatHappensNow"]
    (entry,) = [one for one in shown["timeline"] if one["kind"] == "OUTBOX"]
    assert (entry["name"], entry["status"], entry["error"]) == (
        "ProcessPayment",
        "WAITING",
        "waits for the payment provider",
    )
    assert {one["function"] for one in retries_by_function(shop)} == {"process_payment"}
    shop.engines.breakers = Breakers(10, 5)
    shop.engines.payments = HttpProvider(
        shop.engines.settings.payment_url, shop.engines.http, shop.engines.breakers["the payment provider"]
    )
    (waiting,) = shop.engines.outboxes[1].about(f"order-{order_id}")
    shop.engines.broker.publish([waiting])
    shop.engines.outboxes[1].delete([waiting.id])
    shop.settle()
    assert order_of(shop, order_id)["status"] == "CONFIRMED"
    assert (letters(shop), shop.engines.outboxes[1].about(f"order-{order_id}")) == ([], [])


def retries_by_function(shop: ShopInMemory) -> list[Json]:
    """Return the pushes that are for one subscription, each with the function that they reached."""
    names = {one.endpoint for one in manifest().all_subscriptions}
    return [
        {"function": name}
        for name in names
        for one in shop.pushed(name)
        if ONLY_FOR in one.body["message"]["attributes"]
    ]


def test_a_message_that_cannot_be_put_back_is_delivered_again(shop: ShopInMemory) -> None:
    opened(shop, "the payment provider")
    shop.engines.sagas = with_methods(shop.engines.sagas, postpone=raising(Unavailable("the saga store is away")))
    shop.new_order(shop.new_product())
    shop.settle()
    (letter,) = letters(shop)
    assert (letter["source"], letter["attempts"]) == ("process-payment.process-payment", 10)


@pytest.mark.parametrize(("can_be_put_back", "attempts"), [(True, 0), (False, 10)])
def test_only_a_delivery_that_uses_up_an_attempt_is_counted(
    shop: ShopInMemory, can_be_put_back: bool, attempts: int
) -> None:
    """The history of executions, its counts, the metric and Pub/Sub agree."""
    opened(shop, "the payment provider")
    if not can_be_put_back:
        away = raising(Unavailable("the saga store is away"))
        shop.engines.sagas = with_methods(shop.engines.sagas, postpone=away)
    source, before = "process-payment.process-payment", now(shop, "create_order")
    shop.new_order(shop.new_product())
    shop.settle()
    shop.engines.recorder.flush()
    tally = shop.engines.counts.executions().ever.get(("delivery", source), Tally())
    assert (tally.count, tally.errors) == (attempts, attempts)
    history = shop.engines.executions.find(ExecutionFilter("delivery", source))
    assert [one.status for one in history] == ["SERVICE_UNAVAILABLE"] * attempts
    after = now(shop, "create_order")
    metric = "shop_deliveries_total"
    counted = {
        code: after[metric].get((source, code), 0) - before.get(metric, {}).get((source, code), 0)
        for code in ("OK", "SERVICE_UNAVAILABLE")
    }
    assert counted == {"OK": 0, "SERVICE_UNAVAILABLE": attempts}


def test_the_letter_of_a_step_settles_itself_when_its_saga_has_moved_on(shop: ShopInMemory) -> None:
    working, shop.engines.payments = shop.engines.payments, cast(PaymentGateway, Broken(RuntimeError("a bug")))
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    (letter,) = letters(shop, status="PENDING")
    shop.call("sweep_sagas")
    assert [one["id"] for one in letters(shop, status="PENDING")] == [letter["id"]]  # the saga still waits for it
    shop.command("cancel_order", {"orderId": order_id})
    shop.settle()
    assert {one["type"] for one in letters(shop, status="PENDING")} == {"ProcessPayment", "RefundPayment"}
    shop.call("sweep_sagas")
    assert {one["type"] for one in letters(shop, status="PENDING")} == {"RefundPayment"}
    (settled,) = letters(shop, status="DISCARDED")
    last = settled["history"][-1]
    assert (last["kind"], last["by"]) == ("DISCARDED", "system")
    assert last["reason"] == "the saga has moved on: it awaits the outcome of RefundPayment"
    shop.engines.payments = working
    refund = letters(shop, status="PENDING")[0]
    shop.ask(RETRY, id=refund["id"])
    shop.settle()
    assert shop.ask(SAGA, id=order_id)["saga"]["status"] == "FAILED"
    assert letters(shop, status="PENDING") == []


def test_a_letter_that_arrives_after_its_saga_has_ended_is_discarded_at_once(shop: ShopInMemory) -> None:
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    message = command_message(ProcessPayment(UUID(order_id)), f"order-{order_id}", fresh())
    working = shop.engines.event_store
    shop.engines.event_store = with_methods(working, read=raising(RuntimeError("a bug")))
    shop.engines.broker.publish([message])
    shop.settle()
    shop.engines.event_store = working
    (letter,) = letters(shop)
    assert (letter["status"], letter["source"]) == ("DISCARDED", "process-payment.process-payment")
    assert letter["history"][-1]["reason"] == "the saga has ended COMPLETED without it"


def test_many_letters_are_discarded_together_and_a_list_names_their_orders(shop: ShopInMemory) -> None:
    discard_all = """mutation ($source: String, $limit: Int) {
        discardDeadLetters(reason: "moved", source: $source, limit: $limit) { discarded left } }"""
    for _ in range(3):
        shop.engines.broker.publish_raw("order-events", b"poison", {"ce-subject": f"order-{uuid7()}"})
    shop.settle()
    listed = shop.ask("{ deadLetters { source subject orderId firstError error } }")["deadLetters"]
    consumers = sum(one.topic == "order-events" for one in manifest().all_subscriptions)
    assert len(listed) == 3 * consumers
    assert {f"order-{one['orderId']}" for one in listed} == {one["subject"] for one in listed}
    assert all(one["firstError"] == one["error"] for one in listed)
    source = "order-saga.order-events"
    assert shop.ask(discard_all, source=source, limit=2)["discardDeadLetters"] == {"discarded": 2, "left": 1}
    assert shop.ask(discard_all, source=source)["discardDeadLetters"] == {"discarded": 1, "left": 0}
    assert shop.ask(discard_all)["discardDeadLetters"] == {"discarded": 3 * (consumers - 1), "left": 0}
    assert {one["history"][-1]["reason"] for one in letters(shop)} == {"moved"}
    assert shop.refusal(discard_all, limit=0)["code"] == "INVALID_INPUT"


UNKNOWN = ["order-1", "order-", "tea", f"product-{uuid7()}", f"order-{uuid7()}"]


@pytest.mark.parametrize("subject", UNKNOWN, ids=["short", "empty", "other", "product", "order"])
def test_a_letter_of_no_known_saga_stays_for_an_admin(shop: ShopInMemory, subject: str) -> None:
    attributes = {"ce-type": "ProcessPayment", "ce-subject": subject}
    shop.engines.broker.publish_raw("process-payment", b"poison", attributes)
    shop.settle()
    assert shop.call("sweep_sagas").status_code == 200
    assert [one["status"] for one in letters(shop)] == ["PENDING"]


def test_a_sweep_asks_for_the_sagas_of_all_letters_at_once(shop: ShopInMemory) -> None:
    shop.engines.payments = cast(PaymentGateway, Broken(RuntimeError("a bug")))
    for _ in range(3):
        shop.new_order(shop.new_product())
    shop.settle()
    assert len(letters(shop, status="PENDING")) == 3
    asked: list[int] = []
    load_many = shop.engines.sagas.load_many

    def counted(saga_ids: Collection[UUID]) -> Mapping[UUID, StoredSaga]:
        asked.append(len(saga_ids))
        return load_many(saga_ids)

    shop.engines.sagas = with_methods(shop.engines.sagas, load_many=counted)
    shop.call("sweep_sagas")
    assert asked == [3]


def test_a_saga_that_cannot_be_moved_keeps_no_overtaken_letter_from_being_discarded(shop: ShopInMemory) -> None:
    shop.engines.payments = cast(PaymentGateway, Broken(RuntimeError("a bug")))
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    shop.command("cancel_order", {"orderId": order_id})
    shop.settle()
    shop.engines.order_saga = with_methods(shop.engines.order_saga, sweep=raising(RuntimeError("an unknown event")))
    assert shop.call("sweep_sagas").status_code == 500
    assert [one["type"] for one in letters(shop, status="DISCARDED")] == ["ProcessPayment"]


def test_letters_that_are_awaited_hide_no_older_one_that_is_overtaken(
    shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.sagas.overtaken._PAGE", 2)
    shop.engines.payments = cast(PaymentGateway, Broken(RuntimeError("a bug")))
    orders = [shop.new_order(shop.new_product()) for _ in range(4)]
    shop.settle()
    for order_id in (orders[0], orders[2]):
        shop.command("cancel_order", {"orderId": order_id})
        shop.settle()
    shop.call("sweep_sagas")
    discarded = letters(shop, status="DISCARDED")
    assert {one["subject"] for one in discarded} == {f"order-{orders[0]}", f"order-{orders[2]}"}
    assert {one["type"] for one in discarded} == {"ProcessPayment"}
