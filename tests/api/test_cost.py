"""The most expensive queries that the limits accept take at most a second of a processor, and then
name the limit."""

import asyncio
import gc
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import graphql
import pytest
from uuid_utils.compat import uuid7

from shared.api.schema import schema
from shared.domain.product import PRODUCT
from shared.event_store.aggregates import load
from shared.event_store.protocol import Append
from shared.monitoring.executions import Execution
from shared.read_models.protocol import Change
from tests.processor import costs_at_most
from tests.shop_in_memory import ShopInMemory, open_shop, usual_settings

EVENTS, PRODUCTS, ORDERS = 10_000, 2_000, 1_200
ORDER = "0190b1b6-7c5e-7000-8000-000000000001"
OTHERS = [str(uuid7()) for _ in range(ORDERS)]
BEGAN = datetime.now(UTC) + timedelta(seconds=1)


@pytest.fixture(scope="module")
def large(provider: str) -> Iterator[tuple[ShopInMemory, str]]:
    """A shop; its product with 10,000 events, one for each second; 2,000 products that share two
    letters; and orders of 100 lines each, all of one request."""
    with open_shop(usual_settings(provider)) as shop:
        product_id = shop.new_product()
        shop.settle()
        (document,) = asyncio.run(shop.engines.memory_models.get_many("products", [product_id])).values()
        for number in range(PRODUCTS):
            name, key = f"Tea {number}", str(uuid7())
            change = Change(document | {"id": key, "name": name, "description": "Leaves of tea. " * 20})
            shop.engines.memory_models.update("products", key, lambda _, change=change: change)  # type: ignore[misc]
        store, stream = shop.engines.event_store, f"product-{product_id}"
        (created,) = store.read([stream])[stream]
        data = {"product_id": product_id, "delta": 1, "reason": None}
        many = [
            replace(
                created,
                id=uuid7(),
                version=version,
                type="StockAdjusted",
                data=data,
                recorded_at=BEGAN + timedelta(seconds=version),
            )
            for version in range(2, EVENTS + 1)
        ]
        silent = shop.engines.broker
        order_with_many_lines(shop)
        shop.deliver = lambda to, body: 204
        copy_order(shop)
        store.append(Append(many))
        (loaded,) = load(store, [PRODUCT.ref(UUID(product_id))])
        assert loaded.version == EVENTS
        assert silent.wait_until_idle(60)
        gc.freeze()  # a service does not hold the whole shop, so it does not look through it for garbage
        yield shop, product_id
        gc.unfreeze()


def order_with_many_lines(shop: ShopInMemory) -> None:
    category_id = shop.new_category()
    products = [shop.new_product(category_id) for _ in range(100)]
    lines = [{"productId": one, "productName": "Tea", "quantity": 1, "unitPrice": "500"} for one in products]
    shop.new_order(products[0], orderId=ORDER, items=lines)
    shop.settle()
    assert shop.ask(f'{{ order(id: "{ORDER}") {{ status }} }}') == {"order": {"status": "CONFIRMED"}}


def copy_order(shop: ShopInMemory) -> None:
    """Place the same order again and again in one request, which has 1,000 deliveries."""
    store, stream, models = shop.engines.event_store, f"order-{ORDER}", shop.engines.memory_models
    created = store.read([stream])[stream][0]
    (document,) = asyncio.run(models.get_many("orders", [ORDER])).values()
    for key in OTHERS:
        data = created.data | {"order_id": key}
        store.append(Append([replace(created, id=uuid7(), stream=f"order-{key}", data=data)]))
        models.update("orders", key, lambda _, key=key: Change(document | {"id": key}))  # type: ignore[misc]
    about = {"causationId": str(created.id), "asked": {"text": "x" * 1000}}
    correlation_id = created.metadata.correlation_id
    delivered = [Execution("delivery", "x", "success", 1, correlation_id, None, stream, about) for _ in range(1000)]
    shop.engines.executions.write(delivered)


