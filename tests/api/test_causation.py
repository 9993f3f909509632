"""An admin follows what led to an event, and what it led to."""

import pytest

from tests.callers import NOBODY, signed_in
from tests.shop_in_memory import ShopInMemory

CAUSATION = """query ($id: Int!) { eventCausation(id: $id) {
    causes { id eventType aggregateId } effects { id eventType aggregateId }
} }"""


def neighbours(shop: ShopInMemory, position: int) -> tuple[list[str], list[str]]:
    found = shop.ask(CAUSATION, id=position)["eventCausation"]
    causes, effects = ([event["eventType"] for event in found[name]] for name in ("causes", "effects"))
    return causes, sorted(effects)


def numbers(shop: ShopInMemory) -> dict[str, int]:
    """Return the numbers of the newest event of each type."""
    listed = shop.ask("{ events(limit: 1000) { id eventType } }")["events"]
    return {event["eventType"]: event["id"] for event in listed}


def test_the_events_of_an_order_are_followed_both_ways(shop: ShopInMemory) -> None:
    shop.new_order(shop.new_product())
    shop.settle()
    found = {name: neighbours(shop, number) for name, number in numbers(shop).items()}
    reserved = ["InventoryReserved", "StockReserved"]
    assert found["ProductCreated"] == ([], [])
    assert found["OrderCreated"] == ([], reserved)
    assert found["StockReserved"] == (["OrderCreated"], [])
    assert found["InventoryReserved"] == (["OrderCreated"], ["PaymentProcessed"])
    assert found["PaymentProcessed"] == (["InventoryReserved"], ["ShippingArranged"])
    assert found["ShippingArranged"] == (["PaymentProcessed"], ["OrderConfirmed", "StockShipped"])
    assert found["StockShipped"] == (["ShippingArranged"], [])
    assert found["OrderConfirmed"] == (["ShippingArranged"], ["CustomerNotified"])
    assert found["CustomerNotified"] == (["OrderConfirmed"], [])


def test_a_compensation_is_followed_to_the_refusal(shop: ShopInMemory) -> None:
    shop.new_order(shop.new_product(), paymentMethod="decline")
    shop.settle()
    by_type = numbers(shop)
    assert neighbours(shop, by_type["PaymentFailed"]) == (["InventoryReserved"], ["InventoryReleased", "StockReleased"])
    assert neighbours(shop, by_type["StockReleased"]) == (["PaymentFailed"], [])


def test_the_neighbours_are_of_the_same_order(shop: ShopInMemory) -> None:
    product_id = shop.new_product()
    first, second = shop.new_order(product_id), shop.new_order(product_id)
    shop.settle()
    listed = shop.ask("{ events(limit: 1000) { id eventType aggregateId } }")["events"]
    for order_id in (first, second):
        (paid,) = [one for one in listed if (one["eventType"], one["aggregateId"]) == ("PaymentProcessed", order_id)]
        found = shop.ask(CAUSATION, id=paid["id"])["eventCausation"]
        assert {event["aggregateId"] for event in (*found["causes"], *found["effects"])} == {order_id}


@pytest.mark.parametrize("number", [-1, 0, 999])
def test_an_unknown_event_is_not_found(shop: ShopInMemory, number: int) -> None:
    shop.new_category()
    refused = shop.refusal(CAUSATION, id=number)
    assert (refused["code"], refused["field"]) == ("NOT_FOUND", ["id"])


def test_it_is_for_admins(shop: ShopInMemory) -> None:
    shop.new_category()
    for headers, code in ((NOBODY, "UNAUTHENTICATED"), (signed_in("hanako"), "FORBIDDEN")):
        (error,) = shop.graphql(CAUSATION, {"id": 1}, headers)["errors"]
        assert error["extensions"]["code"] == code
