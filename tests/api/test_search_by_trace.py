"""Admins find what belongs to one trace: its commands, its queries and its events."""

import pytest

from scripts.local.token import emulator_token
from tests.shop_in_memory import Json, ShopInMemory

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
FIND = """query ($trace: String) {
    events: eventsConnection(filter: { traceId: $trace }) { edges { node { eventType aggregateId metadata } } }
    commands: commandExecutionsConnection(filter: { traceId: $trace }) {
        edges { node { commandType traceId correlationId } }
    }
    queries: queryExecutionsConnection(filter: { traceId: $trace }) { edges { node { queryType traceId } } }
}"""


def found(shop: ShopInMemory, trace: str = TRACE) -> Json:
    shop.engines.recorder.flush()
    answer = shop.ask(FIND, trace=trace)
    return {name: [edge["node"] for edge in page["edges"]] for name, page in answer.items()}


def test_a_trace_leads_to_its_commands_queries_and_events(shop: ShopInMemory) -> None:
    category = shop.new_category("another trace")
    made = 'mutation { createCategory(input: { name: "Tea" }) { id } }'
    (made_id,) = shop.graphql(made, headers=TRACEPARENT)["data"]["createCategory"].values()
    shop.graphql("{ categories { id } }", headers=TRACEPARENT)
    seen = found(shop)
    (event,) = seen["events"]
    assert (event["eventType"], event["aggregateId"]) == ("CategoryCreated", made_id)
    (command,) = seen["commands"]
    assert (command["commandType"], command["traceId"]) == ("CreateCategory", TRACE)
    assert command["correlationId"] == event["metadata"]["correlation_id"]
    assert seen["queries"] == [{"queryType": "categories", "traceId": TRACE}]
    assert category not in str(seen)
    assert found(shop, TRACE.upper()) == seen
    assert found(shop, "f" * 32) == {"events": [], "commands": [], "queries": []}


@pytest.mark.parametrize("list_of", ["eventsConnection", "commandExecutionsConnection", "queryExecutionsConnection"])
def test_traces_are_for_admins(shop: ShopInMemory, list_of: str) -> None:
    query = f'{{ {list_of}(filter: {{ traceId: "{TRACE}" }}) {{ pageInfo {{ hasNextPage }} }} }}'
    writer = {"Authorization": f"Bearer {emulator_token('bob@example.com', role='writer')}"}
    (error,) = shop.graphql(query, headers=writer)["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN"
    shop.graphql("{ categories { id } }", headers=TRACEPARENT)
    shop.engines.recorder.flush()
    ids = '{ queryExecutionsConnection(filter: { name: "categories" }) { edges { node { traceId correlationId } } } }'
    edges = shop.graphql(ids, headers=writer)["data"]["queryExecutionsConnection"]["edges"]
    assert [edge["node"] for edge in edges] == [{"traceId": None, "correlationId": None}]


def test_a_cause_leads_to_what_it_has_led_to(shop: ShopInMemory) -> None:
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    causes = {event.type: event.metadata.causation_id for event in shop.log() if event.stream == f"order-{order_id}"}
    query = "query ($id: String) { eventsConnection(filter: { causationId: $id }) { edges { node { eventType } } } }"
    edges = shop.ask(query, id=causes["PaymentProcessed"])["eventsConnection"]["edges"]
    assert [edge["node"]["eventType"] for edge in edges] == ["PaymentProcessed"]
    assert shop.ask(query, id="nothing")["eventsConnection"]["edges"] == []
    writer = {"Authorization": f"Bearer {emulator_token('bob@example.com', role='writer')}"}
    (error,) = shop.graphql(query, {"id": causes["PaymentProcessed"]}, headers=writer)["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("trace", ["", "0af7651916cd43dd", f"00-{TRACE}-b7ad6b7169203331-01", "g" * 32, "٠" * 32])
def test_what_is_no_trace_id_is_refused(shop: ShopInMemory, trace: str) -> None:
    (error,) = shop.graphql(
        "query ($t: String) { eventsConnection(filter: { traceId: $t }) { totalCount } }", {"t": trace}
    )["errors"]
    assert "must be a trace id: 32 hexadecimal digits" in error["message"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": ["filter", "traceId"]}
