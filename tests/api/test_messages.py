"""Published messages and updates of sagas, queried and followed: complete, in order, personal data
masked."""

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from shared.config.manifest import manifest
from shared.event_store.protocol import Append, Checkpoint, EventRecord
from shared.monitoring.executions import Execution
from shared.observability.context import fresh
from shared.sagas.store import SagaEntry
from tests.callers import NOBODY, signed_in
from tests.shop_in_memory import Json, ShopInMemory
from tests.stand_ins import with_methods
from tests.streams import SOON, concurrent, going_on, in_thread, opened, until_followed, until_still, with_settings

MESSAGE = "id topic messageType payload timestamp sourceService cursor"
STREAM = f"subscription ($topic: String) {{ pubsubStream(topic: $topic) {{ {MESSAGE} }} }}"
SAGA = """id sagaType status state commandsDispatched { commandType commandData timestamp } eventsHandled
    createdAt updatedAt correlationId"""
SAGAS = f"subscription ($type: String) {{ sagaUpdates(sagaType: $type) {{ {SAGA} }} }}"
TOPICS = [topic for topic in manifest().topics if not topic.endswith(".dead")]
PERSONAL = {"user_id", "payment_id", "shipping_id", "payment_method", "shipping_method", "reason"}


@pytest.fixture(scope="module")
def order(shared_shop: ShopInMemory) -> str:
    """Return the id of the only order of `shared_shop`, to which nothing else happens."""
    return with_an_order(shared_shop)


def with_an_order(shop: ShopInMemory) -> str:
    order_id = shop.new_order(shop.new_product(), userId="hanako", shippingMethod="refuse")
    shop.settle()
    return order_id


def messages(shop: ShopInMemory, arguments: str = "", headers: Mapping[str, str] | None = None) -> list[Json]:
    answer = shop.graphql(f"{{ pubsubMessages{arguments} {{ {MESSAGE} }} }}", headers=headers)
    assert "errors" not in answer, answer
    found: list[Json] = answer["data"]["pubsubMessages"]
    return found


def delivered(shop: ShopInMemory) -> dict[str, Json]:
    """Return each message as the broker delivered it, by id."""
    everything = [one for one in shop.pushed(*manifest().functions) if one.function != "record_dead_letter"]
    found = {}
    for one in everything:
        attributes = one.body["message"]["attributes"]
        found[attributes["ce-id"]] = {
            "id": attributes["ce-id"],
            "topic": attributes["ce-source"].removeprefix("//shop/"),
            "messageType": attributes["ce-type"],
            "payload": json.loads(base64.b64decode(one.body["message"]["data"])),
        }
    return found


def test_the_messages_are_those_that_were_published(shared_shop: ShopInMemory, order: str) -> None:
    shown = messages(shared_shop, "(limit: 1000)")
    published = delivered(shared_shop)
    assert {
        one["id"]: {key: one[key] for key in ("id", "topic", "messageType", "payload")} for one in shown
    } == published
    assert len(shown) == len(published)
    assert {one["topic"] for one in shown} >= {"category-events", "product-events", "order-events", "refund-payment"}
    assert {one["sourceService"] for one in shown} == {"command"}
    recorded = {str(event.id): event.recorded_at for event in shared_shop.log()}
    for one in shown:
        assert datetime.fromisoformat(one["timestamp"]) == recorded.get(
            one["id"], datetime.fromisoformat(one["timestamp"])
        )


def test_the_newest_messages_come_first(shared_shop: ShopInMemory, order: str) -> None:
    shown = messages(shared_shop)
    times = [one["timestamp"] for one in shown]
    assert times == sorted(times, reverse=True)
    assert messages(shared_shop, "(limit: 3)") == shown[:3]
    assert messages(shared_shop, "(limit: 0)") == []


@pytest.mark.parametrize("topic", TOPICS)
def test_messages_are_found_by_topic(shared_shop: ShopInMemory, order: str, topic: str) -> None:
    shown = messages(shared_shop)
    assert messages(shared_shop, f'(topic: "{topic}")') == [one for one in shown if one["topic"] == topic]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("topic", [None, "order-events", "reserve-inventory"])
