"""Subscriptions as a client sees them: in order, without a gap, each event once, masked and
bounded."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from threading import Event
from typing import Any
from urllib.parse import urlencode

import pytest
from uuid_utils.compat import uuid7

from shared.api import sse
from shared.domain.errors import Unavailable
from shared.event_store.protocol import Append, Checkpoint, EventRecord, LogEntry
from shared.observability.context import fresh
from shared.runtime.current import use
from shared.runtime.engines import Engines
from tests.callers import NOBODY, personal, signed_in
from tests.fakes import MovableClock
from tests.shop_in_memory import Json, ShopInMemory
from tests.stand_ins import raising, with_methods
from tests.streams import (
    EVENT_STREAM,
    SOON,
    concurrent,
    going_on,
    in_thread,
    opened,
    until_followed,
    until_still,
    with_settings,
)

EVENTS = "subscription { eventStream { id aggregateId eventType eventData eventVersion metadata } }"
TYPES = "subscription { eventStream { eventType } }"
ORDER = "subscription ($id: ID!) { orderUpdates(id: $id) { status userId paymentId totalAmount sagaCurrentStep } }"
STOCK = """subscription ($id: ID!) { stockUpdates(productId: $id) {
    stockQuantity reservedQuantity availableQuantity price active category { name } } }"""
FULFILLED = ["PENDING", "INVENTORY_RESERVED", "PAYMENT_PROCESSED", "SHIPPED", "CONFIRMED"]


@pytest.fixture
def reads(shop: ShopInMemory) -> list[Checkpoint]:
    """The checkpoints after which the log was read, one for each read."""
    store, found = shop.engines.event_store, list[Checkpoint]()
    read_all = store.read_all

    def counted(after: Checkpoint, limit: int) -> list[LogEntry]:
        found.append(after)
        return read_all(after, limit)

    shop.engines.event_store = with_methods(store, read_all=counted)
    return found


@contextmanager
def soon_too_slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In this block, a client that reads nothing for half a second counts as too slow. A client
    that does read would too on a machine that stands still, so it has no place here."""
    with monkeypatch.context() as patched:
        patched.setattr(sse, "WRITE_SECONDS", 0.5)
        yield


@concurrent
async def test_events_come_as_they_are_recorded(shop: ShopInMemory) -> None:
    await in_thread(shop.new_category, "Before")
    async with opened(EVENTS) as stream:
        assert stream.status == 200
        product = await in_thread(shop.new_product)
        before, *recorded = shop.log()
        shown = await stream.some(2)
    assert [one["eventType"] for one in shown] == ["CategoryCreated", "ProductCreated"]
    assert [one["eventData"] for one in shown] == [event.data for event in recorded]
    assert [one["metadata"] for one in shown] == [vars(event.metadata) for event in recorded]
    assert shown[1]["aggregateId"] == product
    assert [one["id"] for one in shown] == [2, 3]
    assert before.data["name"] == "Before"


@concurrent
async def test_the_answer_is_an_event_stream_that_proxies_neither_cache_nor_buffer(shop: ShopInMemory) -> None:
    async with opened(TYPES) as stream:
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "no-cache" in stream.headers["cache-control"]
        assert stream.headers["x-accel-buffering"] == "no"
        assert "content-length" not in stream.headers
        await in_thread(shop.new_category)
        await stream.next()
    assert stream.body.endswith(
        'id: 1.1.1\nevent: next\ndata: {"data":{"eventStream":{"eventType":"CategoryCreated"}},'
        '"extensions":{"lastEventId":"1.1.1"}}\n\n'
    )


@concurrent
async def test_no_text_in_an_event_breaks_its_frame(shop: ShopInMemory) -> None:
    text = "緑茶 🍵\u2028\n\ndata: {}\r\rid: 9\n:"
    async with opened("subscription { eventStream { eventData } }") as stream:
        await in_thread(shop.new_category, description=text)
        assert (await stream.next("eventData"))["description"] == text
        assert stream.parser.last_id == "1.1.1"


