"""stuck, whyStuck and schedules: what stands still and why, from facts, with what to do; nothing
when all is well."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from shared.domain.errors import Unavailable
from shared.event_store.protocol import HeldBack
from shared.read_models.generations import Generations, change_generations
from shared.resilience import clock
from shared.sagas.definition import Progress
from shared.sagas.status import SagaStatus
from shared.sagas.store import StoredSaga
from tests.callers import NOBODY, signed_in
from tests.fakes import MovableClock, Uncached, method_replaced
from tests.shop_in_memory import Json, ShopInMemory, until
from tests.stand_ins import raising, with_methods

FIELDS = """kind subject since waitingFor lastError attempts nextTry whatToDo ofKind
    deadLetters { source type error count firstRecordedAt }"""
STUCK = f"query ($kinds: [StuckKind!]) {{ stuck(kinds: $kinds) {{ {FIELDS} }} }}"
WHY = f"""query ($id: ID!) {{ whyStuck(orderId: $id) {{
    orderId status stuck kind answer whatToDo facts {{ {FIELDS} }}
}} }}"""
SCHEDULES = "{ schedules { name everySeconds status lastRunAt lastSuccessAt runs failures lastError lastErrorAt } }"
DOWN = Unavailable("the payment provider does not answer: ConnectError")


@pytest.fixture(autouse=True)
def uncached(movable_clock: MovableClock, shop: ShopInMemory) -> None:
    shop.engines.cache = Uncached()


def stuck(shop: ShopInMemory, **kinds: Any) -> list[Json]:
    found: list[Json] = shop.ask(STUCK, **kinds)["stuck"]
    return found


def the(shop: ShopInMemory, kind: str) -> Json:
    """Return the only entry of a kind."""
    (entry,) = [one for one in stuck(shop) if one["kind"] == kind]
    return entry


def why(shop: ShopInMemory, order_id: str) -> Json:
    found: Json = shop.ask(WHY, id=order_id)["whyStuck"]
    return found


def payments_fail(shop: ShopInMemory, error: Exception = DOWN) -> Any:
    working = shop.engines.payments
    shop.engines.payments = with_methods(working, charge=raising(error), refund=raising(error))
    return working


@contextmanager
def unpublished(shop: ShopInMemory) -> Iterator[None]:
    """Let the broker accept no message inside the block."""
    publish = shop.engines.broker.publish
    shop.engines.broker.publish = lambda messages: []  # type: ignore[method-assign]
    yield
    shop.engines.broker.publish = publish  # type: ignore[method-assign]


def test_nothing_is_stuck_when_all_is_well(shop: ShopInMemory) -> None:
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    assert stuck(shop) == []
    answer = why(shop, order_id)
    assert (answer["orderId"], answer["status"], answer["stuck"], answer["kind"]) == (
        order_id,
        "CONFIRMED",
        False,
        None,
    )
    assert (answer["answer"], answer["whatToDo"], answer["facts"]) == ("it has ended", "nothing", [])


def test_a_step_that_is_tried_again_says_so_with_its_error_and_its_next_attempt(
    shop: ShopInMemory, movable_clock: MovableClock
) -> None:
    payments_fail(shop)
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    movable_clock.move(31)
    shop.call("sweep_sagas")
    shop.settle()
    entry = the(shop, "STEP_REPEATED")
    assert (entry["subject"], entry["attempts"], entry["lastError"]) == (f"order-{order_id}", 2, DOWN.message)
    assert entry["waitingFor"].startswith("ProcessPayment: attempt 2 of 4, next at ")
    assert entry["waitingFor"].endswith(" UTC, then RefundPayment, ReleaseInventory, FailOrder")
    assert entry["nextTry"] > entry["since"]
    letters = the(shop, "DEAD_LETTER")
    assert (letters["subject"], letters["deadLetters"]["type"]) == ("process-payment.process-payment", "ProcessPayment")
    assert letters["waitingFor"] == (
        "an admin: no attempt could deliver 2 ProcessPayment message(s) to process-payment.process-payment"
    )
    answer = why(shop, order_id)
    assert (answer["status"], answer["stuck"], answer["kind"]) == ("INVENTORY_RESERVED", True, "DEAD_LETTER")
    assert "ProcessPayment: attempt 2 of 4" in answer["answer"]
    assert "it waits for its saga's deadline at " in answer["answer"]
    assert answer["whatToDo"].startswith("nothing, or sooner: mutation { retryDeadLetter(id: ")
    assert {fact["kind"] for fact in answer["facts"]} == {"DEAD_LETTER", "STEP_REPEATED"}


def test_each_cause_of_dead_letters_is_an_entry_of_its_own(shop: ShopInMemory) -> None:
    for number, data in enumerate((b"poison", b"[]", b"poison")):
        shop.engines.broker.publish_raw("product-events", data, {"number": f"{number}"})
    shop.settle()
    found = [one for one in stuck(shop) if one["subject"] == "project-products.product-events"]
    assert [(one["kind"], one["deadLetters"]["count"]) for one in found] == [("DEAD_LETTER", 2), ("DEAD_LETTER", 1)]
    for one in found:
        cause, number = one["deadLetters"], one["deadLetters"]["count"]
        assert (cause["source"], cause["type"], cause["error"]) == (one["subject"], None, one["lastError"])
        assert (one["attempts"], one["ofKind"], one["since"]) == (number * 10, 4, cause["firstRecordedAt"])
        assert one["waitingFor"] == (
            f"an admin: no attempt could deliver {number} message(s) without a type to {one['subject']}"
        )
        assert "retryDeadLetters with this cause" in one["whatToDo"]


def test_a_list_that_is_cut_off_says_how_many_there_are(shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    passed, soon = clock.now() - timedelta(minutes=3), clock.now() + timedelta(minutes=3)
    for status, attempts, deadline in (
        *[(SagaStatus.STUCK, 9, None)] * 60,
        *[(SagaStatus.STARTED, 1, passed)] * 3,
        *[(SagaStatus.STARTED, 2, soon)] * 7,
    ):
        progress = Progress(uuid7(), status, step=1, attempts=attempts, deadline_at=deadline)
        shop.engines.sagas.save(StoredSaga("OrderSaga", progress, 0, "c"), [], [])
    for n in range(60):
        shop.engines.broker.publish_raw("category-events", b"poison", {"ce-type": f"Type{n}"})
    shop.settle()
    found = stuck(shop)
    kinds = ("SAGA_STUCK", "SAGA_OVERDUE", "STEP_REPEATED", "DEAD_LETTER")
    counts = {kind: [one["ofKind"] for one in found if one["kind"] == kind] for kind in kinds}
    listed = {"SAGA_STUCK": [60] * 50, "DEAD_LETTER": [60] * 50}
    assert counts == listed | {"SAGA_OVERDUE": [3] * 3, "STEP_REPEATED": [7] * 7}


def test_a_stuck_saga_names_the_mutation_that_resumes_it(shop: ShopInMemory) -> None:
    saga_id = uuid7()
    progress = Progress(saga_id, SagaStatus.STUCK, step=1, attempts=9, reason="declined")
    shop.engines.sagas.save(StoredSaga("OrderSaga", progress, 0, "c"), [], [])
    entry = the(shop, "SAGA_STUCK")
    assert (entry["subject"], entry["attempts"], entry["nextTry"]) == (f"order-{saga_id}", 9, None)
    assert entry["waitingFor"] == "RefundPayment was sent 9 times without an answer; an admin must retry the saga"
    assert f'retrySaga(id: "{saga_id}")' in entry["whatToDo"]


def test_a_deadline_that_was_not_fired_points_at_the_schedule(shop: ShopInMemory) -> None:
    saga_id, passed = uuid7(), clock.now() - timedelta(minutes=3)
    shop.engines.sagas.save(StoredSaga("OrderSaga", Progress(saga_id, attempts=1, deadline_at=passed), 0, "c"), [], [])
    entry = the(shop, "SAGA_OVERDUE")
    assert "sweep_sagas" in entry["whatToDo"]
    assert entry["waitingFor"].startswith("ReserveInventory: attempt 1 of 4, next at ")


def test_messages_that_wait_in_an_outbox_are_stuck_and_say_which_order(
    shop: ShopInMemory, movable_clock: MovableClock
) -> None:
    product = shop.new_product()
    shop.settle()
    with unpublished(shop):
        order_id = shop.new_order(product)
    movable_clock.move(61)
    entry = the(shop, "OUTBOX")
    assert (entry["subject"], entry["waitingFor"]) == ("event_outbox", "relay_outbox to publish 1 message(s)")
    answer = why(shop, order_id)
    assert (answer["kind"], answer["stuck"]) == ("OUTBOX", True)
    assert answer["answer"].endswith("it waits for relay_outbox to publish OrderCreated")
    shop.call("relay_outbox")
    shop.settle()
    assert {one["kind"] for one in stuck(shop)} <= {"SCHEDULE"}
    assert why(shop, order_id)["status"] == "CONFIRMED"


def test_a_read_model_that_is_a_minute_behind_is_stuck(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    deliver = shop.deliver
    product = shop.new_product()
    shop.settle()
    shop.deliver = lambda to, body: 204 if to.service == "query" else deliver(to, body)
    order_id = shop.new_order(product)
    shop.settle()
    assert stuck(shop, kinds=["READ_MODEL"]) == []
    answer = why(shop, order_id)
    behind = f"project_orders to apply {sum(event.stream == f'order-{order_id}' for event in shop.log())} event(s)"
    assert (answer["status"], answer["kind"]) == ("CONFIRMED", "READ_MODEL")
    assert behind in answer["answer"]
    movable_clock.move(61)
    found = {one["subject"]: one for one in stuck(shop, kinds=["READ_MODEL"])}
    assert found["orders"]["waitingFor"] == behind
    assert 'serviceHealth(serviceName: "project_orders")' in found["orders"]["whatToDo"]


def test_a_rebuild_that_finds_streams_behind_again_and_again_is_stuck(shop: ShopInMemory) -> None:
    building = Generations(other=2, state="BUILDING", newest=2, since=clock.now(), passes=5, behind=3)
    change_generations(shop.engines.read_models, "products", lambda _: building)
    entry = the(shop, "REBUILD")
    assert (entry["subject"], entry["attempts"]) == ("products", 5)
    assert entry["waitingFor"] == "3 stream(s) that the new generation lacks after 5 passes"


def test_a_transaction_that_holds_back_the_log_is_stuck(shop: ShopInMemory) -> None:
    with method_replaced(shop, "event_log.held_back", lambda: HeldBack(300.0, 7)):
        entry = the(shop, "EVENT_LOG")
    assert "300 seconds ago; it hides 7 event(s)" in entry["waitingFor"]


def test_a_store_that_does_not_answer_is_an_entry_and_the_others_still_report(
    shop: ShopInMemory, hang: Callable[..., Any]
) -> None:
    shop.engines.settings = replace(shop.engines.settings, health_check_seconds=0.3)
    saga_id = uuid7()
    shop.engines.sagas.save(StoredSaga("OrderSaga", Progress(saga_id, SagaStatus.STUCK, step=1), 0, "c"), [], [])

    def others_report() -> bool:
        found = {(one["kind"], one["subject"]): one for one in stuck(shop)}
        assert found["DEPENDENCY", "firestore"]["lastError"].endswith("no answer in time")
        return ("SAGA_STUCK", f"order-{saga_id}") in found

    with method_replaced(shop, "event_log.counts", hang):
        until(others_report)  # on a busy machine they may be late as well, but not each time


def schedule(shop: ShopInMemory, name: str) -> Json:
    shop.engines.recorder.flush()
    (found,) = [one for one in shop.ask(SCHEDULES)["schedules"] if one["name"] == name]
    return dict(found)


def test_the_last_run_of_each_schedule_is_known(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    names = {one["name"] for one in shop.ask(SCHEDULES)["schedules"]}
    assert names == {
        "relay_outbox",
        "sweep_sagas",
        "expire_records",
        "report_metrics",
        "continue_rebuilds",
        "continue_erasures",
    }
    unknown = schedule(shop, "relay_outbox")
    assert (unknown["status"], unknown["lastRunAt"], unknown["runs"]) == ("UNKNOWN", None, 0)
    shop.call("relay_outbox")
    ran = schedule(shop, "relay_outbox")
    assert (ran["status"], ran["runs"], ran["failures"], ran["everySeconds"]) == ("OK", 1, 0, 2.0)
    assert ran["lastRunAt"] == ran["lastSuccessAt"]
    outboxes = shop.engines.outboxes
    shop.engines.outboxes = [with_methods(outboxes[0], claim=raising(Unavailable("the outbox is away"))), outboxes[1]]
    assert shop.call("relay_outbox").status_code == 503
    shop.engines.outboxes = outboxes
    failed = schedule(shop, "relay_outbox")
    assert (failed["status"], failed["runs"], failed["failures"]) == ("FAILING", 2, 1)
    assert failed["lastRunAt"] == failed["lastErrorAt"] > failed["lastSuccessAt"]
    assert the(shop, "SCHEDULE")["subject"] == "relay_outbox"
    shop.call("relay_outbox")
    assert schedule(shop, "relay_outbox")["status"] == "OK"
    movable_clock.move(61)
    assert schedule(shop, "relay_outbox")["status"] == "LATE"
    assert {one["subject"] for one in stuck(shop, kinds=["SCHEDULE"])} >= {"relay_outbox", "sweep_sagas"}


def test_successful_runs_are_counted_and_leave_no_execution(shop: ShopInMemory) -> None:
    for _ in range(3):
        shop.call("sweep_sagas")
    shop.engines.recorder.flush()
    assert shop.engines.executions.extent()[0] == 0  # type: ignore[attr-defined]
    assert schedule(shop, "sweep_sagas")["runs"] == 3


def test_only_admins_read_what_is_stuck_and_only_owner_and_admins_why(shop: ShopInMemory) -> None:
    payments_fail(shop)
    order_id = shop.new_order(shop.new_product(), userId="hanako")
    shop.settle()
    for headers, code in ((NOBODY, "UNAUTHENTICATED"), (signed_in("taro"), "FORBIDDEN")):
        for query, variables in ((STUCK, {}), (WHY, {"id": order_id})):
            (error,) = shop.graphql(query, variables, headers)["errors"]
            assert error["extensions"]["code"] == code or (query == WHY and error["extensions"]["code"] == "FORBIDDEN")
    owners = shop.graphql(WHY, {"id": order_id}, signed_in("hanako"))["data"]["whyStuck"]
    assert owners["stuck"] and owners["facts"]
    assert all(fact["lastError"] is None for fact in owners["facts"])


@pytest.mark.parametrize(
    ("order_id", "code"), [("0190b1b6-7c5e-7000-8000-000000000000", "NOT_FOUND"), ("tea", "INVALID_INPUT")]
)
def test_why_refuses_an_order_that_does_not_exist(shop: ShopInMemory, order_id: str, code: str) -> None:
    assert shop.refusal(WHY, id=order_id) == {"code": code, "field": ["orderId"]}
