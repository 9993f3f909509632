"""The sandbox's providers can be broken for trials, and repaired."""

from scripts.local.token import emulator_token
from tests.shop_in_memory import Json, ShopInMemory

FAULTS = "{ faults { provider fault } }"
SET = "mutation ($provider: Provider!, $fault: Fault!) { setFault(provider: $provider, fault: $fault) { fault } }"


def faults(shop: ShopInMemory) -> Json:
    return {one["provider"]: one["fault"] for one in shop.ask(FAULTS)["faults"]}


def test_a_provider_that_refuses_undoes_every_new_order_until_it_is_repaired(shop: ShopInMemory) -> None:
    assert faults(shop) == {"PAYMENT": "NONE", "SHIPPING": "NONE", "NOTIFICATION": "NONE"}
    assert shop.ask(SET, provider="SHIPPING", fault="REFUSES") == {"setFault": {"fault": "REFUSES"}}
    assert faults(shop) == {"PAYMENT": "NONE", "SHIPPING": "REFUSES", "NOTIFICATION": "NONE"}
    broken = shop.new_order(shop.new_product())
    shop.settle()
    assert shop.ask(f'{{ order(id: "{broken}") {{ status reason }} }}')["order"] == {
        "status": "FAILED",
        "reason": "the sandbox refuses everything, as requested",
    }
    shop.ask(SET, provider="SHIPPING", fault="NONE")
    repaired = shop.new_order(shop.new_product())
    shop.settle()
    assert shop.ask(f'{{ order(id: "{repaired}") {{ status }} }}') == {"order": {"status": "CONFIRMED"}}


def test_a_provider_that_is_down_keeps_orders_waiting_until_it_is_repaired(shop: ShopInMemory) -> None:
    shop.ask(SET, provider="PAYMENT", fault="DOWN")
    answer = shop.call("sandbox_provider", b'{"method": "approve"}', "PUT", path="/payments/1")
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert shop.call("sandbox_provider", method="DELETE", path="/payments/1").status_code == 503
    shop.ask(SET, provider="PAYMENT", fault="NONE")
    assert shop.call("sandbox_provider", b'{"method": "approve"}', "PUT", path="/payments/1").status_code == 200


def test_breaking_a_provider_is_recorded(shop: ShopInMemory) -> None:
    shop.ask(SET, provider="PAYMENT", fault="SLOW")
    shop.ask(SET, provider="PAYMENT", fault="NONE")
    shop.engines.recorder.flush()
    fields = "edges { node { action detail target status } }"
    found = shop.ask(f"{{ operatorActionsConnection {{ {fields} }} }}")["operatorActionsConnection"]["edges"]
    assert [edge["node"] for edge in found][1] == {
        "action": "SetFault",
        "detail": "SLOW",
        "target": "PAYMENT",
        "status": "success",
    }


def test_only_admins_break_providers(shop: ShopInMemory) -> None:
    writer = {"Authorization": f"Bearer {emulator_token('bob@example.com', role='writer')}"}
    (error,) = shop.graphql(SET, {"provider": "PAYMENT", "fault": "DOWN"}, headers=writer)["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN"
    assert faults(shop) == {"PAYMENT": "NONE", "SHIPPING": "NONE", "NOTIFICATION": "NONE"}


def test_a_customer_who_cannot_be_told_keeps_the_order(shop: ShopInMemory) -> None:
    """It is neither recalled nor refunded; the saga's step and the timeline say why."""
    shop.ask(SET, provider="NOTIFICATION", fault="REFUSES")
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    found = shop.ask(
        """query ($id: ID!) {
            order(id: $id) { status paymentId shippingId timeline { name error } whatHappensNow }
            saga(id: $id) { status steps { name status bestEffort lastError } }
        }""",
        id=order_id,
    )
    order, saga = found["order"], found["saga"]
    assert (order["status"], order["whatHappensNow"], saga["status"]) == ("CONFIRMED", "it has ended", "COMPLETED")
    assert order["paymentId"] and order["shippingId"]
    why = "the sandbox refuses everything, as requested"
    told = {"name": "notify_customer", "status": "GIVEN_UP", "bestEffort": True, "lastError": "NotificationFailed"}
    assert saga["steps"][-1] == told  # a saga keeps no words that could name a person; the order's timeline does
    assert {"name": "NotificationFailed", "error": why} in order["timeline"]
    assert {"name": "StepGivenUp", "error": "NotifyCustomer: NotificationFailed"} in order["timeline"]
