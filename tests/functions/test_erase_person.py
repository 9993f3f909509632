"""A person is erased: nothing at rest names the person any more, and the shop goes on working."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from scripts.local import keep
from shared.domain.errors import Unavailable
from shared.domain.events import Event
from shared.domain.order import ORDER
from shared.domain.personal import ERASED, PERSONAL
from shared.erasure.sealed import SealedEventLog, SealedEventStore
from shared.event_store.memory_log import MemoryEventLog
from shared.event_store.protocol import Append
from shared.monitoring.executions import ExecutionFilter
from shared.read_models.generations import Pace
from shared.resilience import clock
from tests.shop_in_memory import Json, ShopInMemory, until
from tests.stand_ins import raising, with_methods

ERASE = """mutation ($user: ID!) { erasePerson(userId: $user, reason: "request 7") { erased orders } }"""
ORDER_FIELDS = "userId status reason paymentId shippingId sagaStatus"
PERSON = "hanako-花子"


def erase(shop: ShopInMemory, user: str = PERSON) -> Json:
    answer: Json = shop.ask(ERASE, user=user)["erasePerson"]
    return answer


def order(shop: ShopInMemory, order_id: str) -> Json:
    shop.settle()
    found: Json = shop.ask(f'{{ order(id: "{order_id}") {{ {ORDER_FIELDS} }} }}')["order"]
    return found


def recorded(shop: ShopInMemory, order_id: str) -> list[str]:
    stream = f"order-{order_id}"
    return [event.type for event in shop.engines.event_store.read([stream])[stream]]


def at_rest(shop: ShopInMemory, folder: Path) -> bytes:
    """Return all that the stores hold, the read models and messages included."""
    shop.settle()
    shop.engines.recorder.flush()
    keep.save(shop.engines, folder / "everything")
    return (folder / "everything").read_bytes()


@contextmanager
def other_keys(shop: ShopInMemory, **methods: Callable[..., Any]) -> Iterator[None]:
    """Replace methods of the keys inside the block."""
    engines, raw = shop.engines, vars(shop.engines)["encrypted_events"]
    before = engines.person_keys, engines.event_store, engines.event_log
    keys = engines.person_keys = with_methods(engines.person_keys, **methods)
    engines.event_store = SealedEventStore(raw, lambda: keys)
    engines.event_log = SealedEventLog(MemoryEventLog(raw), lambda: keys)
    yield
    engines.person_keys, engines.event_store, engines.event_log = before


def kept_waiting(shop: ShopInMemory, *functions: str) -> None:
    """Let these functions never get a message."""
    shop.deliver = lambda to, body: 204 if to.endpoint in functions else shop.hand_over(to, body)


def test_nothing_at_rest_names_an_erased_person(shop: ShopInMemory, tmp_path: Path) -> None:
    product, own = shop.new_product(), {"X-Actor": "hanako-%E8%8A%B1%E5%AD%90", "X-Role": "writer"}
    line = {"productId": product, "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    confirmed, cancelled = str(uuid7()), str(uuid7())
    for order_id in (confirmed, cancelled):
        kept_waiting(shop, *(["process_payment"] if order_id == cancelled else []))
        body = {"orderId": order_id, "userId": PERSON, "items": [line], "paymentMethod": "card-of-hanako"}
        assert shop.command("create_order", body, own).status_code == 200
        shop.settle()
    reason = {"orderId": cancelled, "reason": "I am hanako and I move"}
    assert shop.command("cancel_order", reason, own).status_code == 200
    shop.settle()
    kept_waiting(shop)
    shop.graphql(f'{{ orders(userId: "{PERSON}") {{ id }} }}')
    shop.graphql(f'mutation {{ cancelOrder(id: "{cancelled}", reason: "hanako again") {{ success }} }}')
    found = order(shop, cancelled)
    assert (found["userId"], found["reason"]) == (PERSON, "I am hanako and I move")
    assert erase(shop) == {"erased": True, "orders": 2}
    for one in (order(shop, confirmed), order(shop, cancelled)):
        assert one["userId"] == ERASED
        assert (one["paymentId"], one["reason"]) in ((ERASED, None), (None, ERASED))
    everything = at_rest(shop, tmp_path)
    assert b"OrderErased" in everything and b"request 7" in everything
    assert [word for word in ("hanako", "花子", "I am", "card-of") if word.encode() in everything] == []
    shown = str(shop.ask("{ events(limit: 1000) { eventData metadata } recentEvents { eventData } }"))
    assert "erased" in shown and "hanako" not in shown


def test_a_repeated_request_has_the_same_answer_without_the_person(shop: ShopInMemory) -> None:
    line = {"productId": shop.new_product(), "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    body, once = {"orderId": str(uuid7()), "userId": PERSON, "items": [line]}, {"Idempotency-Key": "once"}
    before = shop.command("create_order", body, once)
    assert shop.command("create_order", body, once).content == before.content
    shop.settle()
    erase(shop)
    after = shop.command("create_order", body, once).content
    assert after == before.content.replace(PERSON.encode(), ERASED.encode())


def test_before_an_erasure_only_the_read_model_names_the_person(shop: ShopInMemory) -> None:
    order_id = shop.new_order(shop.new_product(), userId=PERSON)
    assert order(shop, order_id)["userId"] == PERSON
    raw = vars(shop.engines)["encrypted_events"]
    assert PERSON not in repr(raw.read([f"order-{order_id}"]))
    assert all(PERSON not in str(one.body) for one in shop.pushed("project_orders", "order_saga"))


@pytest.mark.parametrize("next_step", ["reserve_inventory", "process_payment", "arrange_shipping", "confirm_order"])
def test_an_order_under_way_is_cancelled_and_undone(shop: ShopInMemory, next_step: str) -> None:
    kept_waiting(shop, next_step)
    order_id = shop.new_order(shop.new_product(), userId=PERSON)
    shop.settle()
    kept_waiting(shop)
    assert erase(shop) == {"erased": True, "orders": 1}
    found = order(shop, order_id)
    assert (found["status"], found["userId"], found["reason"]) == ("CANCELLED", ERASED, ERASED)
    assert found["sagaStatus"] in ("FAILED", "COMPENSATED")
    assert {entry["status"] for entry in shop.engines.sandbox.ledger("payments")} <= {"undone"}
    assert {entry["status"] for entry in shop.engines.sandbox.ledger("shipments")} <= {"undone"}


def test_nothing_is_charged_once_the_key_is_destroyed(shop: ShopInMemory) -> None:
    """Between the two parts of an erasure a step finds an order that says nothing of its person."""
    kept_waiting(shop, "process_payment")
    order_id = shop.new_order(shop.new_product(), userId=PERSON)
    shop.settle()
    shop.engines.person_keys.destroy(PERSON, "ann", "request 7")
    shop.deliver = shop.hand_over
    body = next(one.body for one in shop.pushed("process_payment"))
    assert shop.push("process_payment", body).status_code == 204
    assert "PaymentProcessed" not in recorded(shop, order_id)
    assert shop.engines.sandbox.ledger("payments") == []
    assert shop.call("continue_erasures").json() == {"done": 1}
    assert order(shop, order_id)["status"] == "CANCELLED"


def test_a_customer_is_not_told_after_an_erasure(shop: ShopInMemory) -> None:
    kept_waiting(shop, "notify_customer")
    order_id = shop.new_order(shop.new_product(), userId=PERSON)
    shop.settle()
    erase(shop)
    kept_waiting(shop)
    for one in shop.pushed("notify_customer"):
        assert shop.push("notify_customer", one.body).status_code == 204
    assert recorded(shop, order_id)[-2:] == ["OrderConfirmed", "OrderErased"]
    assert order(shop, order_id)["status"] == "CONFIRMED"


def test_erasing_twice_or_an_unknown_person_changes_nothing(shop: ShopInMemory) -> None:
    order_id = shop.new_order(shop.new_product(), userId=PERSON)
    shop.settle()
    assert erase(shop) == {"erased": True, "orders": 1}
    before = recorded(shop, order_id)
    assert erase(shop) == erase(shop, "unknown") == {"erased": False, "orders": 0}
    assert recorded(shop, order_id) == before


def test_two_erasures_at_once_record_each_order_once(shop: ShopInMemory) -> None:
    orders = [shop.new_order(shop.new_product(), userId=PERSON) for _ in range(3)]
    shop.settle()
    with ThreadPoolExecutor(2) as pool:
        body = {"userId": PERSON, "reason": "request 7"}
        answers = [one.result() for one in [pool.submit(shop.command, "erase_person", body) for _ in "ab"]]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert sum(answer.json()["erased"] for answer in answers) == 1
    assert [recorded(shop, one).count("OrderErased") for one in orders] == [1, 1, 1]


def test_another_person_and_a_later_order_are_untouched(shop: ShopInMemory) -> None:
    product = shop.new_product()
    other = shop.new_order(product, userId="taro")
    shop.new_order(product, userId=PERSON)
    erase(shop)
    later = shop.new_order(product, userId=PERSON)
    assert order(shop, other)["userId"] == "taro"
    assert (order(shop, later)["userId"], order(shop, later)["status"]) == (PERSON, "CONFIRMED")
    assert erase(shop) == {"erased": True, "orders": 1}
    assert order(shop, later)["userId"] == ERASED


def test_the_timeline_of_an_erased_order_shows_no_other_order(shop: ShopInMemory) -> None:
    first, second = (shop.new_order(shop.new_product(), userId=PERSON) for _ in range(2))
    shop.settle()
    assert erase(shop) == {"erased": True, "orders": 2}
    shop.settle()
    shop.engines.recorder.flush()
    for order_id in (first, second):
        timeline = shop.ask(f'{{ order(id: "{order_id}") {{ timeline {{ kind name }} }} }}')["order"]["timeline"]
        assert [one["kind"] for one in timeline if one["name"] == "OrderErased"] == ["EVENT"]


@pytest.mark.parametrize("call", range(6))
def test_a_crash_between_any_two_lines_is_made_good_by_the_schedule(shop: ShopInMemory, call: int) -> None:
    orders = [shop.new_order(shop.new_product(), userId=PERSON) for _ in range(2)]
    shop.settle()
    good, left = shop.engines.event_store, iter(range(call))

    def append(append: Append) -> None:
        if next(left, None) is None:
            raise Unavailable("killed")
        good.append(append)

    shop.engines.event_store = with_methods(good, append=append)
    shop.command("erase_person", {"userId": PERSON, "reason": "request 7"})
    shop.engines.event_store = good
    assert shop.call("continue_erasures").status_code == 200
    assert [recorded(shop, one).count("OrderErased") for one in orders] == [1, 1]
    assert {order(shop, one)["userId"] for one in orders} == {ERASED}


def test_an_order_that_was_just_being_created_is_found_later(
    shop: ShopInMemory, moved: Callable[[float], None]
) -> None:
    """The erasure ends only when no request can create an order with the destroyed key any more."""
    shop.new_order(shop.new_product(), userId=PERSON)
    shop.settle()
    key = shop.engines.person_keys.current(PERSON)
    erase(shop)
    late = shop.engines.person_keys
    with other_keys(shop, current=lambda _: key):  # it had asked for the key before
        order_id = shop.new_order(shop.new_product(), userId=PERSON)
    assert shop.call("continue_erasures").json() == {"done": 1}
    assert order(shop, order_id)["userId"] == ERASED
    assert late.unfinished(9) != []
    moved(121)
    assert shop.call("continue_erasures").json() == {"done": 0}
    assert late.unfinished(9) == []


@pytest.fixture
def moved() -> Any:
    """Return a function that moves the clock."""
    ahead = [0.0]

    class Moved(clock.World):
        def now(self) -> Any:
            return super().now() + timedelta(seconds=ahead[0])

    with clock.use(Moved()):
        yield lambda seconds: ahead.__setitem__(0, seconds)


def test_an_erased_order_is_the_same_when_its_read_model_is_rebuilt(shop: ShopInMemory) -> None:
    """What was projected while the key was there equals what is projected without it."""
    shop.engines.pace = Pace(known_seconds=0.0, settled_seconds=0.01)
    product = shop.new_product()
    declined = shop.new_order(product, userId=PERSON, paymentMethod="decline")
    confirmed = shop.new_order(product, userId=PERSON)
    shop.settle()
    erase(shop)
    before = [order(shop, one) for one in (declined, confirmed)]
    assert [(one["status"], one["userId"]) for one in before] == [("FAILED", ERASED), ("CONFIRMED", ERASED)]
    shop.ask('mutation { rebuildProjection(name: "project_orders", switchWhenEqual: true) { name } }')

    def switched() -> bool:
        shop.call("continue_rebuilds")
        shop.settle()
        status = shop.ask("{ projectionStatus { name generations { live } } }")["projectionStatus"]
        return any(one["generations"]["live"] == 2 for one in status if one["name"] == "project_orders")

    until(switched)
    assert [order(shop, one) for one in (declined, confirmed)] == before


def test_while_keys_are_unreachable_nothing_is_written_and_no_order_is_shown(shop: ShopInMemory) -> None:
    shop.new_order(product := shop.new_product(), userId=PERSON)
    shop.settle()
    before, down = len(shop.log()), raising(Unavailable("the keys are unreachable"))
    line = {"productId": product, "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    with other_keys(shop, of=down, current=down, destroy=down):
        refused = shop.command("create_order", {"userId": PERSON, "items": [line]})
        assert (refused.status_code, refused.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert shop.command("erase_person", {"userId": PERSON, "reason": "r"}).status_code == 503
        answer = shop.graphql("{ events(limit: 9) { id } }")
        assert answer["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    assert len(shop.log()) == before


@pytest.mark.parametrize(
    ("user", "why"),
    [("", "1 to 128"), (" a", "space"), ("a\u0007", "control"), ("x" * 100_000, "characters")],
    ids=["empty", "space", "control", "long"],
)
def test_a_wrong_user_id_is_refused(shop: ShopInMemory, user: str, why: str) -> None:
    answer = shop.graphql(ERASE, {"user": user})
    assert answer["errors"][0]["extensions"]["code"] == "INVALID_INPUT"
    assert re.search(why, answer["errors"][0]["message"])


def test_orders_from_before_encryption_must_be_encrypted_first(shop: ShopInMemory) -> None:
    order_id = shop.new_order(shop.new_product(), userId="taro")
    stream, raw = f"order-{order_id}", vars(shop.engines)["encrypted_events"]
    (first, *_) = shop.engines.event_store.read([stream])[stream]
    raw.append(Append([plain(first)]))
    answer = shop.graphql(ERASE, {"user": "taro"})
    assert answer["errors"][0]["extensions"]["code"] == "BUSINESS_RULE_VIOLATION"
    assert "--encrypt-orders" in answer["errors"][0]["message"]


def plain(event: Any) -> Any:
    return replace(event, id=uuid7(), stream=f"order-{uuid7()}")


CARD = "4242 4242 4242 4242"


@pytest.mark.parametrize(
    "value", [f"{CARD} ", f"{CARD}\n", CARD * 9, 4242_4242, [CARD], {"number": CARD}], ids=lambda value: f"{value!r:.9}"
)
@pytest.mark.parametrize("field", ["paymentMethod", "shippingMethod", "userId"])
def test_a_refused_personal_value_is_neither_logged_nor_recorded(shop: ShopInMemory, field: str, value: object) -> None:
    """Executions and logs are kept where no erasure looks."""
    line = {"productId": shop.new_product(), "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    given = {"orderId": str(uuid7()), "userId": "ann", "items": [line], field: value}
    create = "mutation ($i: CreateOrderInput!) { createOrder(input: $i) { order { id } } }"
    with capture_logs() as lines:
        answer = shop.graphql(create, {"i": {name: one for name, one in given.items() if name != "orderId"}})
        refused = shop.command("create_order", given)
    assert answer["errors"][0]["extensions"]["field"][-1] == field
    assert (refused.status_code, refused.json()["field"]) == (422, [field])
    assert f"{field} must" in refused.json()["message"]
    shop.engines.recorder.flush()
    recorded = shop.engines.executions.find(ExecutionFilter("command"))
    assert ("INVALID_INPUT" in {one.status for one in recorded}) is isinstance(value, str)  # others, GraphQL refuses
    assert "4242" not in repr([lines, recorded, refused.json()])


def test_no_order_may_be_of_a_user_called_erased(shop: ShopInMemory) -> None:
    line = {"productId": shop.new_product(), "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    answer = shop.command("create_order", {"userId": ERASED, "items": [line]})
    assert (answer.status_code, answer.json()["field"]) == (422, ["userId"])


NOT_PERSONAL = {
    "CategoryCreated.name", "CategoryCreated.description", "CategoryUpdated.name", "CategoryUpdated.description",
    "ProductCreated.name", "ProductCreated.description", "ProductUpdated.name", "ProductUpdated.description",
    "StockAdjusted.reason",  # of the shop's staff, about its shelves
    "OrderItem.product_name",
}  # fmt: skip


def test_every_text_of_an_event_is_personal_or_is_not() -> None:
    """Add a new text to PERSONAL in shared/domain/personal.py, or to the table above."""
    texts = {name for kind in get_args(Event) for name in _texts(kind)}
    unanswered = {one for one in texts if one.partition(".")[2] not in PERSONAL} - NOT_PERSONAL
    assert unanswered == set()
    of_orders = {name for kind in ORDER.event_types for name in _texts(kind)}
    assert {one.partition(".")[2] for one in of_orders if one not in NOT_PERSONAL} == PERSONAL


def _texts(kind: type[Any]) -> list[str]:
    found = []
    for field in fields(kind):
        hint = get_type_hints(kind)[field.name]
        found += [f"{kind.__name__}.{field.name}"] if str in (hint, *get_args(hint)) else []
        found += [
            text for part in get_args(hint) if isinstance(part, type) and is_dataclass(part) for text in _texts(part)
        ]
    return found