def moment(second: int) -> str:
    return (BEGAN + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


def fifty(field: str, aliases: int = 50) -> str:
    """Aliases of a field; `{n}` in it is the alias's number, `{at}` and `{other}` a moment and an
    order of its own."""

    def own(n: int) -> str:
        return field.replace("{n}", str(n)).replace("{at}", moment(EVENTS - 60 + n)).replace("{other}", OTHERS[n])

    return f"{{ {' '.join(f'a{n}: {own(n)}' for n in range(aliases))} }}"


QUERIES = {
    "past states": fifty('product(id: "{id}", asOf: "{at}") { name stockQuantity }'),
    "the end of a history": fifty('eventHistory(aggregateId: "{id}", afterVersion: 1000000) { after }'),
    "histories": fifty('eventHistory(aggregateId: "{id}", afterVersion: 1{n}, limit: 1000) { after }'),
    "searches": fifty('searchProducts(searchTerm: "Te{n}") { id }'),
    "searches that find": fifty('searchProducts(searchTerm: "leaves", limit: 1000) { id }'),
    "lists": fifty("products(limit: 900) { id }"),
    "pages": fifty("productsConnection(first: 9{n}) { edges { node { id } } }"),
    "pages by name": fifty(
        "productsConnection(last: 9{n}, sortBy: NAME) { edges { cursor } pageInfo { hasNextPage } }"
    ),
    "counts": fifty("productsConnection(first: {n}) { totalCount }"),
    "links of pages": "{ productsConnection(first: 1000) { edges { node { category { parent { children { id } } } } } } }",
    "far offsets": fifty("products(limit: 1, offset: 9{n}) { id }"),
    "events": fifty("events(limit: 900, afterId: {n}) { id }"),
    "recent events": fifty("recentEvents(limit: 900) { eventData }"),
    "fields": "{ products(limit: 1000) { " + " ".join(f"a{n}: name" for n in range(38)) + " } }",
    "links": "{ products(limit: 1000) { category { products(limit: 10) { id } } } }",
    "messages": fifty("pubsubMessages(limit: 900) { id }"),
    "orders": "{ orders(limit: 1000) { id } }",
    "lines": "{ orders(limit: 70) { items { " + " ".join(f"a{n}: productName" for n in range(49)) + " } } }",
    "events of orders": fifty('events(limit: 900, eventType: "OrderCreated", afterId: {n}) { eventData }'),
    "four lists": fifty('events(limit: 900, eventType: "OrderCreated") { eventData }', 4),
    "histories of an order": fifty(f'eventHistory(aggregateId: "{ORDER}", limit: 15) {{ before after }}'),
    "timelines of an order": fifty(f'order(id: "{ORDER}") {{ timeline {{ at }} }}'),
    "timelines of a request": fifty('order(id: "{other}") { timeline { at } }'),
    "topics": fifty("pubsubStats { topic messageCount }"),
    "event store": fifty("eventStoreStats { totalEvents eventsByType { count } }"),
    "memory": fifty("memoryInfo { totalMb }"),
    "functions": fifty("systemTopology { serviceName }"),
    "executions": fifty("commandExecutions(limit: 900) { eventsGenerated }"),
}


@pytest.mark.parametrize("what", QUERIES)
def test_the_worst_accepted_query_takes_at_most_a_second(large: tuple[ShopInMemory, str], what: str) -> None:
    shop, product_id = large
    query = QUERIES[what].replace("{id}", product_id)
    shop.ask("{ categories { id } }")
    answer = costs_at_most(1, lambda: shop.graphql(query))
    refused = {error["message"].partition(":")[0] for error in answer.get("errors", ())}
    assert all(COSTS_TOO_MUCH.fullmatch(message) for message in refused)


COSTS_TOO_MUCH = re.compile(r"the query reads too much|the query's cost is \d+; at most 50000 is allowed")


def every_query() -> Iterator[tuple[str, str]]:
    """Yield each query with its required arguments, and of its answer the fields that take no
    argument."""
    values = {"id": ORDER, "orderId": ORDER, "aggregateId": ORDER, "userId": "x", "searchTerm": "tea"}
    for name, field in cast(Any, schema().query_type).fields.items():
        required = (key for key, given in field.args.items() if graphql.is_required_argument(given))
        needed = ", ".join(f"{key}: {json.dumps(values.get(key, 'graphql'))}" for key in required)
        yield name, f"{name}{f'({needed})' if needed else ''} {leaves(field.type)}"


def leaves(kind: Any) -> str:
    fields = getattr(graphql.get_named_type(kind), "fields", {})
    if "edges" in fields:
        return "{ edges { cursor } totalCount pageInfo { hasNextPage hasPreviousPage } }"
    plain = [name for name, field in fields.items() if graphql.is_leaf_type(graphql.get_named_type(field.type))]
    return f"{{ {' '.join(plain)} }}" if plain else "{ __typename }" if fields else ""


@pytest.mark.parametrize(("name", "field"), [*every_query()])
def test_any_field_fifty_times_takes_at_most_a_second(large: tuple[ShopInMemory, str], name: str, field: str) -> None:
    shop, _ = large
    shop.ask("{ categories { id } }")
    costs_at_most(1, lambda: shop.graphql(fifty(field)))


def test_fifty_past_states_of_one_product_are_folded_at_once(large: tuple[ShopInMemory, str]) -> None:
    shop, product_id = large
    found = shop.ask(QUERIES["past states"].replace("{id}", product_id))
    stock = [found[f"a{n}"]["stockQuantity"] for n in range(50)]
    assert stock == [stock[0] + n for n in range(50)]
