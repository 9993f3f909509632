"""All that happens to one order is one connected trace that follows OpenTelemetry's conventions."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from shared.observability import context as tracing
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from tests.shop_in_memory import ShopInMemory

TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENTS = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def spans(shop: ShopInMemory) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.configure(exporter, at_once=True)
    yield exporter
    shop.settle()
    tracing.configure(None)


def order(shop: ShopInMemory, **choices: str) -> str:
    line = {"productId": shop.new_product(), "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    made = "mutation Buy($i: CreateOrderInput!) { createOrder(input: $i) { order { id } } }"
    answer = shop.graphql(made, {"i": {"userId": "ann", "items": [line], **choices}}, {"traceparent": CLIENTS})
    shop.settle()
    order_id: str = answer["data"]["createOrder"]["order"]["id"]
    return order_id


def trace_of(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """Return all spans of the one trace that has a span of this name."""
    finished = spans.get_finished_spans()
    (wanted,) = {one.context.trace_id for one in finished if one.name == name and one.context}
    return [one for one in finished if one.context and one.context.trace_id == wanted]


def roots(trace: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    there = {one.context.span_id for one in trace if one.context}
    return [one for one in trace if one.parent is None or one.parent.span_id not in there]


def test_one_order_is_one_connected_tree(shop: ShopInMemory, spans: InMemorySpanExporter) -> None:
    order(shop)
    trace = trace_of(spans, "graphql")
    assert [one.name for one in roots(trace)] == ["graphql"]
    names = {one.name for one in trace}
    steps = ("reserve-inventory", "process-payment", "arrange-shipping", "confirm-order")
    assert {f"process {topic}" for topic in ("order-events", *steps)} <= names
    assert {"POST create_order", "create_order", "send order-events", "process product-events"} <= names
    assert {"PUT the payment provider", "PUT the shipping provider"} <= names
    consumers = {(one.attributes or {}).get("messaging.destination.subscription.name") for one in trace}
    assert {"project-orders.order-events", "order-saga.order-events", "project-products.product-events"} <= consumers


def test_an_order_continues_the_clients_trace(shop: ShopInMemory, spans: InMemorySpanExporter) -> None:
    order(shop)
    (root,) = roots(trace_of(spans, "graphql"))
    assert root.parent is not None
    assert (f"{root.parent.trace_id:032x}", f"{root.parent.span_id:016x}") == (TRACE, "b7ad6b7169203331")


def test_events_say_in_which_span_they_were_made(shop: ShopInMemory, spans: InMemorySpanExporter) -> None:
    order(shop)
    made = {f"{one.context.span_id:016x}": one.name for one in trace_of(spans, "graphql") if one.context}
    by_type = {
        event.type: event.metadata.traceparent or "" for event in shop.log() if event.stream.startswith("order-")
    }
    assert {kind: made[parent.split("-")[2]] for kind, parent in by_type.items()} == {
        "OrderCreated": "create_order",
        "InventoryReserved": "process reserve-inventory",
        "PaymentProcessed": "process process-payment",
        "ShippingArranged": "process arrange-shipping",
        "OrderConfirmed": "process confirm-order",
        "CustomerNotified": "process notify-customer",
    }


def test_a_deadline_that_passes_belongs_to_the_orders_trace(shop: ShopInMemory, spans: InMemorySpanExporter) -> None:
    deliver = shop.deliver
    shop.deliver = lambda to, body: 204 if to.endpoint == "reserve_inventory" else deliver(to, body)
    shop.engines.order_saga = replace(shop.engines.order_saga, saga=ORDER_FULFILMENT.at_pace(0))
    order(shop)
    shop.deliver = deliver
    assert shop.engines.order_saga.sweep(datetime.now(UTC)) == 1
    shop.settle()
    trace = trace_of(spans, "graphql")
    assert "DeadlinePassed" in {one.name for one in trace}
    assert [one.name for one in roots(trace)] == ["graphql"]


def test_spans_follow_the_conventions(shop: ShopInMemory, spans: InMemorySpanExporter) -> None:
    order(shop)
    kinds = {one.name: one.kind for one in trace_of(spans, "graphql")}
    assert kinds["graphql"] is SpanKind.SERVER
    about = {one.name: dict(one.attributes or {}) for one in trace_of(spans, "graphql")}
    asked = {"graphql.operation.type": "mutation", "graphql.operation.name": "Buy"}
    assert asked.items() <= about["graphql"].items()
    took = {"messaging.operation.name": "process", "messaging.destination.name": "order-events"}
    assert took.items() <= about["process order-events"].items()
    assert kinds["POST create_order"] is SpanKind.CLIENT
    assert kinds["create_order"] is SpanKind.SERVER
    assert kinds["send order-events"] is SpanKind.PRODUCER
    assert kinds["process order-events"] is SpanKind.CONSUMER
    sent = next(one for one in trace_of(spans, "graphql") if one.name == "send order-events")
    assert dict(sent.attributes or {}) == {
        "messaging.system": "gcp_pubsub",
        "messaging.operation.type": "send",
        "messaging.operation.name": "send",
        "messaging.destination.name": "order-events",
        "messaging.batch.message_count": 1,
    }


def test_a_refusal_is_named_and_is_no_error(shop: ShopInMemory, spans: InMemorySpanExporter) -> None:
    shop.refusal('mutation { deleteCategory(id: "0190b1b6-7c5e-7000-8000-000000000000") { success } }')
    (command,) = [one for one in spans.get_finished_spans() if one.name == "delete_category"]
    assert command.status.status_code is StatusCode.UNSET
    assert (command.attributes or {})["error.type"] == "NOT_FOUND"


@pytest.mark.parametrize("given", ["00", "", "garbage", f"00-{'0' * 32}-b7ad6b7169203331-01", CLIENTS.upper()[:-1]])
def test_a_malformed_traceparent_begins_a_new_trace(
    shop: ShopInMemory, spans: InMemorySpanExporter, given: str
) -> None:
    assert "errors" not in shop.graphql("{ products { id } }", headers={"traceparent": given})
    (root,) = [one for one in spans.get_finished_spans() if one.name == "graphql"]
    assert root.parent is None


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, 0), (1.0, 2)])
def test_the_shop_decides_what_is_traced(shop: ShopInMemory, ratio: float, expected: int) -> None:
    exporter = InMemorySpanExporter()
    tracing.configure(exporter, ratio, at_once=True)
    try:
        for flags in ("00", "01"):
            shop.graphql("{ products { id } }", headers={"traceparent": CLIENTS[:-2] + flags})
        assert sum(one.name == "graphql" for one in exporter.get_finished_spans()) == expected
    finally:
        tracing.configure(None)


def test_without_an_exporter_no_span_is_made_and_the_trace_still_travels(shop: ShopInMemory) -> None:
    order(shop)
    assert {event.metadata.traceparent for event in shop.log() if event.stream.startswith("order-")} == {CLIENTS}
