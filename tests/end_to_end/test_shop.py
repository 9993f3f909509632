"""A client sees orders through to their end over GraphQL, with real databases and in memory."""

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from scripts.local.local_http import local_http
from shared.config.manifest import manifest
from shared.read_models.documents import READ_MODELS, sources_of
from shared.read_models.generations import Pace
from shared.read_models.protocol import Fields
from tests.end_to_end.running_shop import ENDED, RunningShop, wait_until
from tests.streams import EVENT_STREAM


@pytest.fixture(scope="module", params=["engines", "memory"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningShop]:
    home = tmp_path_factory.mktemp("shop")
    for folder in (home, *home.parents[:2]):
        folder.chmod(0o755)
    options = ["--memory"] if request.param == "memory" else []
    running = RunningShop(home / "data", *options)
    yield running.open()
    assert running.close() == 0


def test_an_order_is_reserved_paid_shipped_and_confirmed_and_stock_is_reduced(shop: RunningShop) -> None:
    product = shop.product(stock=10)
    order_id = shop.order(product, quantity=3)
    order, seen = shop.until_ended(order_id)
    assert order["status"] == "CONFIRMED"
    assert (order["sagaStatus"], order["sagaCurrentStep"], order["reason"]) == ("COMPLETED", None, None)
    assert order["totalAmount"] == "4500"
    assert order["paymentId"]
    assert order["shippingId"]
    path = ["PENDING", "INVENTORY_RESERVED", "PAYMENT_PROCESSED", "SHIPPED", "CONFIRMED"]
    assert seen == [status for status in path if status in seen]
    wait_until(lambda: shop.stock(product) == (7, 0), 60)
    assert shop.ledger("payments")[order_id] == "accepted"
    assert shop.ledger("shipments")[order_id] == "accepted"


@pytest.mark.parametrize(
    ("quantity", "choices", "reason"),
    [
        (11, {}, "11 ordered, 10 available"),
        (2, {"paymentMethod": "decline"}, "told to decline"),
        (2, {"shippingMethod": "refuse"}, "told to refuse"),
    ],
)
def test_an_order_that_fails_is_undone(shop: RunningShop, quantity: int, choices: dict[str, str], reason: str) -> None:
    product = shop.product(stock=10)
    order_id = shop.order(product, quantity, **choices)
    order, _ = shop.until_ended(order_id)
    assert order["status"] == "FAILED"
    assert order["sagaStatus"] == "FAILED"
    assert reason in order["reason"]
    wait_until(lambda: shop.stock(product) == (10, 0), 60)
    assert shop.ledger("payments").get(order_id) in (None, "refused", "undone")
    assert shop.ledger("shipments").get(order_id) in (None, "refused", "undone")


def test_a_provider_that_fails_for_a_while_only_delays_an_order(shop: RunningShop) -> None:
    product = shop.product(stock=5)
    order_id = shop.order(product, paymentMethod="fail-1", shippingMethod="fail-1")
    order, _ = shop.until_ended(order_id)
    assert order["status"] == "CONFIRMED"
    wait_until(lambda: shop.stock(product) == (4, 0), 60)


SET_FAULT = "mutation ($fault: Fault!) { setFault(provider: NOTIFICATION, fault: $fault) { fault } }"
STEPS = "query ($id: ID!) { saga(id: $id) { status steps { name status bestEffort } } }"


def test_a_customer_who_cannot_be_told_keeps_the_order(shop: RunningShop) -> None:
    product = shop.product(stock=5)
    shop.data(SET_FAULT, fault="REFUSES")
    try:
        order_id = shop.order(product)
        assert shop.until_ended(order_id)[0]["status"] == "CONFIRMED"
        wait_until(lambda: shop.data(STEPS, id=order_id)["saga"]["status"] == "COMPLETED", 60)
    finally:
        shop.data(SET_FAULT, fault="NONE")
    told = {"name": "notify_customer", "status": "GIVEN_UP", "bestEffort": True}
    assert shop.data(STEPS, id=order_id)["saga"]["steps"][-1] == told
    assert (shop.ledger("payments")[order_id], shop.ledger("shipments")[order_id]) == ("accepted", "accepted")
    assert shop.stock(product) == (4, 0)


def test_an_order_is_either_cancelled_or_confirmed(shop: RunningShop) -> None:
    product = shop.product(stock=100)
    cancel = 'mutation ($id: ID!) { cancelOrder(id: $id, reason: "気が変わった") { success order { status } } }'
    outcomes = []
    for _ in range(6):
        order_id = shop.order(product)
        answer = shop.ask(cancel, id=order_id)
        order, _ = shop.until_ended(order_id)
        outcomes.append(order["status"])
        if "errors" in answer:
            assert answer["errors"][0]["extensions"]["code"] == "BUSINESS_RULE_VIOLATION"
            assert order["status"] == "CONFIRMED"
        else:
            assert order["status"] == "CANCELLED"
            assert order["reason"] == "気が変わった"
            assert shop.ledger("payments").get(order_id) in (None, "undone")
    wait_until(lambda: shop.stock(product) == (100 - outcomes.count("CONFIRMED"), 0), 60)


def test_concurrent_orders_never_sell_more_than_the_stock(shop: RunningShop) -> None:
    product = shop.product(stock=10)
    with ThreadPoolExecutor(8) as pool:
        orders = list(pool.map(lambda _: shop.order(product, quantity=3), range(8)))
    ended = [shop.until_ended(order_id, 120)[0]["status"] for order_id in orders]
    assert sorted(ended) == ["CONFIRMED"] * 3 + ["FAILED"] * 5
    wait_until(lambda: shop.stock(product) == (1, 0), 60)


def test_the_command_on_the_screen_places_an_order(shop: RunningShop) -> None:
    answer = subprocess.run(shop.example(), shell=True, capture_output=True, text=True, check=True)
    order = json.loads(answer.stdout)["data"]["createOrder"]["order"]
    assert shop.until_ended(order["id"])[0]["status"] == "CONFIRMED"


def test_the_example_catalogue_is_in_japanese_and_english(shop: RunningShop) -> None:
    names = [one["name"] for one in shop.data("{ categories(limit: 1000) { name } }")["categories"]]
    assert {"文房具", "お茶", "Cameras"} <= set(names)
    found = shop.data(
        '{ searchProducts(searchTerm: "ﾌｨﾙﾑ") { name } a: searchProducts(searchTerm: "MATCHA") { name } }'
    )
    assert [one["name"] for one in found["a"]] == ["宇治抹茶 40g"]


def test_a_malformed_push_is_refused_with_its_code(shop: RunningShop) -> None:
    response = local_http().post(f"http://127.0.0.1:{shop.port + 2}/project_orders", content=b"hello")
    assert response.status_code == 422
    assert response.json()["code"] == "INVALID_INPUT"
    assert shop.data("{ products { id } }")


def test_every_order_reaches_an_end(shop: RunningShop) -> None:
    wait_until(
        lambda: all(one["status"] in ENDED for one in shop.data("{ orders(limit: 1000) { status } }")["orders"]), 60
    )


WATCHED = """{
    systemStatistics { eventStore { totalRecords } queryDb { categories products orders } sagas { active total } }
    projectionStatus { name lagEvents processedCount deliveries deadLetters }
    dashboardStats { totalEvents activeSagas totalCommands totalQueries }
    eventStoreStats { eventsByAggregate { aggregateType count } }
    orders(limit: 1000) { id } }"""
TOPOLOGY = "{ systemTopology { serviceName status uptimeSeconds memoryUsageMb messageQueueSize } }"


def test_the_numbers_of_monitoring_agree_with_each_other(shop: RunningShop) -> None:
    def settled() -> bool:
        seen = shop.data(WATCHED)
        return not seen["systemStatistics"]["sagas"]["active"] and not any(
            one["lagEvents"] for one in seen["projectionStatus"]
        )

    def counted() -> bool:
        """Return whether the processes have written what they have done: they do every second."""
        seen = shop.data(WATCHED)
        models, commands = seen["systemStatistics"]["queryDb"], seen["dashboardStats"]["totalCommands"]
        made: int = models["categories"] + models["products"] + models["orders"]
        return commands >= made and all(one["deliveries"] >= 1 for one in seen["projectionStatus"])

    wait_until(settled, 60, every=0.5)
    wait_until(counted, 60, every=0.5)
    time.sleep(2.5)  # until cached numbers have expired
    seen = shop.data(WATCHED)
    by_aggregate = {one["aggregateType"]: one["count"] for one in seen["eventStoreStats"]["eventsByAggregate"]}
    processed = {one["name"]: one["processedCount"] for one in seen["projectionStatus"]}
    assert processed == {
        f"project_{name}": sum(by_aggregate.get(source.aggregate.name, 0) for source in sources_of(name))
        for name in READ_MODELS
    }
    assert all(one["deliveries"] >= 1 and one["deadLetters"] == 0 for one in seen["projectionStatus"])
    total = sum(by_aggregate.values())
    assert seen["systemStatistics"]["eventStore"]["totalRecords"] == seen["dashboardStats"]["totalEvents"] == total
    models = seen["systemStatistics"]["queryDb"]
    assert models["orders"] == seen["systemStatistics"]["sagas"]["total"] == len(seen["orders"])
    assert models["products"] <= by_aggregate["product"] and models["categories"] == by_aggregate["category"]
    assert seen["dashboardStats"]["totalCommands"] >= models["categories"] + models["products"] + models["orders"]
    assert seen["dashboardStats"]["totalQueries"] > 0


def test_a_read_model_is_rebuilt_while_orders_come_in(shop: RunningShop) -> None:
    everything = "{ orders(limit: 1000) { id status totalAmount items { quantity } reason } }"
    shop.data('mutation { rebuildProjection(name: "project_orders", switchWhenEqual: true) { name } }')
    product, placed = shop.product(stock=100), []

    def rebuilt() -> bool:
        placed.append(shop.order(product))
        projections = shop.data("{ projectionStatus { name generations { live } } }")["projectionStatus"]
        return {"name": "project_orders", "generations": {"live": 2}} in projections

    wait_until(rebuilt, 180, every=1)
    for order_id in placed:
        assert shop.until_ended(order_id)[0]["status"] == "CONFIRMED"
    new = shop.data(everything)
    shop.data('mutation { switchProjection(name: "project_orders", to: 1) { name } }')
    time.sleep(Pace.known_seconds + 0.5)
    assert shop.data(everything) == new
    assert {one["id"] for one in new["orders"]} >= set(placed)


def test_every_function_reports_its_health(shop: RunningShop) -> None:
    def nodes() -> dict[str, Fields]:
        return {one["serviceName"]: one for one in shop.data(TOPOLOGY)["systemTopology"]}

    wait_until(lambda: all(one["status"] == "HEALTHY" for one in nodes().values()), 120, every=1)
    found = nodes()
    assert set(found) == set(manifest().functions)
    assert all(one["uptimeSeconds"] > 0 and one["memoryUsageMb"] > 0 for one in found.values())
    assert {found[name]["messageQueueSize"] for name in ("project_orders", "relay_outbox")} == {0}


def test_the_dashboard_stream_counts_new_events(shop: RunningShop) -> None:
    query = {"query": "subscription { dashboardStatsStream { totalEvents } }"}
    accept = {"Accept": EVENT_STREAM}
    with local_http().stream("POST", shop.url, json=query, headers=accept) as response:
        told = (
            json.loads(line.removeprefix("data: "))["data"]["dashboardStatsStream"]["totalEvents"]
            for line in response.iter_lines()
            if line.startswith("data: ")
        )
        before = next(told)
        shop.product(stock=1)
        assert next(one for one in told if one >= before + 2) == before + 2