def test_a_client_that_continues_after_the_last_timestamp_gets_every_message_in_order(
    shared_shop: ShopInMemory, order: str, limit: int, topic: str | None
) -> None:
    wanted = f', topic: "{topic}"' if topic else ""
    everything = messages(shared_shop, f'(afterTimestamp: "2020-01-01T00:00:00Z"{wanted})')
    assert len(everything) == len(messages(shared_shop, f"(limit: 1000{wanted})"))
    shared = max(Counter(one["timestamp"] for one in everything).values())
    read: list[Json] = []
    last = "2020-01-01T00:00:00Z"
    while page := messages(shared_shop, f'(afterTimestamp: "{last}", limit: {max(limit, shared)}{wanted})'):
        assert len(page) <= max(limit, shared)
        read += page
        last = page[-1]["timestamp"]
    assert read == everything
    assert [one["timestamp"] for one in read] == sorted(one["timestamp"] for one in read)


def test_a_group_of_one_timestamp_that_exceeds_the_limit_is_one_page(shop: ShopInMemory) -> None:
    now = datetime.now(UTC)
    events = [EventRecord(uuid7(), f"category-{uuid7()}", 1, "CategoryDeleted", 1, {}, fresh(), now) for _ in range(5)]
    shop.engines.event_store.append(Append(events))
    assert len(messages(shop, '(afterTimestamp: "2020-01-01T00:00:00Z", limit: 2)')) == 5
    assert len(messages(shop, '(afterTimestamp: "2020-01-01T00:00:00Z", limit: 5)')) == 5


def test_a_cursor_and_a_time_exclude_each_other(shop: ShopInMemory) -> None:
    for field in ("pubsubMessages", "queryExecutions", "commandExecutions"):
        query = f'{{ {field}(after: "0-0-0", afterTimestamp: "2020-01-01T00:00:00Z") {{ cursor }} }}'
        assert shop.refusal(query) == {"code": "INVALID_INPUT", "field": ["after"]}


@pytest.mark.parametrize(
    "cursor", ["", "x", "1", "1-2-3", "1-0-", "-1-0-1", "1" * 17 + "-0-1", "1-0-" + "9" * 19, "1-٠-1", "\ud800"]
)
def test_a_malformed_cursor_is_refused(shop: ShopInMemory, cursor: str) -> None:
    for field in ("pubsubMessages", "queryExecutions", "commandExecutions"):
        query = f"query ($after: String) {{ {field}(after: $after) {{ cursor }} }}"
        assert shop.refusal(query, after=cursor) == {"code": "INVALID_INPUT", "field": ["after"]}


@pytest.mark.parametrize("field", ["queryExecutions", "commandExecutions"])
def test_executions_of_one_time_are_read_completely(shop: ShopInMemory, field: str) -> None:
    kind: Any = field.removesuffix("Executions")
    now = datetime.now(UTC)
    shop.engines.executions.write([Execution(kind, "Any", "success", 1, "c", recorded_at=now) for _ in range(250)])
    begins = (("after", "cursor", f"0-{UUID(int=0)}"), ("afterTimestamp", "timestamp", "2020-01-01T00:00:00Z"))
    for argument, last_of, first in begins:
        read: list[Json] = []
        last = first
        while page := shop.ask(f'{{ {field}({argument}: "{last}") {{ id cursor timestamp }} }}')[field]:
            read += page
            last = page[-1][last_of]
            if len(read) >= 250:
                break
        assert len({one["id"] for one in read}) >= 250


def test_a_clock_that_jumps_loses_no_message(shop: ShopInMemory) -> None:
    now = datetime.now(UTC)
    for minutes in (0, 60, -60, 1):
        made = EventRecord(
            uuid7(), f"category-{uuid7()}", 1, "CategoryDeleted", 1, {}, fresh(), now + timedelta(minutes=minutes)
        )
        shop.engines.event_store.append(Append([made]))
    assert len(messages(shop)) == 4
    assert len(messages(shop, f'(afterTimestamp: "{now.isoformat()}")')) == 2