@concurrent
async def test_a_subscription_can_be_sent_by_get_as_a_browser_does(shop: ShopInMemory) -> None:
    asked = urlencode({"query": "subscription ($t: String) { eventStream(eventType: $t) { eventType } }",
                       "variables": json.dumps({"t": "ProductCreated"})}).encode()  # fmt: skip
    async with opened("", method="GET", query_string=asked) as stream:
        await in_thread(shop.new_product)
        assert await stream.next("eventType") == "ProductCreated"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ('aggregateType: "order"', lambda e: e.stream.startswith("order-")),
        ('aggregateType: "Product"', lambda e: e.stream.startswith("product-")),
        ('eventType: "StockReserved"', lambda e: e.type == "StockReserved"),
        ('eventType: "PaymentFailed", aggregateType: "order"', lambda e: e.type == "PaymentFailed"),
    ],
)
@concurrent
async def test_events_are_filtered_by_type(shop: ShopInMemory, arguments: str, wanted: Any) -> None:
    async with opened(f"subscription {{ eventStream({arguments}) {{ eventType }} }}") as stream:
        product = await in_thread(shop.new_product)
        await in_thread(shop.new_order, product, paymentMethod="decline")
        await in_thread(shop.settle)
        expected = [event.type for event in shop.log() if wanted(event)]
        assert expected and await stream.some(len(expected), "eventType") == expected
        assert stream.nothing_waits()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ('subscription { eventStream(aggregateType: "user") { id } }', "aggregateType"),
        ('subscription { eventStream(eventType: "Nothing") { id } }', "eventType"),
        ('subscription { eventStream(aggregateType: "product", eventType: "OrderCreated") { id } }', "eventType"),
        ('subscription { orderUpdates(id: "1") { id } }', "id"),
        ('subscription { stockUpdates(productId: "x\\u0000") { id } }', "productId"),
    ],
)
@concurrent
async def test_an_error_names_the_invalid_argument(shop: ShopInMemory, query: str, field: str) -> None:
    async with opened(query) as stream:
        assert stream.status == 200
        error = await stream.refusal()
        assert error["extensions"] == {"code": "INVALID_INPUT", "field": [field]}


@pytest.mark.parametrize("field", ["orderUpdates(id: $id)", "stockUpdates(productId: $id)"])
@concurrent
async def test_an_unknown_id_is_not_found_at_once(shop: ShopInMemory, field: str) -> None:
    query = f"subscription ($id: ID!) {{ {field} {{ id }} }}"
    for event_id in ("", "0.0.0"):
        async with opened(query, {"id": str(uuid7())}, going_on(event_id)) as stream:
            error = await stream.refusal()
            assert error["extensions"]["code"] == "NOT_FOUND"
            assert "does not exist" in error["message"]


@concurrent
async def test_an_order_is_followed_from_its_present_state_to_its_end(shop: ShopInMemory) -> None:
    product = await in_thread(shop.new_product)
    shop.deliver = lambda subscription, body: 500  # nothing happens to the order yet
    order = await in_thread(shop.new_order, product)
    async with opened(ORDER, {"id": order}) as stream:
        assert (await stream.next()) == {
            "status": "PENDING",
            "userId": "ann",
            "paymentId": None,
            "totalAmount": "500",
            "sagaCurrentStep": "reserve_inventory",
        }
        shop.deliver = shop.hand_over
        assert await stream.some(4, "status") == FULFILLED[1:]
        await stream.complete()


@concurrent
async def test_an_order_that_fails_is_followed_through_its_compensation(shop: ShopInMemory) -> None:
    product = await in_thread(shop.new_product)
    async with opened('subscription { eventStream(eventType: "OrderCreated") { aggregateId } }') as created:
        order = await in_thread(shop.new_order, product, shippingMethod="refuse")
        assert await created.next("aggregateId") == order
        async with opened(ORDER, {"id": order}, going_on(created.parser.last_id)) as stream:
            statuses = [await stream.next("status")]
            while statuses[-1] != "FAILED":
                statuses.append(await stream.next("status"))
            await stream.complete()
    of_order = [event.type for event in shop.log() if event.stream == f"order-{order}"]
    assert len(statuses) == len(of_order) - 1  # all but the first, which the client has
    assert of_order[-1] == "OrderFailed"


