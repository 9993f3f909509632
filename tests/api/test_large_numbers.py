"""Positions and counts beyond 32 bits: the log and its API go on, on PostgreSQL."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from graphql import GraphQLError

from shared.api.scalars import int_in, long_out
from shared.api.schema import schema
from shared.config.settings import Settings
from shared.runtime.current import using
from tests.shop_in_memory import Json, ShopInMemory
from tests.streams import concurrent, going_on, in_thread, opened

BEYOND = 2**31


@pytest.fixture
def shop(
    provider: str, event_store_url: str, command_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ShopInMemory]:
    """A shop on PostgreSQL, in whose log 2,147,483,647 numbers have been used."""
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    with psycopg.connect(event_store_url, autocommit=True) as connection:
        connection.execute("SELECT setval(pg_get_serial_sequence('events', 'position'), 2147483647)")
    with psycopg.connect(command_url, autocommit=True) as connection:
        connection.execute("SELECT setval(pg_get_serial_sequence('saga_history', 'position'), 2147483647)")
    made = ShopInMemory(
        Settings(
            profile="postgres",
            event_store_url=event_store_url,
            command_database_url=command_url,
            sign_in_required=True,
            payment_url=f"{provider}/payments",
            shipping_url=f"{provider}/shipments",
            notification_url=f"{provider}/notifications",
        )
    )
    with using(made.engines):
        yield made
        made.close()


@pytest.fixture
def order(shop: ShopInMemory) -> str:
    order_id = shop.new_order(shop.new_product())
    shop.settle()
    shop.engines.recorder.flush()
    return order_id


def test_every_query_of_the_log_answers(shop: ShopInMemory, order: str) -> None:
    events = shop.ask("{ events { id globalSequence eventType eventVersion } }")["events"]
    assert [one["id"] for one in events] == [one["globalSequence"] for one in events]
    assert min(one["id"] for one in events) == BEYOND
    seventh = events[6]
    after = f"query ($id: Int) {{ events(afterId: $id) {{ id }} a: events(afterId: {seventh['id']}) {{ id }} }}"
    rest = [{"id": one["id"]} for one in events[7:]]
    assert shop.ask(after, id=seventh["id"]) == {"events": rest, "a": rest}
    history = f'{{ eventHistory(aggregateId: "{order}") {{ event {{ id }} }} }}'
    assert shop.ask(history)["eventHistory"][0]["event"]["id"] > BEYOND
    assert shop.ask("{ recentEvents { id } }")["recentEvents"][0]["id"] == events[-1]["id"]
    assert shop.ask("{ eventStoreStats { latestSequence } }")["eventStoreStats"]["latestSequence"] == events[-1]["id"]
    status = shop.ask("{ projectionStatus { position lagEvents } }")["projectionStatus"]
    assert max(one["position"] for one in status) == events[-1]["id"]
    messages = shop.ask("{ pubsubMessages(limit: 1000) { cursor } }")["pubsubMessages"]
    for message in messages:
        shop.ask("query ($after: String) { pubsubMessages(after: $after) { id } }", after=message["cursor"])


@concurrent
async def test_every_subscription_to_a_log_resumes(shop: ShopInMemory) -> None:
    async with opened("subscription { eventStream { id } }") as stream:
        await in_thread(shop.new_category)
        await in_thread(shop.new_category)
        first, second = await stream.some(2, "id")
        assert first == BEYOND
    async with opened("subscription { eventStream { id } }", headers=going_on(f"1.1.{BEYOND}")) as stream:
        assert await stream.some(2, "id") == [first, second]


@pytest.mark.parametrize("number", [0, BEYOND, -BEYOND - 1, 2**53 - 1])
def test_integers_of_53_bits_are_json_numbers(number: int) -> None:
    assert json.dumps(long_out(number)) == str(number)
    assert int_in(number) == number


def test_larger_numbers_are_strings() -> None:
    assert long_out(2**53) == "9007199254740992"
    assert schema().type_map["Long"].description


@pytest.mark.parametrize("value", [True, 1.5, "1", "", 2**53, -(2**53), 10**100])
def test_what_is_no_whole_number_of_53_bits_is_refused(value: Any) -> None:
    with pytest.raises(GraphQLError, match="whole number"):
        int_in(value)


@pytest.mark.parametrize("argument", ["limit", "offset"])
def test_a_number_beyond_a_bound_is_named(argument: str, shop: ShopInMemory) -> None:
    refused: Json = shop.refusal(f"{{ categories({argument}: {2**53 - 1}) {{ id }} }}")
    assert refused == {"code": "INVALID_INPUT", "field": [argument]}