@pytest.mark.parametrize(
    ("arguments", "field", "said"),
    [
        ('(topic: "nothing")', "topic", "category-events"),
        ('(topic: "")', "topic", "reserve-inventory"),
        ('(topic: "x\\u0000🍵")', "topic", "must be one of"),
        ('(topic: "order-saga.order-events.dead")', "topic", "deadLetters"),
        ("(limit: -1)", "limit", "limit"),
        ("(limit: 1001)", "limit", "limit"),
    ],
)
def test_bad_arguments_are_named(shop: ShopInMemory, arguments: str, field: str, said: str) -> None:
    (error,) = shop.graphql(f"{{ pubsubMessages{arguments} {{ id }} }}")["errors"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": [field]}
    assert said in error["message"]


def hidden(payload: Json) -> Json:
    """Return the payload as a reader sees it."""
    if "data" in payload:
        return payload | {
            "data": {name: "***" if name in PERSONAL else value for name, value in payload["data"].items()}
        }
    return {name: "***" if name in PERSONAL else value for name, value in payload.items()}


@pytest.mark.parametrize(
    ("headers", "sees"),
    [(None, "everything"), (signed_in("hanako"), "orders"), (signed_in("taro"), ""), (NOBODY, "")],
    ids=["admin", "owner", "another", "nobody"],
)
def test_personal_data_is_for_admins_and_the_owner(
    shared_shop: ShopInMemory, order: str, headers: Mapping[str, str] | None, sees: str
) -> None:
    published = delivered(shared_shop)
    shown = messages(shared_shop, headers=headers)
    assert {one["messageType"] for one in shown} >= {"OrderCreated", "FailOrder"}
    for one in shown:
        payload = published[one["id"]]["payload"]
        of_order = order in json.dumps(payload.get("data", payload)) and one["topic"] not in (
            "product-events",
            "category-events",
        )
        visible = sees == "everything" or (sees == "orders" and of_order)
        assert one["payload"] == (payload if visible else hidden(payload))
    assert "hanako" not in json.dumps(shown), "an announcement is a hint, which names no person"


def stats(shop: ShopInMemory) -> dict[str, Json]:
    found = shop.ask("{ pubsubStats { topic messageCount messagesPerMinute lastMessageAt } }")["pubsubStats"]
    return {one.pop("topic"): one for one in found}


def test_a_new_shop_has_every_topic_without_messages(shop: ShopInMemory) -> None:
    nothing = {"messageCount": 0, "messagesPerMinute": 0.0, "lastMessageAt": None}
    assert stats(shop) == dict.fromkeys(manifest().topics, nothing)


def test_the_statistics_are_those_of_the_messages(shop: ShopInMemory) -> None:
    with_an_order(shop)
    shown, found = messages(shop, "(limit: 1000)"), stats(shop)
    for topic in TOPICS:
        times = [one["timestamp"] for one in shown if one["topic"] == topic]
        expected = {
            "messageCount": len(times),
            "messagesPerMinute": len(times) / 5,
            "lastMessageAt": max(times, default=None),
        }
        assert found[topic] == expected
    old = datetime.now(UTC) - timedelta(minutes=6)
    made = EventRecord(uuid7(), f"category-{uuid7()}", 1, "CategoryDeleted", 1, {}, fresh(), old)
    shop.engines.event_store.append(Append([made]))
    again, before = stats(shop)["category-events"], found["category-events"]
    assert again == before | {"messageCount": before["messageCount"] + 1}


def test_a_dead_letter_is_counted_on_its_dead_letter_topic(shop: ShopInMemory) -> None:
    shop.deliver = lambda subscription, body: (
        500 if subscription.endpoint == "project_categories" else shop.hand_over(subscription, body)
    )
    shop.new_category()
    shop.settle()
    found = stats(shop)
    of_consumer = found["project-categories.category-events.dead"]
    assert (of_consumer["messageCount"], of_consumer["messagesPerMinute"]) == (1, 0.2)
    assert of_consumer["lastMessageAt"] > found["category-events"]["lastMessageAt"]
    assert sum(one["messageCount"] for topic, one in found.items() if topic.endswith(".dead")) == 1


def saga_entries(shop: ShopInMemory) -> list[SagaEntry]:
    return shop.engines.saga_log.read_all(Checkpoint(), 1_000_000)


def everything(shop: ShopInMemory) -> dict[str, Json]:
    return {one["id"]: one for one in messages(shop, "(limit: 1000)")}


@pytest.mark.parametrize("topic", [None, "order-events", "product-events", "process-payment", "fail-order"])
@concurrent
async def test_messages_come_as_they_are_published(shop: ShopInMemory, topic: str | None) -> None:
    product = await in_thread(shop.new_product)
    before = await in_thread(everything, shop)
    async with opened(STREAM, {"topic": topic}) as stream:
        await in_thread(shop.new_order, product, shippingMethod="refuse")
        await in_thread(shop.settle)
        expected = {i: one for i, one in (await in_thread(everything, shop)).items() if i not in before}
        expected = {i: one for i, one in expected.items() if topic in (None, one["topic"])}
        shown = await stream.some(len(expected))
        await asyncio.sleep(0.3)
        assert stream.nothing_waits()
    assert {one["id"]: one for one in shown} == expected
    assert len(shown) == len(expected) > 0


@concurrent
async def test_a_client_can_resume_after_every_message(shop: ShopInMemory) -> None:
    async with opened(STREAM) as stream:
        await in_thread(shop.new_order, await in_thread(shop.new_product), shippingMethod="refuse")
        await in_thread(shop.settle)
        length = len(await in_thread(everything, shop))
        events = [await stream.event() for _ in range(length)]
    ids = [event.data["data"]["pubsubStream"]["id"] for event in events if event.data]
    for number, event in enumerate(events, 1):
        async with opened(STREAM, headers=going_on(event.id)) as again:
            rest = [one["id"] for one in await again.some(length - number)]
            assert sorted(rest) == sorted(ids[number:])
            assert again.nothing_waits()


@concurrent
async def test_a_resume_point_is_valid_for_another_topic(shop: ShopInMemory) -> None:
    """Messages of other topics, which the first subscription skipped, come after its resume
    point."""
    async with opened(STREAM, {"topic": "order-events"}) as stream:
        await in_thread(shop.new_order, await in_thread(shop.new_product))
        await in_thread(shop.settle)
        assert (await stream.next("messageType")) == "OrderCreated"
    commands = [
        one
        for one in (await in_thread(everything, shop)).values()
        if one["topic"] in ("process-payment", "confirm-order")
    ]
    for command in commands:
        async with opened(STREAM, {"topic": command["topic"]}, going_on(stream.taken)) as again:
            assert await again.next("id") == command["id"]


@pytest.mark.parametrize(
    "event_id", ["1.1.1", "1.1.1-", "-1.1.1", "1.1.1-1.1.1-1.1.1", "1.1.1,1.1.1", "x-y", "1.1.1-1.1"]
)
@concurrent
async def test_an_id_of_another_subscription_is_refused(shop: ShopInMemory, event_id: str) -> None:
    async with opened(STREAM, headers=going_on(event_id)) as stream:
        error = await stream.refusal()
        assert error["extensions"] == {"code": "INVALID_INPUT", "field": ["Last-Event-ID"]}


@pytest.mark.parametrize("event_id", ["9.1.1-0.0.0", "0.0.0-9.1.1"])
@concurrent
async def test_an_id_from_beyond_the_end_of_either_log_is_refused(shop: ShopInMemory, event_id: str) -> None:
    async with opened(STREAM, headers=going_on(event_id)) as stream:
        assert "beyond the end of this log" in (await stream.refusal())["message"]
    async with opened(SAGAS, headers=going_on("9.1.1")) as stream:
        assert "beyond the end of this log" in (await stream.refusal())["message"]


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ('subscription { pubsubStream(topic: "nothing") { id } }', "topic", "must be one of"),
        ('subscription { pubsubStream(topic: "order-saga.order-events.dead") { id } }', "topic", "deadLetters"),
        ('subscription { sagaUpdates(sagaType: "Nothing") { id } }', "sagaType", "must be one of OrderSaga"),
        ('subscription { sagaUpdates(sagaType: "x\\u0000") { id } }', "sagaType", "must be one of OrderSaga"),
    ],
)
@concurrent
async def test_an_unknown_topic_or_saga_type_is_named(shop: ShopInMemory, query: str, field: str, said: str) -> None:
    async with opened(query) as stream:
        error = await stream.refusal()
        assert error["extensions"] == {"code": "INVALID_INPUT", "field": [field]}
        assert said in error["message"]