@concurrent
async def test_a_state_that_could_not_be_read_comes_when_the_client_connects_again(shop: ShopInMemory) -> None:
    query = "subscription ($id: ID!) { orderUpdates(id: $id) { sagaCurrentStep timeline { name } } }"
    product = await in_thread(shop.new_product)
    shop.deliver = lambda *_: 500  # so that the order stays as it is
    order = await in_thread(shop.new_order, product)
    async with opened(query, {"id": order}) as stream:
        first = await stream.event()
        outboxes = shop.engines.outboxes
        shop.engines.outboxes = [with_methods(outboxes[0], about=raising(Unavailable("down"))), outboxes[1]]
        cancelled = await in_thread(shop.command, "cancel_order", {"orderId": order})
        assert cancelled.status_code == 200
        failed = await stream.event()
        await stream.complete()
    assert first.id is not None and failed.id is None
    assert (failed.data or {})["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    shop.engines.outboxes = outboxes
    async with opened(query, {"id": order}, going_on(first.id)) as again:
        assert await again.next("sagaCurrentStep") == "compensating"
    shop.deliver = shop.hand_over
    await in_thread(shop.settle)


@concurrent
async def test_an_order_that_has_ended_is_shown_once(shop: ShopInMemory) -> None:
    order = await in_thread(shop.new_order, await in_thread(shop.new_product))
    await in_thread(shop.settle)
    async with opened(ORDER, {"id": order}) as stream:
        event = await stream.event()
        await stream.complete()
    async with opened(ORDER, {"id": order}, going_on(event.id)) as again:
        await again.complete()  # the client has everything


@concurrent
async def test_a_product_is_followed_from_its_present_state(shop: ShopInMemory) -> None:
    category = await in_thread(shop.new_category, "Tea")
    product = await in_thread(shop.new_product, category)
    await in_thread(shop.settle)
    async with opened(STOCK, {"id": product}) as stream:
        first = await stream.next()
        assert (first["stockQuantity"], first["availableQuantity"], first["category"]) == (100, 100, {"name": "Tea"})
        await in_thread(shop.new_order, product, 3)
        reserved, deducted = await stream.some(2)
        assert (reserved["stockQuantity"], reserved["reservedQuantity"]) == (100, 3)
        assert (deducted["stockQuantity"], deducted["reservedQuantity"]) == (97, 0)
        await in_thread(shop.new_product, category)  # another product
        assert (await in_thread(shop.command, "delete_product", {"productId": product})).status_code == 200
        assert (await stream.next("active")) is False
        assert stream.nothing_waits()


@concurrent
async def test_an_aggregate_s_updates_resume_from_every_id(shop: ShopInMemory) -> None:
    product = await in_thread(shop.new_product)
    async with opened('subscription { eventStream(aggregateType: "order") { eventType } }') as events:
        order = await in_thread(shop.new_order, product, paymentMethod="decline")
        await in_thread(shop.settle)
        length = len([event for event in shop.log() if event.stream == f"order-{order}"])
        ids = [(await events.event()).id for _ in range(length)]
    everything: list[str] = []
    async with opened(ORDER, {"id": order}, going_on("0.0.0")) as stream:
        everything = await stream.some(length, "status")
        await stream.complete()
    assert everything[0] == "PENDING" and everything[-1] == "FAILED"
    for number, event_id in enumerate(ids, 1):
        async with opened(ORDER, {"id": order}, going_on(event_id)) as stream:
            assert await stream.some(length - number, "status") == everything[number:]
            await stream.complete()


@concurrent
async def test_the_log_resumes_from_every_id(shop: ShopInMemory) -> None:
    await in_thread(shop.new_order, await in_thread(shop.new_product))
    await in_thread(shop.settle)
    recorded = [event.type for event in shop.log()]
    for number in range(len(recorded) + 1):
        async with opened(TYPES, headers=going_on(f"1.{number}.{number}")) as stream:
            assert await stream.some(len(recorded) - number, "eventType") == recorded[number:]
            assert stream.nothing_waits()


@concurrent
async def test_a_client_that_disconnects_before_the_first_event_can_resume(shop: ShopInMemory) -> None:
    await in_thread(shop.new_category)
    async with opened(TYPES) as stream:
        await stream.until(lambda: stream.parser.last_id)
    await in_thread(shop.new_product, await in_thread(shop.new_category))
    async with opened(TYPES, headers=going_on(stream.parser.last_id)) as again:
        assert await again.some(2, "eventType") == ["CategoryCreated", "ProductCreated"]


@pytest.mark.parametrize(
    "event_id",
    [
        *("7", "1.2", "1.2.3.4", "a.b.c", "-1.0.0", "1.1.1; DROP", "١.١.١", "1" * 99, "1..2"),
        *(f"{2**63}.0.0", f"0.{2**64}.0", f"0.0.{2**63}"),
    ],
)
@pytest.mark.parametrize(
    "query", ["eventStream { id }", "orderUpdates(id: $id) { id }", "stockUpdates(productId: $id) { id }"]
)
@concurrent
async def test_a_malformed_id_is_refused(shop: ShopInMemory, query: str, event_id: str) -> None:
    product = await in_thread(shop.new_product)
    order = await in_thread(shop.new_order, product)
    followed = order if "order" in query else product
    declared = "($id: ID!)" if "$id" in query else ""
    headers = {"Last-Event-ID": event_id.encode().decode("latin-1")}
    async with opened(f"subscription {declared} {{ {query} }}", {"id": followed}, headers) as stream:
        error = await stream.refusal()
    assert error["extensions"] == {"code": "INVALID_INPUT", "field": ["Last-Event-ID"]}
    assert "Last-Event-ID must be the id of an event" in error["message"]


@pytest.mark.parametrize("event_id", ["1.4.4", "2.0.0", f"{2**63 - 1}.{2**64 - 1}.{2**63 - 1}"])
@concurrent
async def test_an_id_from_beyond_the_end_of_the_log_is_refused(shop: ShopInMemory, event_id: str) -> None:
    """It is from another log, or from one that was lost, so waiting for it would never end."""
    product = await in_thread(shop.new_product)
    for query in (TYPES, STOCK):
        async with opened(query, {"id": product} if query == STOCK else None, going_on(event_id)) as stream:
            error = await stream.refusal()
            assert "beyond the end of this log" in error["message"]


@concurrent
async def test_nothing_is_lost_or_repeated_or_out_of_order_while_many_write_and_clients_come_and_go(
    shop: ShopInMemory,
) -> None:
    products = [await in_thread(shop.new_product) for _ in range(4)]
    started = len(shop.log())
    writing = ThreadPoolExecutor(4)

    def adjust(product: str) -> None:
        for _ in range(40):
            assert shop.command("adjust_stock", {"productId": product, "delta": 1}).status_code == 200

    async def follow(leave_after: int) -> list[int]:
        seen: list[int] = []
        last = f"1.{started}.{started}"
        while len(seen) < 160:
            async with opened(EVENTS, headers=going_on(last)) as stream:
                seen += await stream.some(min(leave_after, 160 - len(seen)), "id")
                last = stream.parser.last_id
        return seen

    async def follow_one(product: str) -> list[int]:
        async with opened(STOCK, {"id": product}) as stream:
            quantities = [await stream.next("stockQuantity")]
            while quantities[-1] < 140:
                quantities.append(await stream.next("stockQuantity"))
        return quantities

    loop = asyncio.get_running_loop()
    writers = [loop.run_in_executor(writing, adjust, product) for product in products]
    followed = await asyncio.gather(*[follow(n) for n in (1, 7, 30, 160, 160)], follow_one(products[0]))
    await asyncio.gather(*writers)
    writing.shutdown()
    *everything, quantities = followed
    assert everything == [list(range(started + 1, started + 161))] * 5
    assert quantities == list(range(quantities[0], 141))


@pytest.mark.parametrize(
    ("headers", "sees"),
    [(None, True), (signed_in("hanako"), True), (signed_in("taro"), False), (NOBODY, False)],
    ids=["admin", "owner", "another", "nobody"],
)
@concurrent
async def test_personal_data_is_for_admins_and_the_owner(
    shop: ShopInMemory, headers: Mapping[str, str] | None, sees: bool
) -> None:
    product = await in_thread(shop.new_product)
    async with opened(EVENTS, headers=headers) as stream:
        shop.deliver = lambda subscription, body: 500  # the read model knows nothing of the order
        order = await in_thread(shop.new_order, product, userId="hanako", paymentMethod="decline")
        first = await stream.next()
        shop.deliver = shop.hand_over
        await in_thread(shop.settle)
        recorded = shop.log()[2:]
        shown = [first, *await stream.some(len(recorded) - 1)]
        for event, one in zip(recorded, shown, strict=True):
            visible = sees if event.stream.startswith("order-") else headers is None
            assert one["eventData"] == (event.data if visible else event.data | personal(event))
            assert one["metadata"] == (vars(event.metadata) if visible else None)
    async with opened(ORDER, {"id": order}, headers) as stream:
        assert await stream.next("userId") == ("hanako" if sees else "***")


@concurrent
async def test_a_slow_reader_is_dropped_with_the_reason_and_resumes(shop: ShopInMemory) -> None:
    with_settings(shop, subscriber_buffer=5)
    category = await in_thread(shop.new_category)
    async with opened(TYPES) as stream, opened(TYPES) as other:
        await until_followed(shop.engines.tail, 2)
        await stream.until(lambda: stream.parser.last_id)
        stream.reading.clear()
        for _ in range(10):
            await in_thread(shop.new_product, category)
            assert await other.next("eventType") == "ProductCreated"  # nobody waits for the slow one
        (waiting,) = [one for one in shop.engines.tail.queues if one.dropped]
        assert len(waiting) == 0  # what waited for it is gone already
        stream.reading.set()
        events = [await stream.event()]
        while "errors" not in (events[-1].data or {}):
            events.append(await stream.event())
        assert events[-1].data is not None
        (error,) = events[-1].data["errors"]
        assert error["extensions"] == {"code": "SERVICE_UNAVAILABLE", "retryAfter": 1.0}
        assert "too slow" in error["message"]
        await stream.complete()
    last = f"1.{len(events)}.{len(events)}"
    assert stream.parser.last_id == last
    async with opened(TYPES, headers=going_on(last)) as again:
        assert len(await again.some(11 - len(events))) + len(events) == 11


@concurrent
async def test_a_client_that_stops_reading_is_disconnected(shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(TYPES) as stream:
        await stream.until(lambda: stream.parser.last_id)
        stream.reading.clear()
        with soon_too_slow(monkeypatch):
            await in_thread(shop.new_category)
            async with asyncio.timeout(SOON):
                while shop.engines.tail.subscribers:
                    await asyncio.sleep(0.02)


@concurrent
async def test_an_idle_stream_sends_heartbeats(shop: ShopInMemory) -> None:
    with_settings(shop, heartbeat_seconds=0.05)
    async with opened(TYPES) as stream:
        await stream.until(lambda: stream.parser.comments >= 3)
        assert "\n\n:\n\n:\n\n" in stream.body
        await in_thread(shop.new_category)
        assert await stream.next("eventType") == "CategoryCreated"


@concurrent
async def test_a_stream_ends_by_itself_before_the_platform_ends_it(
    shop: ShopInMemory, movable_clock: MovableClock
) -> None:
    with_settings(shop, subscription_max_seconds=3300, heartbeat_seconds=0.05)
    async with opened(TYPES) as stream:
        await in_thread(shop.new_category)
        await stream.next()
        movable_clock.move(3301)
        await stream.complete()
    assert shop.engines.tail.subscribers == 0


@concurrent
async def test_a_stream_outlives_the_time_that_a_request_has(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    with_settings(shop, request_timeout_seconds=0.4)
    movable_clock.stop()  # no time passes before the stream begins, however busy the machine is
    async with opened(TYPES) as stream:
        movable_clock.move(0.6)
        await asyncio.sleep(0.6)
        await in_thread(shop.engines.event_store.append, appended())
        assert await stream.next("eventType") == "CategoryDeleted"


@concurrent
async def test_one_task_polls_for_all_subscribers_and_none_polls_without_them(
    shop: ShopInMemory, reads: list[Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_settings(shop, max_subscriptions_per_client=0)
    shop.engines.tail.poll_seconds = 0.1
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(opened(TYPES)) for _ in range(60)]
        await until_followed(shop.engines.tail, 60)
        reads.clear()
        began = time.monotonic()
        async with asyncio.timeout(SOON):
            while len(reads) < 4:
                await asyncio.sleep(0.1)
        assert len(reads) <= (time.monotonic() - began) / 0.1 + 1
        await in_thread(shop.new_category)
        assert {await stream.next("eventType") for stream in streams} == {"CategoryCreated"}
    await until_still(reads)


@concurrent
async def test_the_number_of_subscribers_is_limited_and_places_become_free(shop: ShopInMemory) -> None:
    with_settings(shop, max_subscribers=2)
    async with opened(TYPES) as first:
        await first.until(lambda: first.parser.last_id)
        async with opened(TYPES) as second, opened(TYPES) as third:
            await second.until(lambda: second.parser.last_id)
            assert (third.status, third.headers["retry-after"]) == (503, "5")
            (error,) = json.loads(third.body)["errors"]
            assert error["extensions"] == {"code": "SERVICE_UNAVAILABLE", "retryAfter": 5}
        async with opened(TYPES) as fourth:
            assert fourth.status == 200


@concurrent
async def test_one_client_can_not_take_all_subscriptions(shop: ShopInMemory) -> None:
    with_settings(shop, max_subscriptions_per_client=2)
    nobody = {"Authorization": ""}
    async with AsyncExitStack() as stack:
        for headers in (None, None, signed_in("hanako"), nobody, nobody):
            taken = await stack.enter_async_context(opened(TYPES, headers=headers))
            assert taken.status == 200
        for headers in (None, nobody):
            refused = await stack.enter_async_context(opened(TYPES, headers=headers))
            assert (refused.status, refused.headers["retry-after"]) == (429, "5")
            assert refused.headers["content-type"].startswith("application/json")
            (error,) = json.loads(refused.body)["errors"]
            assert error["extensions"] == {"code": "SERVICE_UNAVAILABLE", "retryAfter": 5}
            assert "2 subscriptions open" in error["message"]
        asked = await in_thread(shop.ask, "{ categories { id } }")
        assert asked == {"categories": []}  # queries are still answered
    async with opened(TYPES) as again, opened(ORDER, {"id": str(uuid7())}) as missing:
        assert again.status == 200
        await missing.refusal()  # a subscription that never began uses no quota
        async with opened(TYPES) as second:
            assert second.status == 200


@concurrent
async def test_anonymous_clients_leave_places_to_those_that_sign_in(shop: ShopInMemory) -> None:
    with_settings(shop, max_subscribers=4, max_subscribers_anonymous=2, trusted_proxies=1)
    asked: list[tuple[Mapping[str, str], int]] = [
        *[({"Authorization": "", "X-Forwarded-For": f"192.0.2.{n}"}, 200 if n < 2 else 503) for n in range(4)],
        *[(signed_in(f"user-{n}"), 200 if n < 2 else 503) for n in range(3)],
    ]
    async with AsyncExitStack() as stack:
        for headers, status in asked:
            stream = await stack.enter_async_context(opened(TYPES, headers=headers))
            assert stream.status == status


@concurrent
async def test_an_anonymous_client_is_its_address(shop: ShopInMemory) -> None:
    with_settings(shop, max_subscriptions_per_client=1, trusted_proxies=1)
    async with AsyncExitStack() as stack:
        for address, status in [
            ("192.0.2.1", 200),
            ("192.0.2.2", 200),
            ("2001:db8::1", 200),
            ("192.0.2.1", 429),
            ("2001:db8::2", 429),
        ]:
            headers = {"Authorization": "", "X-Forwarded-For": f"192.0.2.9, {address}"}
            stream = await stack.enter_async_context(opened(TYPES, headers=headers))
            assert stream.status == status


@concurrent
async def test_without_a_limit_a_client_may_have_any_number_of_subscriptions(shop: ShopInMemory) -> None:
    with_settings(shop, max_subscriptions_per_client=1, sign_in_required=False)
    async with (
        opened(TYPES, headers={"Authorization": ""}) as first,
        opened(TYPES, headers={"Authorization": ""}) as second,
    ):
        assert (first.status, second.status) == (200, 200)  # a developer's machine has no other client
    with_settings(shop, max_subscriptions_per_client=0)
    del shop.engines.subscription_quota  # made with the settings of before
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(opened(TYPES)) for _ in range(55)]
        assert {stream.status for stream in streams} == {200}


async def metric(shop: ShopInMemory, name: str) -> dict[str, float]:
    """Return the values of a metric with at most one label, by that label."""
    text = (await in_thread(shop.http, "GET", "/metrics")).text
    return {label: float(value) for label, value in re.findall(rf'^{name}(?:{{\w+="(\w+)"}})? (\S+)$', text, re.M)}


async def ends(shop: ShopInMemory) -> dict[str, float]:
    return await metric(shop, "shop_subscriptions_total")


async def still_open(shop: ShopInMemory) -> float:
    return (await metric(shop, "shop_subscriptions_open"))[""]


@concurrent
async def test_subscriptions_are_counted_by_how_they_end(shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Counter(await ends(shop))
    order = await in_thread(shop.new_order, await in_thread(shop.new_product))
    await in_thread(shop.settle)

    async def ended(end: str, number: int = 1) -> None:
        async with asyncio.timeout(SOON):
            while (await ends(shop)).get(end, 0) != before[end] + number:
                await asyncio.sleep(0.02)

    async with opened(ORDER, {"id": order}) as stream:
        await stream.event()
        await stream.complete()
    await ended("COMPLETE")
    async with opened(TYPES) as stream, opened(TYPES):
        await stream.until(lambda: stream.parser.last_id)
        assert await still_open(shop) == 2
    await ended("GONE", 2)
    with_settings(shop, subscriber_buffer=3)
    del shop.engines.tail
    async with opened(TYPES) as stream:
        await until_followed(shop.engines.tail)
        stream.reading.clear()
        await in_thread(
            shop.engines.event_store.append, Append([event for _ in range(9) for event in appended().events])
        )
        async with asyncio.timeout(SOON):
            while not any(one.dropped for one in shop.engines.tail.queues):
                await asyncio.sleep(0.02)
        stream.reading.set()
        while "errors" not in ((await stream.event()).data or {}):
            pass
        await stream.complete()
    await ended("SLOW")
    async with opened(TYPES) as stream:
        await stream.until(lambda: stream.parser.last_id)
        stream.reading.clear()
        with soon_too_slow(monkeypatch):
            await in_thread(shop.new_category)
            await ended("SLOW", 2)
    product = await in_thread(shop.new_product)
    async with opened(STOCK, {"id": product}) as stream:
        await stream.next()
        await in_thread(shop.engines.event_store.append, appended(f"product-{product}", 2, "Unheard"))
        await stream.refusal()
    await ended("FAILED")
    with_settings(shop, max_subscribers=1)
    del shop.engines.subscription_quota  # made with the settings of before
    async with opened(TYPES), opened(TYPES) as full, opened("subscription { orderUpdates(id: 1) { id } }"):
        assert full.status == 503
    await in_thread(shop.http, "POST", json={"query": TYPES}, headers={"Accept": "application/json"})
    await ended("REFUSED", 3)
    assert await still_open(shop) == 0


@concurrent
async def test_a_failing_store_is_retried(shop: ShopInMemory, reads: list[Checkpoint]) -> None:
    with_settings(shop, heartbeat_seconds=0.1)
    store, down = shop.engines.event_store, Event()
    read_all = store.read_all

    def failing(after: Checkpoint, limit: int) -> list[LogEntry]:
        entries = read_all(after, limit)
        if down.is_set():  # asked after the reading, so that no entry of later is among them
            raise Unavailable("down")
        return entries

    shop.engines.event_store = with_methods(store, read_all=failing)
    async with opened(TYPES) as stream:
        await stream.until(lambda: stream.parser.comments)
        down.set()
        await in_thread(shop.new_category)
        beats = stream.parser.comments
        await stream.until(lambda: stream.parser.comments > beats + 3)
        assert stream.nothing_waits()
        down.clear()
        assert await stream.next("eventType") == "CategoryCreated"


@concurrent
async def test_a_store_that_fails_at_the_beginning_is_reported(
    shop: ShopInMemory,
) -> None:
    def down() -> Checkpoint:
        raise Unavailable("the event store does not answer")

    shop.engines.event_store = with_methods(shop.engines.event_store, end=down)
    async with opened(TYPES) as stream:
        assert (await stream.refusal())["extensions"]["code"] == "SERVICE_UNAVAILABLE"


@concurrent
async def test_an_unreadable_event_is_an_internal_error_that_reveals_nothing(
    shop: ShopInMemory,
) -> None:
    product = await in_thread(shop.new_product)
    async with opened(STOCK, {"id": product}) as stream:
        await stream.next()
        await in_thread(shop.engines.event_store.append, appended(f"product-{product}", 2, "Unheard"))
        error = await stream.refusal()
    assert error["extensions"] == {"code": "INTERNAL_ERROR"}
    assert "Unheard" not in json.dumps(error)


@pytest.mark.parametrize("accept", ["application/json", "*/*", "application/graphql-response+json", ""])
def test_a_subscription_that_does_not_accept_an_event_stream_is_refused(shop: ShopInMemory, accept: str) -> None:
    response = shop.http("POST", json={"query": TYPES}, headers={"Accept": accept})
    assert response.status_code == 406
    (error,) = response.json()["errors"]
    assert "Accept: text/event-stream" in error["message"]
    got = shop.http("GET", params={"query": TYPES}, headers={"Accept": accept})
    assert got.status_code == 406


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ categories { id } }", {"data": {"categories": []}}),
        ("{ nothing }", {"code": "INVALID_INPUT"}),
        ("{", {"code": "INVALID_INPUT"}),
        ("subscription { eventStream { id } orderUpdates(id: 1) { id } }", {"code": "INVALID_INPUT"}),
        ("subscription { eventStream { nothing } }", {"code": "INVALID_INPUT"}),
    ],
)
@concurrent
async def test_a_single_result_can_come_as_an_event_stream(shop: ShopInMemory, query: str, expected: Json) -> None:
    async with opened(query) as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        event = await stream.event()
        await stream.complete()
    assert event.name == "next" and event.data is not None
    if "data" in expected:
        assert event.data == expected
    else:
        assert {error["extensions"]["code"] for error in event.data["errors"]} == {"INVALID_INPUT"}
        assert "data" not in event.data


@concurrent
async def test_a_mutation_can_be_answered_by_an_event_stream_but_not_sent_by_get(shop: ShopInMemory) -> None:
    mutation = 'mutation { createCategory(input: {name: "Tea"}) { name } }'
    async with opened(mutation) as stream:
        event = await stream.event()
        await stream.complete()
    assert event.data is not None and event.data["data"] == {"createCategory": {"name": "Tea"}}
    assert event.data["extensions"]["consistency"]["token"].endswith(":1")
    async with opened("", method="GET", query_string=urlencode({"query": mutation}).encode()) as got:
        assert got.status == 405
    assert len(shop.log()) == 1


@concurrent
async def test_the_first_of_two_accepted_media_types_is_used(shop: ShopInMemory) -> None:
    both = {"Accept": f"application/json, {EVENT_STREAM}"}
    async with opened("{ categories { id } }", headers=both) as stream:
        assert stream.headers["content-type"].startswith("application/json")
    async with opened(TYPES, headers=both) as stream:
        assert stream.headers["content-type"].startswith(EVENT_STREAM)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_query_depth": 1}, "depth is 2"),
        ({"max_query_cost": 1}, "cost is 2"),
        ({"max_query_characters": 10}, "longer than 10"),
        ({"max_query_aliases": 0}, "aliases is 1"),
    ],
)
@concurrent
async def test_a_subscription_has_the_cost_limits_of_a_query(shop: ShopInMemory, changes: Json, message: str) -> None:
    with_settings(shop, **changes)
    async with opened("subscription { eventStream { a: id } }") as stream:
        assert message in (await stream.refusal())["message"]


