"""The most expensive queries that the limits accept take at most a second of a processor, and then name the limit."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from shared.config.settings import Settings
from shared.domain.product import PRODUCT
from shared.event_store.aggregates import load
from shared.event_store.protocol import Append
from shared.read_models.protocol import Change
from shared.runtime.engines import using
from tests.shop_in_memory import Json, ShopInMemory

EVENTS, PRODUCTS = 10_000, 2_000
BEGAN = datetime.now(UTC) + timedelta(seconds=1)


@pytest.fixture(scope="module")
def large(provider: str) -> Iterator[tuple[ShopInMemory, str]]:
    """A shop, and its product with 10,000 events, one for each second; and 2,000 products that share two letters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
        shop = ShopInMemory(Settings(profile="memory", sign_in_required=True))
        with using(shop.engines):
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
            shop.deliver = lambda to, body: 204
            store.append(Append(many))
            (loaded,) = load(store, [PRODUCT.ref(UUID(product_id))])
            assert loaded.version == EVENTS
            assert silent.wait_until_idle(60)
            yield shop, product_id


def moment(second: int) -> str:
    return (BEGAN + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


def fifty(field: str) -> str:
    """Fifty aliases of a field; `{n}` in it is the alias's number, `{at}` a moment of its own."""
    parts = (f"a{n}: " + field.replace("{n}", str(n)).replace("{at}", moment(EVENTS - 60 + n)) for n in range(50))
    return f"{{ {' '.join(parts)} }}"


QUERIES = {
    "past states": fifty('product(id: "{id}", asOf: "{at}") { name stockQuantity }'),
    "the end of a history": fifty('eventHistory(aggregateId: "{id}", afterVersion: 1000000) { after }'),
    "histories": fifty('eventHistory(aggregateId: "{id}", afterVersion: 1{n}, limit: 1000) { after }'),
    "searches": fifty('searchProducts(searchTerm: "Te{n}") { id }'),
    "searches that find": fifty('searchProducts(searchTerm: "leaves", limit: 1000) { id }'),
    "lists": fifty("products(limit: 900) { id }"),
    "pages": fifty("productsConnection(first: 90{n}) { edges { node { id } } }"),
    "pages by name": fifty(
        "productsConnection(last: 90{n}, sortBy: NAME) { edges { cursor } pageInfo { hasNextPage } }"
    ),
    "counts": fifty("productsConnection(first: {n}) { totalCount }"),
    "counts of events": fifty('eventsConnection(first: {n}, filter: { aggregateId: "{id}" }) { totalCount }'),
    "pages of events": fifty('eventsConnection(last: 90{n}, filter: { recordedAfter: "{at}" }) { edges { cursor } }'),
    "links of pages": "{ productsConnection(first: 1000) { edges { node { category { parent { children { id } } } } } } }",
    "far offsets": fifty("products(limit: 1, offset: 9{n}) { id }"),
    "events": fifty("events(limit: 900, afterId: {n}) { id }"),
    "recent events": fifty("recentEvents(limit: 900) { eventData }"),
    "fields": "{ products(limit: 1000) { " + " ".join(f"a{n}: name" for n in range(38)) + " } }",
    "links": "{ products(limit: 1000) { category { products(limit: 10) { id } } } }",
    "messages": fifty("pubsubMessages(limit: 900) { id }"),
}


@pytest.mark.parametrize("what", QUERIES)
def test_the_worst_accepted_query_takes_at_most_a_second(large: tuple[ShopInMemory, str], what: str) -> None:
    shop, product_id = large
    query = QUERIES[what].replace("{id}", product_id)
    shop.ask("{ categories { id } }")
    began = time.process_time()
    answer: Json = shop.graphql(query)
    assert time.process_time() - began < 1
    refused = {error["message"].partition(":")[0] for error in answer.get("errors", ())}
    assert refused <= {"the query reads too much", "the query's cost is 50050; at most 50000 is allowed"}


def test_fifty_past_states_of_one_product_are_folded_at_once(large: tuple[ShopInMemory, str]) -> None:
    shop, product_id = large
    found = shop.ask(QUERIES["past states"].replace("{id}", product_id))
    stock = [found[f"a{n}"]["stockQuantity"] for n in range(50)]
    assert stock == [stock[0] + n for n in range(50)]
