"""The log of events, the history of executions, past states and timelines: complete, in order,
personal data masked."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest

from shared.api.resolvers.timeline import TimelineEntry, in_causal_order
from shared.config.manifest import Subscription
from shared.domain.errors import Unavailable
from shared.monitoring.executions import Execution, ExecutionFilter
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from tests.callers import NOBODY, personal, signed_in
from tests.shop_in_memory import Json, ShopInMemory
from tests.stand_ins import raising, with_methods

EVENT = "id aggregateId aggregateType eventType eventData eventVersion globalSequence metadata insertedAt"


@pytest.fixture
def order(shop: ShopInMemory) -> str:
    order_id = shop.new_order(shop.new_product(), userId="hanako", paymentMethod="decline")
    shop.settle()
    return order_id


def events(shop: ShopInMemory, arguments: str = "", headers: Mapping[str, str] | None = None) -> list[Json]:
    answer = shop.graphql(f"{{ events{arguments} {{ {EVENT} }} }}", headers=headers)
    assert "errors" not in answer, answer
    found: list[Json] = answer["data"]["events"]
    return found


def test_an_event_is_shown_as_it_was_recorded(shop: ShopInMemory, order: str) -> None:
    recorded = shop.log()
    shown = events(shop)
    assert [one["eventType"] for one in shown] == [event.type for event in recorded]
    first, event = shown[0], recorded[0]
    assert first == {
        "id": 1,
        "aggregateId": event.stream.removeprefix("category-"),
        "aggregateType": "category",
        "eventType": "CategoryCreated",
        "eventData": event.data,
        "eventVersion": 1,
        "globalSequence": 1,
        "metadata": vars(event.metadata),
        "insertedAt": event.recorded_at.isoformat().replace("+00:00", "Z"),
    }


def test_the_log_is_read_page_by_page(shop: ShopInMemory, order: str) -> None:
    read: list[Json] = []
    while page := events(shop, f"(limit: 2, afterId: {read[-1]['id'] if read else 0})"):
        assert len(page) <= 2
        read += page
    assert read == events(shop)
    assert events(shop, "(limit: 0)") == []
    assert events(shop, "(afterId: 1000000)") == []
    assert events(shop, "(afterId: -5)") == read


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ('aggregateType: "order"', lambda e: e.stream.startswith("order-")),
        ('aggregateType: "Product"', lambda e: e.stream.startswith("product-")),
        ('eventType: "StockReserved"', lambda e: e.type == "StockReserved"),
        ('eventType: "PaymentFailed", aggregateType: "order"', lambda e: e.type == "PaymentFailed"),
        ('eventType: "paymentfailed"', lambda e: e.type == "PaymentFailed"),
        ('eventType: "CategoryDeleted"', lambda _: False),
    ],
)
def test_events_are_found_by_kind(shop: ShopInMemory, order: str, arguments: str, wanted: Any) -> None:
    expected = [event.type for event in shop.log() if wanted(event)]
    assert [one["eventType"] for one in events(shop, f"({arguments})")] == expected


def test_an_aggregates_events_are_found_by_its_id(shop: ShopInMemory, order: str) -> None:
    of_order = [event for event in shop.log() if event.stream == f"order-{order}"]
    shown = events(shop, f'(aggregateId: "{order}")')
    assert [(one["eventType"], one["eventVersion"]) for one in shown] == [(e.type, e.version) for e in of_order]
    assert events(shop, f'(aggregateId: "{order}", aggregateType: "product")') == []
    only = events(shop, f'(aggregateId: "{order}", eventType: "OrderFailed")')
    assert [one["eventType"] for one in only] == ["OrderFailed"]
    assert events(shop, f'(aggregateId: "{order}", afterId: {shown[0]["id"]})') == shown[1:]


def test_recent_events_come_newest_first(shop: ShopInMemory, order: str) -> None:
    recent = shop.ask(f"{{ recentEvents(limit: 3) {{ {EVENT} }} }}")["recentEvents"]
    assert recent == events(shop)[::-1][:3]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ("limit: 1001", ["limit"]),
        ("limit: -1", ["limit"]),
        ('aggregateType: "user"', ["aggregateType"]),
        ('eventType: "Nothing"', ["eventType"]),
        ('eventType: "PaymentFailed", aggregateType: "product"', ["eventType"]),
        ('aggregateId: "1"', ["aggregateId"]),
    ],
)
def test_bad_arguments_are_named(shop: ShopInMemory, arguments: str, field: list[str]) -> None:
    refused = shop.refusal(f"{{ events({arguments}) {{ id }} }}")
    assert (refused["code"], refused["field"]) == ("INVALID_INPUT", field)


def test_the_statistics_count_every_event(shop: ShopInMemory, order: str) -> None:
    query = """{ eventStoreStats { totalEvents latestSequence
        eventsByType { eventType count } eventsByAggregate { aggregateType count } } }"""
    stats, log = shop.ask(query)["eventStoreStats"], shop.log()
    assert stats["totalEvents"] == stats["latestSequence"] == len(log)
    by_type = Counter(event.type for event in log)
    assert {one["eventType"]: one["count"] for one in stats["eventsByType"]} == by_type
    by_aggregate = Counter(event.stream.partition("-")[0] for event in log)
    assert {one["aggregateType"]: one["count"] for one in stats["eventsByAggregate"]} == by_aggregate


@pytest.mark.parametrize(
    ("headers", "sees"),
    [(None, True), (signed_in("hanako"), True), (signed_in("taro"), False), (NOBODY, False)],
    ids=["admin", "owner", "another", "nobody"],
)
def test_personal_data_is_for_admins_and_the_owner(
    shop: ShopInMemory, order: str, headers: Mapping[str, str] | None, sees: bool
) -> None:
    for event, shown in zip(
        [event for event in shop.log() if event.stream == f"order-{order}"],
        events(shop, f'(aggregateId: "{order}")', headers),
        strict=True,
    ):
        assert shown["eventData"] == (event.data if sees else event.data | personal(event))
        assert shown["metadata"] == (vars(event.metadata) if sees else None)
    assert ("hanako" in str(events(shop, '(aggregateType: "order")', headers))) is sees


def test_the_owner_of_one_order_sees_no_personal_data_of_another(shop: ShopInMemory, order: str) -> None:
    other = shop.new_order(shop.new_product(), userId="taro")
    shop.settle()
    for one in events(shop, "(limit: 1000)", signed_in("taro")):
        own = one["aggregateId"] == other
        assert (one["metadata"] is not None) is own


QUERY = "id queryType queryParams executionTimeMs resultCount status errorMessage timestamp"
COMMAND = (
    "id commandType commandData aggregateId aggregateType executionTimeMs status errorMessage eventsGenerated timestamp"
)


def executions(shop: ShopInMemory, field: str, arguments: str = "", headers: Mapping[str, str] | None = None) -> Any:
    shop.engines.recorder.flush()
    shown = QUERY if field == "queryExecutions" else COMMAND
    answer = shop.graphql(f"{{ {field}{arguments} {{ {shown} }} }}", headers=headers)
    assert "errors" not in answer, answer
    return answer["data"][field]


def test_every_query_is_recorded_with_its_outcome(shop: ShopInMemory) -> None:
    shop.new_category()
    shop.settle()
    shop.ask("{ categories(limit: 3) { name } }")
    shop.graphql('{ product(id: "nonsense") { name } }')
    failed, listed = executions(shop, "queryExecutions")
    assert (listed["queryType"], listed["queryParams"]["limit"], listed["resultCount"]) == ("categories", 3, 1)
    assert (listed["status"], listed["errorMessage"]) == ("success", None)
    assert 0 <= listed["executionTimeMs"] < 5000
    assert (failed["queryType"], failed["status"], failed["resultCount"]) == ("product", "INVALID_INPUT", None)
    assert "UUID" in failed["errorMessage"]


def test_every_command_is_recorded_with_the_events_it_generated(shop: ShopInMemory) -> None:
    product = shop.new_product()
    adjust, price = f'a: adjustStock(id: "{product}", delta: 1)', f'b: changeProductPrice(id: "{product}", newPrice: 7)'
    shop.ask(f"mutation {{ {adjust} {{ id }} {price} {{ id }} }}")
    shop.graphql(f'mutation {{ adjustStock(id: "{product}", delta: -1000) {{ id }} }}')
    refused, priced, adjusted = executions(shop, "commandExecutions")
    assert (adjusted["commandType"], adjusted["eventsGenerated"]) == ("AdjustStock", ["StockAdjusted"])
    assert adjusted["commandData"] == {"productId": product, "delta": 1}
    assert (priced["commandType"], priced["eventsGenerated"]) == ("ChangeProductPrice", ["ProductPriceChanged"])
    assert (priced["aggregateType"], priced["aggregateId"]) == ("product", product)
    assert refused["status"] == "BUSINESS_RULE_VIOLATION"
    assert (refused["eventsGenerated"], refused["aggregateId"]) == ([], None)


def test_executions_are_filtered_and_read_page_by_page(shop: ShopInMemory) -> None:
    for name in ("categories", "products", "categories"):
        shop.ask(f"{{ {name} {{ id }} }}")
    found = executions(shop, "queryExecutions", '(queryType: "categories")')
    assert [one["queryType"] for one in found] == ["categories"] * 2
    later = executions(shop, "queryExecutions", f'(afterTimestamp: "{found[-1]["timestamp"]}", limit: 2)')
    assert [one["queryType"] for one in later] == ["products", "categories"]
    assert executions(shop, "queryExecutions", '(status: "CONFLICT")') == []
    assert executions(shop, "commandExecutions", "(limit: 0)") == []


def test_arguments_of_executions_are_shown_to_admins_only(shop: ShopInMemory) -> None:
    shop.graphql('mutation { createCategory(input: {name: "secret"}) { id } }')
    shop.graphql('{ product(id: "secret") { name } }')
    for field in ("queryExecutions", "commandExecutions"):
        for headers in (signed_in("hanako"), NOBODY):
            found = executions(shop, field, headers=headers)
            assert found
            assert "secret" not in str(found)


@pytest.mark.parametrize("moment", ["yesterday", "2026-04-01", "2026-04-01T09:00:00", 5, ""])
def test_a_moment_needs_a_time_zone(shop: ShopInMemory, moment: object) -> None:
    query = "query ($at: DateTime) { queryExecutions(afterTimestamp: $at) { id } }"
    (error,) = shop.graphql(query, {"at": moment})["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert "2026-04-01T09:00:00Z" in error["message"]


def test_arguments_that_are_too_long_are_not_recorded(shop: ShopInMemory) -> None:
    shop.graphql(f'{{ searchProducts(searchTerm: "{"x" * 6000}") {{ id }} }}')
    (found,) = executions(shop, "queryExecutions")
    assert (found["queryParams"], found["status"]) == (None, "INVALID_INPUT")


def test_deliveries_are_recorded_with_their_failures(shop: ShopInMemory) -> None:
    shop.new_order(shop.new_product(), paymentMethod="fail-1")
    shop.settle()
    shop.engines.recorder.flush()
    found = shop.engines.executions.find(ExecutionFilter("delivery", name="process-payment.process-payment"))
    assert [one.status for one in found] == ["success", "SERVICE_UNAVAILABLE"]
    assert len({(one.correlation_id, one.subject) for one in found}) == 1


def test_the_history_expires(shop: ShopInMemory) -> None:
    old = Execution("query", "old", "success", 1, "c", recorded_at=datetime.now(UTC) - timedelta(days=15))
    new = Execution("query", "new", "success", 1, "c", recorded_at=datetime.now(UTC) - timedelta(days=13))
    shop.engines.executions.write([old, new])
    assert shop.call("expire_records").status_code == 200
    assert [one.name for one in shop.engines.executions.find(ExecutionFilter("query"))] == ["new"]


def at(shop: ShopInMemory, query: str, moment: datetime) -> Any:
    answer = shop.graphql(query, {"at": moment.isoformat()})
    return answer["data"] if "errors" not in answer else answer["errors"][0]["extensions"]["code"]


def test_a_past_state_is_shown_as_of_a_moment(shop: ShopInMemory) -> None:
    category = shop.new_category()
    product = shop.new_product(category)
    shop.command("change_product_price", {"productId": product, "newPrice": "700"})
    shop.command("delete_product", {"productId": product})
    created, priced, deleted = (e.recorded_at for e in shop.log() if e.stream == f"product-{product}")
    query = f'query ($at: DateTime) {{ product(id: "{product}", asOf: $at) {{ price active updatedAt }} }}'
    seen = [at(shop, query, moment)["product"] for moment in (created, priced - timedelta(0, 0, 1), priced, deleted)]
    assert [(one["price"], one["active"]) for one in seen] == [
        ("500", True),
        ("500", True),
        ("700", True),
        ("700", False),
    ]
    assert at(shop, query, created - timedelta(0, 0, 1)) == "NOT_FOUND"
    query = f'query ($at: DateTime) {{ category(id: "{category}", asOf: $at) {{ id productCount }} }}'
    assert at(shop, query, deleted) == {"category": {"id": category, "productCount": None}}


def test_a_past_order_is_masked_like_the_present_one(shop: ShopInMemory, order: str) -> None:
    created = next(e.recorded_at for e in shop.log() if e.type == "OrderCreated")
    query = f'query ($at: DateTime) {{ order(id: "{order}", asOf: $at) {{ status userId }} }}'
    for headers, user in (
        (None, "hanako"),
        (signed_in("hanako"), "hanako"),
        (signed_in("taro"), "***"),
        (NOBODY, "***"),
    ):
        answer = shop.graphql(query, {"at": created.isoformat()}, headers)
        assert answer["data"]["order"] == {"status": "PENDING", "userId": user}


TIMELINE = "timeline { at kind name subject status durationMs id causationId error }"


def story(shop: ShopInMemory, order_id: str, headers: Mapping[str, str] | None = None) -> list[Json]:
    shop.engines.recorder.flush()
    answer = shop.graphql(f'{{ order(id: "{order_id}") {{ {TIMELINE} }} }}', headers=headers)
    entries: list[Json] = answer["data"]["order"]["timeline"]
    return entries


def test_a_timeline_has_every_command_event_delivery_and_saga_message_of_the_order(shop: ShopInMemory) -> None:
    line = {"productId": shop.new_product(), "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    create = "mutation ($i: CreateOrderInput!) { createOrder(input: $i) { order { id } } }"
    made = shop.ask(create, i={"userId": "hanako", "items": [line], "paymentMethod": "fail-1"})
    shop.settle()
    entries = story(shop, made["createOrder"]["order"]["id"])
    for index, one in enumerate(entries):
        if one["kind"] != "COMMAND" and one["causationId"]:
            causes = [why for why in entries[:index] if one["causationId"] in (why["id"], why["causationId"])]
            assert causes, one
    by_kind = {kind: [one for one in entries if one["kind"] == kind] for kind in ("COMMAND", "EVENT", "SAGA")}
    assert [one["name"] for one in by_kind["COMMAND"]] == ["CreateOrder"]
    of_order = f"order-{made['createOrder']['order']['id']}"
    of_stock = [one["name"] for one in by_kind["EVENT"] if one["subject"] == f"product-{line['productId']}"]
    assert of_stock == ["StockReserved", "StockShipped"]
    assert [one["name"] for one in by_kind["EVENT"] if one["subject"] == of_order] == [
        "OrderCreated",
        "InventoryReserved",
        "PaymentProcessed",
        "ShippingArranged",
        "OrderConfirmed",
        "CustomerNotified",
    ]
    sent = [one["name"] for one in by_kind["SAGA"]]
    assert sent == ["ReserveInventory", "ProcessPayment", "ArrangeShipping", "ConfirmOrder", "NotifyCustomer"]
    payments = [one for one in entries if one["name"] == "process-payment.process-payment"]
    assert [one["status"] for one in payments] == ["SERVICE_UNAVAILABLE", "success"]
    assert all(one["durationMs"] >= 0 for one in payments)
    created = next(one for one in entries if one["name"] == "OrderCreated")
    heard = {one["name"] for one in entries if one["causationId"] == created["id"]}
    projections = {"project-orders.order-events", "project-sales.order-events"}
    assert heard == projections | {"order-saga.order-events", "ReserveInventory"}


def test_what_a_timeline_names_is_found_by_its_time(shop: ShopInMemory) -> None:
    """The console shows what a product's event changed, and what the client's command recorded."""
    line = {"productId": shop.new_product(), "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    create = "mutation ($i: CreateOrderInput!) { createOrder(input: $i) { order { id } } }"
    order_id = shop.ask(create, i={"userId": "hanako", "items": [line]})["createOrder"]["order"]["id"]
    shop.settle()
    by_name = {one["name"]: one for one in story(shop, order_id)}
    find = """query ($id: ID!, $type: String!, $at: DateTime!) {
        eventsConnection(first: 1, filter: {aggregateId: $id, eventType: $type, recordedAfter: $at}) {
        edges { node { eventVersion insertedAt } } } }"""
    change = """query ($id: ID!, $after: Int!) { eventHistory(aggregateId: $id, afterVersion: $after, limit: 1) {
        event { eventType } changes { field before after } } }"""
    for name, change_of in (("StockReserved", [0, 1]), ("StockShipped", [1, 0])):
        at = by_name[name]["at"]
        ((edge,),) = shop.ask(find, id=line["productId"], type=name, at=at)["eventsConnection"].values()
        assert datetime.fromisoformat(edge["node"]["insertedAt"]) == datetime.fromisoformat(at)
        (entry,) = shop.ask(change, id=line["productId"], after=edge["node"]["eventVersion"] - 1)["eventHistory"]
        reserved = next(one for one in entry["changes"] if one["field"] == "reservedQuantity")
        assert (entry["event"]["eventType"], [reserved["before"], reserved["after"]]) == (name, change_of)
    command = by_name["CreateOrder"]
    until = datetime.fromisoformat(command["at"]) + timedelta(milliseconds=command["durationMs"] + 1)
    ask = """query ($from: DateTime!, $to: DateTime!) { commandExecutionsConnection(first: 100,
        filter: {name: "CreateOrder", recordedAfter: $from, recordedBefore: $to}) {
        edges { node { id aggregateId eventsGenerated } } } }"""
    found = shop.ask(ask, **{"from": command["at"], "to": until.isoformat()})["commandExecutionsConnection"]["edges"]
    recorded = {"id": command["id"], "aggregateId": order_id, "eventsGenerated": ["OrderCreated"]}
    assert recorded in [edge["node"] for edge in found]


def test_a_command_or_a_query_is_found_by_its_id_alone(shop: ShopInMemory) -> None:
    ask = """query ($filter: ExecutionFilterInput) {
        commands: commandExecutionsConnection(filter: $filter) { totalCount edges { node { id commandType } } }
        queries: queryExecutionsConnection(filter: $filter) { edges { node { id queryType } } } }"""
    for name in ("teas", "cups"):
        shop.ask("mutation ($name: String!) { createCategory(input: { name: $name }) { id } }", name=name)
    shop.ask("{ categories { id } }")
    shop.engines.recorder.flush()
    everything = shop.ask(ask, filter={})
    command, query = everything["commands"]["edges"][1], everything["queries"]["edges"][-1]
    found = shop.ask(ask, filter={"id": command["node"]["id"].upper()})
    assert found == {"commands": {"totalCount": 1, "edges": [command]}, "queries": {"edges": []}}
    found = shop.ask(ask, filter={"id": query["node"]["id"]})
    assert found == {"commands": {"totalCount": 0, "edges": []}, "queries": {"edges": [query]}}
    (error, _) = shop.graphql(ask, {"filter": {"id": "gone"}})["errors"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": ["filter", "id"]}


def test_causes_precede_effects_in_a_timeline_whatever_the_clocks_say(shop: ShopInMemory) -> None:
    order_id = shop.new_order(shop.new_product(), paymentMethod="decline")
    shop.settle()
    entries = [(one["kind"], one["name"], one["id"]) for one in story(shop, order_id)]
    late, early = timedelta(hours=1), timedelta(hours=-1)
    kept = shop.engines.executions.find(ExecutionFilter("delivery", limit=1000))
    shop.engines.executions.write(  # each function has a clock of its own
        [replace(one, recorded_at=one.recorded_at + (late if "saga" in one.name else early)) for one in kept]
    )
    skewed = [(one["kind"], one["name"], one["id"]) for one in story(shop, order_id)]
    assert sorted(skewed) == sorted(entries)
    wrote = [name for kind, name, _ in skewed if kind in ("EVENT", "SAGA")]
    assert wrote == [name for kind, name, _ in entries if kind in ("EVENT", "SAGA")]
    steps = [name for _, name, _ in skewed]
    for cause, effect in (
        ("OrderCreated", "order-saga.order-events"),
        ("OrderCreated", "ReserveInventory"),
        ("ProcessPayment", "process-payment.process-payment"),
        ("process-payment.process-payment", "PaymentFailed"),
        ("ReleaseInventory", "release-inventory.release-inventory"),
        ("fail-order.fail-order", "OrderFailed"),
    ):
        assert steps.index(cause) < steps.index(effect)


def test_a_timeline_has_the_cancellation_and_its_effects(shop: ShopInMemory) -> None:
    line = {"productId": shop.new_product(), "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    create = "mutation ($i: CreateOrderInput!) { createOrder(input: $i) { order { id } } }"
    paying = Event()

    def refuse_payments(subscription: Subscription, body: Json) -> int:
        if "payment" in subscription.name:
            paying.set()
            return 503
        return shop.hand_over(subscription, body)

    shop.deliver = refuse_payments
    made = shop.ask(create, i={"userId": "hanako", "items": [line]})
    order_id = made["createOrder"]["order"]["id"]
    assert paying.wait(30)  # or there is nothing to refund
    shop.ask("mutation ($id: ID!) { cancelOrder(id: $id) { success } }", id=order_id)
    shop.deliver = shop.hand_over
    shop.settle()
    entries = story(shop, order_id)
    names = [one["name"] for one in entries]
    assert names.index("CancelOrder") < names.index("OrderCancellationRequested") < names.index("OrderCancelled")
    assert {"refund-payment.refund-payment", "fail-order.fail-order"} <= {*names}
    for event in (one for one in entries if one["kind"] == "EVENT"):
        before = entries[: entries.index(event)]
        assert [why for why in before if event["causationId"] in (why["id"], why["causationId"])], event


def test_a_timeline_says_which_command_had_no_answer_when_a_deadline_passed(shop: ShopInMemory) -> None:
    deliver = shop.deliver
    shop.deliver = lambda to, body: 204 if to.endpoint == "reserve_inventory" else deliver(to, body)
    shop.engines.order_saga = replace(shop.engines.order_saga, saga=ORDER_FULFILMENT.at_pace(0))
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    shop.deliver = deliver
    assert shop.engines.order_saga.sweep(datetime.now(UTC)) == 1
    shop.settle()
    (passed,) = [one for one in story(shop, order_id) if one["name"] == "DeadlinePassed"]
    assert (passed["kind"], passed["error"]) == ("SAGA", "ReserveInventory: no answer in time")


def test_a_timeline_excludes_other_orders_of_the_same_request(shop: ShopInMemory) -> None:
    line = {"productId": shop.new_product(), "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    create = """mutation ($a: CreateOrderInput!, $b: CreateOrderInput!) {
        a: createOrder(input: $a) { order { id } } b: createOrder(input: $b) { order { id } } }"""
    made = shop.ask(create, a={"userId": "hanako", "items": [line]}, b={"userId": "taro", "items": [line]})
    shop.settle()
    first, second = (story(shop, made[name]["order"]["id"]) for name in "ab")
    assert {one["id"] for one in first}.isdisjoint({one["id"] for one in second})
    assert len(first) == len(second)
    assert [one["name"] for one in first if one["kind"] == "COMMAND"] == ["CreateOrder"]


def test_generated_events_are_found_however_long_the_stream_is(shop: ShopInMemory) -> None:
    product = shop.new_product()
    for _ in range(12):
        shop.ask("mutation ($id: ID!) { adjustStock(id: $id, delta: 1) { id } }", id=product)
    shop.engines.recorder.flush()
    found = shop.ask('{ commandExecutions(commandType: "AdjustStock", limit: 5) { eventsGenerated } }')
    assert [one["eventsGenerated"] for one in found["commandExecutions"]] == [["StockAdjusted"]] * 5


def test_a_timeline_with_circular_causes_loses_no_entry() -> None:
    now = datetime.now(UTC)
    circle = [
        TimelineEntry(now, "DELIVERY", "d", id="1", causation_id="e"),
        TimelineEntry(now, "EVENT", "e", id="e", causation_id="e"),
    ]
    assert sorted(in_causal_order(circle), key=str) == sorted(circle, key=str)
    assert in_causal_order([]) == []


def test_errors_in_a_timeline_are_for_admins_and_the_owner(shop: ShopInMemory) -> None:
    order_id = shop.new_order(shop.new_product(), userId="hanako", paymentMethod="fail-1")
    shop.settle()
    for headers, sees in ((None, True), (signed_in("hanako"), True), (signed_in("taro"), False), (NOBODY, False)):
        entries = story(shop, order_id, headers)
        assert len(entries) > 15
        assert any(one["error"] for one in entries) is sees
        assert any(one["id"] for one in entries) is sees


def test_timelines_of_a_list_of_orders_are_refused(shop: ShopInMemory, order: str) -> None:
    answer = shop.graphql("{ orders { id timeline { name } } }")
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert "one order at a time" in error["message"]


def test_repeats_of_a_timeline_are_one_entry_and_a_sentence_says_what_happens_now(shop: ShopInMemory) -> None:
    working = shop.engines.payments
    shop.engines.payments = with_methods(working, charge=raising(Unavailable("the payment provider is away")))
    order_id = shop.new_order(shop.new_product(), userId="hanako")
    shop.settle()
    shop.engines.recorder.flush()
    query = f"""{{ order(id: "{order_id}") {{
        whatHappensNow timeline {{ kind name status times at lastAt durationMs error }} }} }}"""
    shown = shop.ask(query)["order"]
    (failed,) = [one for one in shown["timeline"] if one["status"] == "SERVICE_UNAVAILABLE"]
    assert (failed["kind"], failed["name"], failed["times"]) == ("DELIVERY", "process-payment.process-payment", 10)
    assert failed["lastAt"] > failed["at"] and failed["error"] == "the payment provider is away"
    assert all((one["times"], one["lastAt"]) == (1, None) for one in shown["timeline"] if one != failed)
    assert len(shown["timeline"]) < 20
    assert shown["whatHappensNow"].startswith("ProcessPayment: attempt 1 of 4, next at ")
    waits = " UTC, then RefundPayment, ReleaseInventory, FailOrder; it waits for its saga's deadline at "
    assert waits in shown["whatHappensNow"]
    assert "it waits for" in shop.graphql(query, headers=NOBODY)["data"]["order"]["whatHappensNow"]
    listed = shop.graphql("{ orders { whatHappensNow } }")["errors"][0]
    assert listed["extensions"]["code"] == "INVALID_INPUT"