def ordered(shop: ShopInMemory, product: str, number: int) -> None:
    for _ in range(number):
        shop.new_order(product)


@concurrent
async def test_no_message_is_lost_repeated_or_reordered_while_orders_are_written_and_clients_reconnect(
    shop: ShopInMemory,
) -> None:
    products = [await in_thread(shop.new_product) for _ in range(3)]
    async with opened(STREAM) as first:
        await first.until(lambda: first.parser.last_id)
        begun = first.parser.last_id
    before = set(await in_thread(everything, shop))
    expected: asyncio.Future[set[str]] = asyncio.get_running_loop().create_future()

    def complete(seen: list[Json]) -> bool:
        return expected.done() and expected.result() <= {one["id"] for one in seen}

    async def follow(leave_after: int) -> list[Json]:
        seen: list[Json] = []
        last: str | None = begun
        while not complete(seen):
            async with opened(STREAM, headers=going_on(last)) as stream:
                for _ in range(leave_after):
                    if complete(seen):
                        break
                    seen.append(await stream.next())
                    last = stream.taken
        return seen

    following = [asyncio.create_task(follow(n)) for n in (1, 7, 1000)]
    with ThreadPoolExecutor(3) as writing:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*[loop.run_in_executor(writing, ordered, shop, product, 4) for product in products])
    await in_thread(shop.settle)
    topic_of = {i: one["topic"] for i, one in (await in_thread(everything, shop)).items()}
    expected.set_result({*topic_of} - before)
    events = [str(event.id) for event in shop.log() if str(event.id) not in before]
    commands = [str(one.entry.message) for one in saga_entries(shop) if one.entry.message]
    await in_thread(ordered, shop, products[0], 1)  # for a client that has seen everything and waits
    for shown in await asyncio.gather(*following):
        ids = [one["id"] for one in shown if one["id"] in expected.result()]
        assert [i for i in ids if topic_of[i].endswith("-events")] == events
        assert [i for i in ids if not topic_of[i].endswith("-events")] == commands


