"""The history of one aggregate: each of its states, and the fields that each event changed."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import pytest

from scripts.local.token import emulator_token
from shared.domain.order import ORDER
from shared.event_store.aggregates import load
from shared.runtime.execute import entity
from tests.shop_in_memory import Json, ShopInMemory

QUERY = """query ($id: ID!, $limit: Int, $after: Int) { eventHistory(aggregateId: $id, limit: $limit, afterVersion: $after) {
    event { eventType eventVersion metadata } before after changes { field before after } } }"""


def steps(shop: ShopInMemory, aggregate: str, headers: Mapping[str, str] | None = None, **page: int) -> list[Json]:
    answer = shop.graphql(QUERY, {"id": aggregate, **page}, headers=headers)
    assert "errors" not in answer, answer
    found: list[Json] = answer["data"]["eventHistory"]
    return found


@pytest.fixture
def product(shop: ShopInMemory) -> str:
    product_id = shop.new_product(price="1500")
    shop.ask('mutation ($id: ID!) { changeProductPrice(id: $id, newPrice: "1800") { id } }', id=product_id)
    shop.ask('mutation ($id: ID!) { updateProduct(id: $id, input: {description: "香り 🍵"}) { id } }', id=product_id)
    return product_id


@pytest.fixture
def order(shop: ShopInMemory) -> str:
    order_id = shop.new_order(shop.new_product(), userId="hanako", paymentMethod="decline")
    shop.settle()
    return order_id


def test_each_event_has_the_fields_it_changed(shop: ShopInMemory, product: str) -> None:
    created, priced, described = steps(shop, product)
    assert [one["event"]["eventType"] for one in (created, priced)] == ["ProductCreated", "ProductPriceChanged"]
    assert created["before"] is None
    assert {change["field"]: change["after"] for change in created["changes"]} == created["after"]
    assert all(change["before"] is None for change in created["changes"])
    assert priced["changes"] == [{"field": "price", "before": "1500", "after": "1800"}]
    assert described["changes"] == [{"field": "description", "before": None, "after": "香り 🍵"}]


def test_each_state_continues_the_one_before_and_the_last_is_the_present_state(shop: ShopInMemory, order: str) -> None:
    found = steps(shop, order)
    assert [one["before"] for one in found[1:]] == [one["after"] for one in found[:-1]]
    (loaded,) = load(shop.engines.event_store, [ORDER.ref(UUID(order))])
    present = entity(loaded)
    assert found[-1]["after"]["status"] == "FAILED" == present["status"]
    assert found[-1]["after"]["totalAmount"] == present["total_amount"]
    assert set(found[-1]["after"]["items"][0]) == {"productId", "productName", "quantity", "unitPrice", "subtotal"}
    assert [one["event"]["eventVersion"] for one in found] == list(range(1, loaded.version + 1))


def test_the_present_state_and_what_happened_since_are_asked_without_the_whole_history(
    shop: ShopInMemory, product: str
) -> None:
    query = """query ($id: ID!, $now: DateTime!, $since: DateTime!) {
        product(id: $id, asOf: $now) { price description }
        events(aggregateId: $id) { insertedAt }
        eventsConnection(first: 0, filter: { aggregateId: $id, recordedAfter: $since }) { totalCount edges { cursor } } }"""
    ask = partial(shop.ask, query, id=product, now="9999-12-31T23:59:59Z")
    found = ask(since="2020-01-01T00:00:00Z")
    assert found["product"] == {"price": "1800", "description": "香り 🍵"}
    assert found["eventsConnection"] == {"totalCount": 3, "edges": []}
    newest = found["events"][-1]["insertedAt"]
    after = (datetime.fromisoformat(newest) + timedelta(microseconds=1)).isoformat()
    assert ask(since=newest)["eventsConnection"]["totalCount"] == 1
    assert ask(since=after)["eventsConnection"]["totalCount"] == 0


def test_a_history_is_read_page_by_page(shop: ShopInMemory, order: str) -> None:
    whole, read = steps(shop, order), list[Json]()
    while page := steps(shop, order, limit=2, after=read[-1]["event"]["eventVersion"] if read else 0):
        assert len(page) <= 2
        read += page
    assert read == whole
    assert steps(shop, order, limit=0) == []


@pytest.mark.parametrize(
    "token", ["", f"Bearer {emulator_token('t@example.com', uid='taro')}"], ids=["nobody", "another"]
)
def test_personal_data_is_for_the_owner_and_admins(shop: ShopInMemory, order: str, token: str) -> None:
    masked = steps(shop, order, {"Authorization": token})
    assert {one["after"]["userId"] for one in masked} == {"***"}
    assert "hanako" not in str(masked) and "declined" not in str(masked)
    assert {one["event"]["metadata"] for one in masked} == {None}
    owner = steps(shop, order, {"Authorization": f"Bearer {emulator_token('h@example.com', uid='hanako')}"})
    assert owner == steps(shop, order)
    assert {one["after"]["userId"] for one in owner} == {"hanako"}
    fields = [[change["field"] for change in one["changes"]] for one in owner]
    assert fields == [[change["field"] for change in one["changes"]] for one in masked]


@pytest.mark.parametrize(
    ("arguments", "code", "field"),
    [
        ('aggregateId: "0190b1b6-7c5e-7000-8000-00000000dead"', "NOT_FOUND", ["aggregateId"]),
        ('aggregateId: "tea"', "INVALID_INPUT", ["aggregateId"]),
        ('aggregateId: "0190b1b6-7c5e-7000-8000-00000000dead", limit: -1', "INVALID_INPUT", ["limit"]),
        ('aggregateId: "0190b1b6-7c5e-7000-8000-00000000dead", afterVersion: -1', "INVALID_INPUT", ["afterVersion"]),
    ],
)
def test_bad_arguments_are_named(shop: ShopInMemory, arguments: str, code: str, field: list[str]) -> None:
    refused = shop.refusal(f"{{ eventHistory({arguments}) {{ event {{ id }} }} }}")
    assert (refused["code"], refused["field"]) == (code, field)
