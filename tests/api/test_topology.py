"""systemTopology: the report of each function, functions that do not answer, and queue sizes."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any, cast

import grpc
import httpx
import psutil
import pytest
from google.cloud.monitoring_v3.types import ListTimeSeriesRequest, ListTimeSeriesResponse, TimeSeries

from shared.config.manifest import Subscription, manifest
from shared.domain.errors import Unavailable
from shared.messaging.envelope import Message
from shared.messaging.memory import MemoryOutbox
from shared.monitoring import reports as report
from shared.observability.context import fresh
from shared.resilience.calls import SingleFlightCache
from tests.callers import as_nobody
from tests.fakes import MovableClock, functions_answer
from tests.shop_in_memory import Json, ShopInMemory, until
from tests.stand_ins import raising, with_methods

TOPOLOGY = """{ systemTopology { serviceName nodeName group status uptimeSeconds memoryUsageMb cpuUsagePercent
    messageQueueSize connections { targetService connectionType status latencyMs } } }"""
SUBSCRIPTIONS = [one.name for one in manifest().all_subscriptions]


def topology(shop: ShopInMemory) -> dict[str, Json]:
    return {one["serviceName"]: one for one in shop.ask(TOPOLOGY)["systemTopology"]}


def asked_again(shop: ShopInMemory) -> dict[str, Json]:
    """Ask without what was cached."""
    shop.engines.cache = SingleFlightCache()
    return topology(shop)


def healthy(_: httpx.Request) -> httpx.Response:
    process = {"uptimeSeconds": 7, "memoryMb": 70, "cpuPercent": 0.7}
    checks = [{"name": "event_store", "status": "DEGRADED", "message": "slow", "details": None, "durationMs": 77}]
    return httpx.Response(200, json={"status": "HEALTHY", "node": "there", "checks": checks, "process": process})


def test_every_function_is_shown_with_its_own_report(services: ShopInMemory) -> None:
    found, process = topology(services), psutil.Process(os.getpid())
    assert list(found) == list(manifest().functions)
    for name, node in found.items():
        assert (node["status"], node["group"]) == ("HEALTHY", manifest().functions[name].service)
        assert node["nodeName"] not in ("", "unknown")
        assert 0 < node["uptimeSeconds"] <= time.time() - process.create_time() + 1
        assert node["memoryUsageMb"] == pytest.approx(process.memory_info().rss / 1e6, rel=0.3)
        assert 0 <= node["cpuUsagePercent"] <= 100 * (os.cpu_count() or 1) + 10
    stores = {one["targetService"]: one for one in found["project_orders"]["connections"]}
    assert set(stores) == {"event_store", "firestore", "command_database", "order-events"}
    assert {name: one["connectionType"] for name, one in stores.items()} == {
        "event_store": "DATABASE", "firestore": "DATABASE", "command_database": "DATABASE",
        "order-events": "SUBSCRIPTION",
    }  # fmt: skip
    assert {one["status"] for name, one in stores.items() if name != "order-events"} == {"HEALTHY"}
    assert all(one["latencyMs"] >= 0 for name, one in stores.items() if name != "order-events")


def test_graphql_is_connected_to_the_functions_it_calls(services: ShopInMemory) -> None:
    connections = topology(services)["graphql"]["connections"]
    called = {one["targetService"] for one in connections if one["connectionType"] == "HTTP"}
    assert {"create_order", "retry_saga"} <= called and "sandbox_provider" not in called
    assert called < set(manifest().functions)


USES = "{ systemTopology { serviceName connections { targetService calls errors totalDurationMs } } }"


def uses(shop: ShopInMemory, function: str, target: str) -> tuple[int | None, int | None, int | None]:
    """Return how often a function's connection was used, how often that failed, and how long it
    took."""
    shop.engines.recorder.flush()
    found = {one["serviceName"]: one for one in shop.ask(USES)["systemTopology"]}
    (one,) = [one for one in found[function]["connections"] if one["targetService"] == target]
    return one["calls"], one["errors"], one["totalDurationMs"]


def test_a_connection_says_how_often_it_was_used_and_how_often_that_failed(shop: ShopInMemory) -> None:
    shop.engines.payments = with_methods(shop.engines.payments, charge=raising(Unavailable("the provider is away")))
    shop.ask('mutation { createCategory(input: { name: "teas" }) { id } }')
    shop.new_order(shop.new_product())
    shop.settle()
    assert uses(shop, "graphql", "create_category")[:2] == (1, 0)
    assert (uses(shop, "process_payment", "process-payment")[1] or 0) >= 1
    assert uses(shop, "reserve_inventory", "reserve-inventory")[:2] == (1, 0)
    assert uses(shop, "process_payment", "event_store") == (None, None, None)


def test_a_connection_says_how_long_its_calls_took(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    charge = shop.engines.payments.charge

    def slow(*about: Any) -> Any:
        movable_clock.move(0.25)
        return charge(*about)

    shop.engines.payments = with_methods(shop.engines.payments, charge=slow)
    movable_clock.stop()
    for _ in range(2):
        shop.new_order(shop.new_product())
        shop.settle()
    assert uses(shop, "process_payment", "process-payment") == (2, 0, 500)
    assert uses(shop, "reserve_inventory", "reserve-inventory") == (2, 0, 0)


def test_an_anonymous_caller_sees_the_topology_without_reasons_of_failures(shop: ShopInMemory) -> None:
    answer = as_nobody(shop, TOPOLOGY)
    assert "errors" not in answer.json() and "127.0.0.1" not in answer.text


def test_an_unreachable_function_is_unhealthy_and_the_rest_is_null(shop: ShopInMemory) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    functions_answer(shop, refuse)
    node = topology(shop)["create_order"]
    assert (node["status"], node["nodeName"]) == ("UNHEALTHY", "unknown")
    assert node["uptimeSeconds"] is node["memoryUsageMb"] is node["cpuUsagePercent"] is None
    assert {(one["status"], one["latencyMs"]) for one in node["connections"]} == {("UNKNOWN", None)}


def test_a_function_that_has_to_start_is_unknown_until_it_has_answered(shop: ShopInMemory) -> None:
    started = Event()

    def answer(request: httpx.Request) -> httpx.Response:
        if "create_order" in request.url.path:
            started.wait(60)
        return healthy(request)

    functions_answer(shop, answer)
    shop.engines.settings = replace(shop.engines.settings, health_check_seconds=0.5, topology_seconds=300)
    until(lambda: topology(shop)["create_product"]["status"] == "HEALTHY")  # on a busy machine, not at first
    began = time.monotonic()
    found = topology(shop)
    assert time.monotonic() - began < 20
    assert (found["create_order"]["status"], found["create_order"]["nodeName"]) == ("UNKNOWN", "unknown")
    assert found["create_order"]["uptimeSeconds"] is None
    assert (found["create_product"]["status"], found["create_product"]["uptimeSeconds"]) == ("HEALTHY", 7)
    assert found["create_product"]["connections"][0] == {
        "targetService": "event_store", "connectionType": "DATABASE", "status": "DEGRADED", "latencyMs": 77
    }  # fmt: skip
    started.set()
    until(lambda: topology(shop)["create_order"]["status"] == "HEALTHY")


def test_reading_the_topology_often_asks_each_function_once(movable_clock: MovableClock, shop: ShopInMemory) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return healthy(request)

    functions_answer(shop, answer)
    shop.engines.settings = replace(shop.engines.settings, topology_seconds=30)
    for _ in range(3):
        shop.ask("{" + " ".join(f"a{n}: systemTopology {{ serviceName }}" for n in range(10)) + "}")
    assert sorted(asked) == sorted(f"/{name}/health/ready" for name in manifest().functions if name != "graphql")
    shop.engines.settings = replace(shop.engines.settings, topology_seconds=0.01)
    movable_clock.move(1.1)  # the result of a check is reused for a second
    topology(shop)
    assert len(asked) == 2 * (len(manifest().functions) - 1)


def test_the_queue_of_a_function_is_counted_where_the_broker_knows_it(shop: ShopInMemory) -> None:
    functions_answer(shop, healthy)
    held = Event()

    def hold(subscription: Subscription, body: Json) -> int:
        if subscription.endpoint == "project_categories":
            held.wait(60)
        return shop.hand_over(subscription, body)

    shop.deliver = hold
    for _ in range(3):
        shop.new_category()
    outbox = shop.engines.outboxes[0]
    assert isinstance(outbox, MemoryOutbox)
    outbox.add([Message("things", "Happened", "thing-1", {}, fresh())])
    found = topology(shop)
    sizes = {name: node["messageQueueSize"] for name, node in found.items()}
    assert (sizes["project_categories"], sizes["project_products"], sizes["order_saga"]) == (3, 0, 0)
    assert (sizes["relay_outbox"], sizes["record_dead_letter"]) == (1, 0)
    assert sizes["create_order"] is sizes["graphql"] is sizes["sweep_sagas"] is None
    held.set()
    shop.settle()
    assert asked_again(shop)["project_categories"]["messageQueueSize"] == 0


def test_dead_letters_are_not_in_the_queue(shop: ShopInMemory) -> None:
    shop.engines.broker.publish_raw("order-events", b"not json", {})
    shop.settle()
    assert set(shop.engines.broker.undelivered().values()) == {0}


def test_without_queue_sizes_of_the_broker_backlogs_of_projections_and_outboxes_are_shown(shop: ShopInMemory) -> None:
    functions_answer(shop, healthy)
    shop.engines.broker = with_methods(shop.engines.broker, undelivered=lambda: None)
    shop.deliver = lambda subscription, body: 204  # lost
    shop.new_category()
    shop.settle()
    sizes = {name: node["messageQueueSize"] for name, node in topology(shop).items()}
    projections = [one.name for one in manifest().functions.values() if one.group == "projections"]
    known = dict.fromkeys([*projections, "relay_outbox"], 0) | {"project_categories": 1}
    assert {name: size for name, size in sizes.items() if size is not None} == known


def test_a_store_that_is_down_leaves_queue_sizes_null(shop: ShopInMemory) -> None:
    def down(*_: object) -> None:
        raise RuntimeError("down")

    functions_answer(shop, healthy)
    shop.engines.broker = with_methods(shop.engines.broker, undelivered=lambda: None)
    shop.engines.event_log = with_methods(shop.engines.event_log, counts=down)
    shop.engines.outboxes[1] = with_methods(shop.engines.outboxes[1], backlog=down)
    found = topology(shop)
    assert {node["messageQueueSize"] for node in found.values()} == {None}
    assert found["create_order"]["status"] == "HEALTHY"


class CloudMonitoring:
    """Answers as the documentation of Cloud Monitoring says: the newest point first."""

    def __init__(self) -> None:
        self.asked: list[ListTimeSeriesRequest] = []
        self.waiting: dict[str, int] = {}
        self.code: grpc.StatusCode | None = None
        self.let = Event()
        self.let.set()

    def answer(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.asked.append(request)
        self.let.wait(60)
        if self.code:
            context.abort(self.code, "no")
        return ListTimeSeriesResponse(time_series=[self.series(*one) for one in self.waiting.items()])

    def series(self, subscription: str, waiting: int) -> TimeSeries:
        points = [{"value": {"int64_value": number}} for number in (waiting, 99)]
        labels = {"subscription_id": subscription, "project_id": "shop-local"}
        return TimeSeries(resource={"type": "pubsub_subscription", "labels": labels}, points=points)


@pytest.fixture
def cloud(shop: ShopInMemory) -> Iterator[CloudMonitoring]:
    functions_answer(shop, healthy)
    cloud = CloudMonitoring()

    def encoded(answer: Any) -> bytes:
        return bytes(type(answer).pb(answer).SerializeToString())

    decoded = cast(Callable[[bytes], Any], ListTimeSeriesRequest.deserialize)
    handler = grpc.unary_unary_rpc_method_handler(cloud.answer, decoded, encoded)
    server = grpc.server(ThreadPoolExecutor(4))
    handlers = grpc.method_handlers_generic_handler("google.monitoring.v3.MetricService", {"ListTimeSeries": handler})
    server.add_generic_rpc_handlers([handlers])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    shop.engines.settings = replace(shop.engines.settings, monitoring_endpoint=address)
    yield cloud
    cloud.let.set()
    transport: Any = report.monitoring_client(address).transport
    transport.close()
    server.stop(0).wait()


def test_queue_sizes_come_from_cloud_monitoring_in_the_cloud(shop: ShopInMemory, cloud: CloudMonitoring) -> None:
    cloud.waiting = dict.fromkeys(SUBSCRIPTIONS, 0) | {
        "project-categories.category-events": 3, "project-categories.product-events": 4, "order-saga.order-events": 5,
        "of-another-project": 6,
    }  # fmt: skip
    sizes = {name: node["messageQueueSize"] for name, node in topology(shop).items()}
    assert (sizes["project_categories"], sizes["order_saga"], sizes["confirm_order"]) == (7, 5, 0)
    (asked,) = cloud.asked
    assert asked.name == "projects/shop-local"
    assert asked.filter == 'metric.type = "pubsub.googleapis.com/subscription/num_undelivered_messages"'
    assert 0 < asked.interval.end_time.timestamp() - asked.interval.start_time.timestamp() <= 600


def test_a_function_with_an_unknown_subscription_has_no_queue_size(shop: ShopInMemory, cloud: CloudMonitoring) -> None:
    cloud.waiting = {"order-saga.order-events": 5}
    sizes = {name: node["messageQueueSize"] for name, node in topology(shop).items()}
    assert sizes["order_saga"] == 5
    assert sizes["record_dead_letter"] is sizes["confirm_order"] is None
    assert sizes["project_categories"] == 0  # which has no event left to apply


@pytest.mark.parametrize("code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE])
def test_without_cloud_monitoring_the_rest_is_shown(
    shop: ShopInMemory, cloud: CloudMonitoring, code: grpc.StatusCode
) -> None:
    cloud.code = code
    found = topology(shop)
    assert found["order_saga"]["messageQueueSize"] is None
    assert (found["order_saga"]["status"], found["relay_outbox"]["messageQueueSize"]) == ("HEALTHY", 0)


def test_a_hanging_cloud_monitoring_does_not_delay_the_topology(shop: ShopInMemory, cloud: CloudMonitoring) -> None:
    cloud.let.clear()
    shop.engines.settings = replace(shop.engines.settings, health_check_seconds=1)
    began = time.monotonic()
    assert topology(shop)["order_saga"]["messageQueueSize"] is None
    assert time.monotonic() - began < 20