@pytest.mark.parametrize("headers", [None, signed_in("hanako"), signed_in("taro"), NOBODY])
@concurrent
async def test_a_stream_masks_like_the_query(shop: ShopInMemory, headers: Mapping[str, str] | None) -> None:
    product = await in_thread(shop.new_product)
    async with opened(STREAM, headers=headers) as stream:
        await in_thread(shop.new_order, product, userId="hanako", paymentMethod="decline")
        await in_thread(shop.settle)
        queried = {one["id"]: one for one in await in_thread(messages, shop, "", headers)}
        shown = [await stream.next()]
        while shown[-1]["messageType"] != "OrderFailed":
            shown.append(await stream.next())
    assert all(queried[one["id"]] == one for one in shown)
    assert "hanako" not in json.dumps(shown)


@concurrent
async def test_a_client_that_reads_too_slowly_is_dropped_and_can_resume(shop: ShopInMemory) -> None:
    with_settings(shop, subscriber_buffer=5)
    product = await in_thread(shop.new_product)
    async with opened(STREAM) as stream:
        await until_followed(shop.engines.tail)
        await until_followed(shop.engines.saga_tail)
        stream.reading.clear()
        for _ in range(6):
            await in_thread(shop.new_order, product)
        await in_thread(shop.settle)
        async with asyncio.timeout(SOON):
            while not any(one.dropped for tail in (shop.engines.tail, shop.engines.saga_tail) for one in tail.queues):
                await asyncio.sleep(0.02)
        stream.reading.set()
        seen = 0
        while "errors" not in ((await stream.event()).data or {}):
            seen += 1
        await stream.complete()
    assert shop.engines.tail.subscribers == shop.engines.saga_tail.subscribers == 0
    after = len(await in_thread(everything, shop)) - 2  # the product and its category came before
    async with opened(STREAM, headers=going_on(stream.taken)) as again:
        assert len(await again.some(after - seen)) == after - seen
        assert again.nothing_waits()


