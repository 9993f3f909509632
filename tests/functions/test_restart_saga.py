"""An admin sends a stuck saga forward again from a step, through GraphQL and every function of the
shop."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from shared.domain.order import ORDER
from shared.sagas.coordinate import Coordinator
from shared.sagas.definition import Retries
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from tests.shop_in_memory import ShopInMemory

RESTART = """mutation ($id: ID!, $step: String!) {
  restartSaga(id: $id, fromStep: $step) { status steps { name status } }
}"""
BROKEN = {
    "reserve_inventory": {"reserve_inventory", "release_inventory"},
    "process_payment": {"process_payment", "refund_payment"},
    "arrange_shipping": {"arrange_shipping", "cancel_shipping"},
}
"""A step and its compensation, which a bad release breaks together."""


def stuck(shop: ShopInMemory, broken: Collection[str]) -> str:
    """Make an order whose saga is STUCK because these functions do nothing, then repair them."""
    now = timedelta(0)
    steps = tuple(replace(step, within=now) for step in ORDER_FULFILMENT.steps)
    hasty = replace(ORDER_FULFILMENT, steps=steps, undo_within=now, undo_retries=Retries(1))
    patient, shop.engines.order_saga = (
        shop.engines.order_saga,
        Coordinator(hasty, ORDER, shop.engines.event_store, shop.engines.sagas),
    )
    shop.deliver = lambda to, body: 204 if to.endpoint in broken else shop.hand_over(to, body)
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    while shop.call("sweep_sagas").json() != {"done": 0}:
        shop.settle()
    shop.deliver, shop.engines.order_saga = shop.hand_over, patient
    assert saga(shop, order_id)["status"] == "STUCK"
    return order_id


def saga(shop: ShopInMemory, order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = shop.ask("query ($id: ID!) { saga(id: $id) { status } }", id=order_id)["saga"]
    return found


@pytest.mark.parametrize("step", BROKEN)
@pytest.mark.parametrize("from_the_first", [False, True])
def test_an_order_is_fulfilled_after_all_and_paid_once(shop: ShopInMemory, step: str, from_the_first: bool) -> None:
    order_id = stuck(shop, BROKEN[step])
    restart = {"id": order_id, "step": "reserve_inventory" if from_the_first else step}
    assert shop.ask(RESTART, **restart)["restartSaga"]["status"] in ("STARTED", "COMPLETED")
    shop.settle()
    assert saga(shop, order_id)["status"] == "COMPLETED"
    recorded = [event.type for event in shop.engines.event_store.read([f"order-{order_id}"])[f"order-{order_id}"]]
    assert recorded == [
        *("OrderCreated", "InventoryReserved", "PaymentProcessed", "ShippingArranged", "OrderConfirmed"),
        "CustomerNotified",
    ]
    for provider in ("payments", "shipments"):
        assert [entry["status"] for entry in shop.engines.sandbox.ledger(provider)] == ["accepted"]
    before = shop.log()
    assert shop.ask(RESTART, **restart)["restartSaga"]["status"] == "COMPLETED"
    shop.settle()
    assert shop.log() == before


def test_the_timeline_and_the_audit_tell_of_a_restart(shop: ShopInMemory) -> None:
    order_id = stuck(shop, BROKEN["process_payment"])
    refused = shop.graphql(RESTART, {"id": order_id, "step": "pay"})["errors"][0]
    assert (refused["extensions"]["code"], refused["extensions"]["field"]) == ("INVALID_INPUT", ["fromStep"])
    shop.ask(RESTART, id=order_id, step="process_payment")
    shop.settle()
    entries = shop.ask("query ($id: ID!) { order(id: $id) { timeline { kind name } } }", id=order_id)
    of_saga = [entry["name"] for entry in entries["order"]["timeline"] if entry["kind"] == "SAGA"]
    assert of_saga[of_saga.index("Restarted") :] == [
        *("Restarted", "ProcessPayment", "ArrangeShipping", "ConfirmOrder", "NotifyCustomer"),
    ]
    shop.engines.recorder.flush()
    actions = shop.ask("{ operatorActionsConnection { edges { node { action target detail by error } } } }")
    restarted = {"action": "RestartSaga", "target": order_id, "by": "ann"}
    assert [edge["node"] for edge in actions["operatorActionsConnection"]["edges"]] == [
        restarted | {"detail": "from process_payment", "error": None},
        restarted | {"detail": "from pay", "error": refused["message"]},
    ]


def test_admins_who_restart_a_saga_at_once_send_one_command(shop: ShopInMemory) -> None:
    order_id = stuck(shop, BROKEN["process_payment"])
    shop.deliver = lambda *_: 204
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: shop.graphql(RESTART, {"id": order_id, "step": "process_payment"}), range(4)))
    assert {answer["data"]["restartSaga"]["status"] for answer in answers} == {"STARTED"}
    history = shop.engines.sagas.history(UUID(order_id))
    restarts = [number for number, entry in enumerate(history) if entry.kind == "retry"]
    assert [history[number].data for number in restarts] == [{"actor": "ann", "from_step": "process_payment"}]
    assert [entry.name for entry in history[restarts[0] :]] == ["Restarted", "ProcessPayment"]
    refused = shop.graphql(RESTART, {"id": order_id, "step": "reserve_inventory"})["errors"][0]
    assert "the saga is STARTED; only a STUCK saga can be restarted" in refused["message"]


def test_a_compensation_that_comes_late_turns_a_restarted_saga_back(shop: ShopInMemory) -> None:
    order_id = stuck(shop, BROKEN["process_payment"])
    late = shop.pushed("refund_payment")[0].body
    shop.deliver = lambda *_: 204
    shop.ask(RESTART, id=order_id, step="process_payment")
    shop.settle()
    shop.deliver = shop.hand_over
    assert shop.push("refund_payment", late).status_code == 204
    shop.settle()
    assert saga(shop, order_id)["status"] == "FAILED"
    assert {entry["status"] for entry in shop.engines.sandbox.ledger("payments")} <= {"undone"}


@pytest.mark.parametrize(
    ("order_id", "code"), [(str(uuid7()), "NOT_FOUND"), ("x", "INVALID_INPUT")], ids=["unknown", "not an id"]
)
def test_an_unknown_saga_is_refused(shop: ShopInMemory, order_id: str, code: str) -> None:
    refused = shop.graphql(RESTART, {"id": order_id, "step": "process_payment"})["errors"][0]
    assert (refused["extensions"]["code"], refused["extensions"]["field"]) == (code, ["id"])


def test_a_refund_that_has_begun_is_not_overtaken_by_a_restart(shop: ShopInMemory) -> None:
    order_id = stuck(shop, {"process_payment", "release_inventory"})
    refused = shop.graphql(RESTART, {"id": order_id, "step": "process_payment"})["errors"][0]
    assert refused["extensions"]["code"] == "BUSINESS_RULE_VIOLATION"
    assert "FulfilmentStopped is recorded, so no step begins again" in refused["message"]
    assert saga(shop, order_id)["status"] == "STUCK"