@concurrent
async def test_subscribing_counts_as_a_request(shop: ShopInMemory) -> None:
    with_settings(shop, rate_limit_signed_in=1)
    async with opened(TYPES) as first, opened(TYPES) as second:
        assert (first.status, second.status) == (200, 429)
        assert int(second.headers["retry-after"]) > 0
        assert second.headers["content-type"].startswith("application/json")


@concurrent
async def test_a_malformed_body_is_refused(shop: ShopInMemory) -> None:
    async with opened("", headers={"Content-Type": "text/plain"}) as stream:
        assert stream.status == 415
    with_settings(shop, max_body_bytes=10)
    async with opened(TYPES) as stream:
        assert stream.status == 413


@concurrent
async def test_after_a_restart_on_the_same_store_no_event_is_missing(shop: ShopInMemory) -> None:
    category = await in_thread(shop.new_category)
    async with opened(TYPES) as stream:
        await in_thread(shop.new_product, category)
        await stream.next()
    store = shop.engines.event_store
    await in_thread(shop.new_product, category)
    restarted = Engines(shop.engines.settings, subscriptions=[])
    restarted.event_store = store
    use(restarted)
    try:
        async with opened(TYPES, headers=going_on(stream.parser.last_id)) as again:
            await in_thread(store.append, appended())
            assert await again.some(2, "eventType") == ["ProductCreated", "CategoryDeleted"]
    finally:
        use(shop.engines)
        restarted.close()


def appended(stream: str = "", version: int = 1, kind: str = "CategoryDeleted") -> Append:
    stream = stream or f"category-{uuid7()}"
    return Append([EventRecord(uuid7(), stream, version, kind, 1, {}, fresh(), datetime.now(UTC))])