@concurrent
async def test_a_saga_is_sent_after_each_of_its_versions(shop: ShopInMemory) -> None:
    product = await in_thread(shop.new_product)
    async with opened(SAGAS, {"type": "OrderSaga"}) as stream, opened(SAGAS) as all_of_them:
        order = await in_thread(shop.new_order, product, shippingMethod="refuse")
        await in_thread(shop.settle)
        now = (await in_thread(shop.ask, f"query ($id: ID!) {{ saga(id: $id) {{ {SAGA} }} }}", id=order))["saga"]
        shown = [await stream.next()]
        while shown[-1]["status"] != "FAILED":
            shown.append(await stream.next())
        assert await all_of_them.some(len(shown)) == shown
        assert stream.nothing_waits() and all_of_them.nothing_waits()
    assert shown[-1] == now
    assert shown[0]["eventsHandled"] == ["OrderCreated"]
    assert [one["commandType"] for one in shown[0]["commandsDispatched"]] == ["ReserveInventory"]
    assert {one["status"] for one in shown} == {"STARTED", "COMPENSATING", "FAILED"}
    for earlier, later in pairwise(shown):
        assert later["eventsHandled"][: len(earlier["eventsHandled"])] == earlier["eventsHandled"]
        assert later["commandsDispatched"][: len(earlier["commandsDispatched"])] == earlier["commandsDispatched"]
        assert later["state"]["seen"] > earlier["state"]["seen"]
        assert later["updatedAt"] >= earlier["updatedAt"]
    versions = [one.saga.saga.version for one in saga_entries(shop) if one.saga]
    assert versions == list(range(1, len(shown) + 1))


@concurrent
async def test_a_client_can_resume_after_every_saga_update(shop: ShopInMemory) -> None:
    async with opened(SAGAS) as stream:
        await in_thread(shop.new_order, await in_thread(shop.new_product))
        await in_thread(shop.settle)
        length = sum(one.saga is not None for one in saga_entries(shop))
        events = [await stream.event() for _ in range(length)]
    for number, event in enumerate(events, 1):
        async with opened(SAGAS, headers=going_on(event.id)) as again:
            rest = await again.some(length - number)
            assert rest == [one.data["data"]["sagaUpdates"] for one in events[number:] if one.data]
            assert again.nothing_waits()
    async with opened(SAGAS, headers=going_on("0.0.0")) as again:
        assert len(await again.some(length)) == length


@pytest.mark.parametrize(("headers", "sees"), [(None, True), (signed_in("ann"), False), (NOBODY, False)])
@concurrent
async def test_the_reason_of_a_saga_is_for_admins(
    shop: ShopInMemory, headers: Mapping[str, str] | None, sees: bool
) -> None:
    product = await in_thread(shop.new_product)
    async with opened(SAGAS, headers=headers) as stream:
        order = await in_thread(shop.new_order, product, paymentMethod="decline")
        shown: list[Json] = [await stream.next()]
        while shown[-1]["status"] != "FAILED":
            shown.append(await stream.next())
    query = f"query ($id: ID!) {{ saga(id: $id) {{ {SAGA} }} }}"
    queried = (await in_thread(shop.graphql, query, {"id": order}, headers))["data"]["saga"]
    assert shown[-1] == queried
    reasons = [one["state"]["reason"] for one in shown] + [
        command["commandData"].get("reason") for command in shown[-1]["commandsDispatched"]
    ]
    assert any(reasons) == sees


@concurrent
async def test_all_subscribers_share_one_reader_per_log(shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Checkpoint] = []
    read_all = shop.engines.saga_log.read_all

    def counted(after: Checkpoint, limit: int) -> Any:
        reads.append(after)
        return read_all(after, limit)

    shop.engines.saga_log = with_methods(shop.engines.saga_log, read_all=counted)
    shop.engines.tail.poll_seconds = shop.engines.saga_tail.poll_seconds = 0.1
    async with AsyncExitStack() as stack:
        for query in [STREAM, SAGAS] * 10:
            await stack.enter_async_context(opened(query))
        await until_followed(shop.engines.saga_tail, 20)
        reads.clear()
        began = time.monotonic()
        async with asyncio.timeout(SOON):
            while len(reads) < 4:
                await asyncio.sleep(0.1)
        assert len(reads) <= (time.monotonic() - began) / 0.1 + 1
    await until_still(reads)


@concurrent
async def test_a_message_may_contain_any_text(shop: ShopInMemory) -> None:
    text = "緑茶 🍵\u2028\n\ndata: {}\r\rid: 9\n:"
    async with opened(STREAM) as stream:
        await in_thread(shop.new_category, description=text)
        assert (await stream.next("payload"))["data"]["description"] == text
