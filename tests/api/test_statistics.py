"""systemStatistics, projectionStatus and dashboardStats: their numbers are those of the stores, for
the whole shop."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NoReturn

import pytest
from uuid_utils.compat import uuid7

from scripts.local.token import emulator_token
from shared.config.manifest import Subscription, manifest
from shared.domain.errors import Unavailable
from shared.event_store.protocol import Append, EventCounts, EventRecord
from shared.monitoring.health import Checkup
from shared.monitoring.recorder import Recorder
from shared.observability.context import fresh
from shared.postgres.pool import Pool
from shared.read_models.documents import READ_MODELS, sources_of
from shared.read_models.protocol import Change
from shared.resilience.calls import SingleFlightCache
from shared.runtime.current import use
from shared.runtime.engines import Engines
from shared.sagas.definition import Progress
from shared.sagas.status import SagaStatus
from shared.sagas.store import StoredSaga
from tests.callers import as_nobody
from tests.fakes import MovableClock, Uncached, method_replaced
from tests.shop_in_memory import Json, ShopInMemory
from tests.stand_ins import with_methods
from tests.streams import Stream, concurrent, going_on, in_thread, opened, with_settings

STATISTICS = """{ systemStatistics {
    eventStore { totalRecords lastUpdated records { name count } error }
    commandDb { totalRecords lastUpdated records { name count } error }
    queryDb { categories products orders sales lastUpdated error }
    sagas { active completed failed compensated total error } } }"""
PROJECTIONS = """{ projectionStatus { name readModel status position lagEvents lagSeconds aheadEvents processedCount
    lastProcessedAt deliveries failedDeliveries deadLetters lastError lastErrorAt } }"""
_DASHBOARD = """totalEvents eventsPerMinute activeSagas totalCommands totalQueries systemHealth errorRate
    averageLatencyMs"""
DASHBOARD = f"{{ dashboardStats {{ {_DASHBOARD} }} }}"
STREAM = f"subscription {{ dashboardStatsStream {{ {_DASHBOARD} }} }}"
ORDERING = """mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } } }"""
WRITER = {"Authorization": f"Bearer {emulator_token('bob@example.com', role='writer')}"}


@pytest.fixture(autouse=True)
def uncached(movable_clock: MovableClock, shop: ShopInMemory) -> None:
    shop.engines.checkup = Checkup(keep_seconds=0)
    shop.engines.cache = Uncached()


def system(shop: ShopInMemory) -> Json:
    found: Json = shop.ask(STATISTICS)["systemStatistics"]
    return found


def projections(shop: ShopInMemory) -> dict[str, Json]:
    return {one["readModel"]: one for one in shop.ask(PROJECTIONS)["projectionStatus"]}


def dashboard(shop: ShopInMemory) -> Json:
    shop.engines.recorder.flush()
    found: Json = shop.ask(DASHBOARD)["dashboardStats"]
    return found


def moment(text: str | None) -> datetime:
    assert text and text.endswith("Z")
    return datetime.fromisoformat(text)


def order(shop: ShopInMemory, product: str, headers: Mapping[str, str] | None = None, **more: Any) -> Json:
    line = {"productId": product, "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    return shop.graphql(ORDERING, {"input": {"userId": "ann", "items": [line], **more}}, headers)


def test_a_new_shop_holds_nothing(shop: ShopInMemory) -> None:
    nothing: Json = {"totalRecords": 0, "lastUpdated": None, "records": [], "error": None}
    assert system(shop) == {
        "eventStore": nothing,
        "commandDb": nothing,
        "queryDb": {"categories": 0, "products": 0, "orders": 0, "sales": 0, "lastUpdated": None, "error": None},
        "sagas": {"active": 0, "completed": 0, "failed": 0, "compensated": 0, "total": 0, "error": None},
    }


def test_the_records_of_each_store_are_counted(shop: ShopInMemory) -> None:
    product = shop.new_product(shop.new_category())
    shop.command("delete_category", {"categoryId": shop.new_category()})
    for more in ({}, {"paymentMethod": "decline"}, {"quantity": 1000}):
        shop.new_order(product, **more)
    shop.settle()
    shop.engines.recorder.flush()
    found, log, executions = system(shop), shop.log(), shop.engines.executions.extent()[0]  # type: ignore[attr-defined]
    assert found["eventStore"]["totalRecords"] == len(log)
    assert found["eventStore"]["records"] == [{"name": "events", "count": len(log)}]
    assert moment(found["eventStore"]["lastUpdated"]) == log[-1].recorded_at
    entries = sum(len(shop.engines.sagas.history(one.saga.progress.saga_id)) for one in shop.engines.sagas.newest(9))
    held = {"executions": executions, "saga_history": entries, "sagas": 3}
    assert {one["name"]: one["count"] for one in found["commandDb"]["records"]} == held
    assert found["commandDb"]["totalRecords"] == sum(held.values())
    assert abs(datetime.now(UTC) - moment(found["commandDb"]["lastUpdated"])) < timedelta(minutes=1)
    models = found["queryDb"]
    assert [models[name] for name in ("categories", "products", "orders")] == [2, 1, 3]
    assert moment(models["lastUpdated"]) == log[-1].recorded_at


def test_sagas_are_counted_by_status(shop: ShopInMemory) -> None:
    product = shop.new_product()
    shop.new_order(product)
    shop.new_order(product, quantity=1000)  # fails at the first step: there is nothing to undo
    for _ in range(2):
        shop.new_order(product, paymentMethod="decline")
    shop.settle()
    for status in (SagaStatus.STARTED, SagaStatus.COMPENSATING, SagaStatus.STUCK):
        shop.engines.sagas.save(StoredSaga("OrderSaga", Progress(uuid7(), status), 0, "c"), [], [])
    numbers = {"active": 3, "completed": 1, "failed": 3, "compensated": 2, "total": 7}
    assert system(shop)["sagas"] == {**numbers, "error": None}


@pytest.mark.parametrize("query", [STATISTICS, PROJECTIONS, DASHBOARD])
def test_anonymous_callers_may_read_the_statistics(shop: ShopInMemory, query: str) -> None:
    assert "errors" not in as_nobody(shop, query).json()


@pytest.mark.parametrize(
    ("store", "parts"),
    [
        ("event_log.counts", {"eventStore"}),
        ("counts.records", {"commandDb", "sagas"}),
        ("queries.extent", {"queryDb"}),
        ("counts.executions", set()),
    ],
)
@pytest.mark.parametrize("hangs", [False, True])
def test_a_store_that_does_not_answer_leaves_the_other_statistics_as_they_are(
    shop: ShopInMemory, hang: Callable[..., Any], store: str, parts: set[str], hangs: bool
) -> None:
    shop.new_product()
    shop.settle()
    shop.engines.recorder.flush()
    known = system(shop)
    assert known["eventStore"]["totalRecords"] == 2 and known["queryDb"]["products"] == 1
    shop.new_product()
    shop.settle()

    async def hang_too(*_: object) -> None:
        await asyncio.sleep(60)

    of_queries = store.startswith("queries.")
    broken = (hang_too if of_queries else hang) if hangs else (down_too if of_queries else down)
    with method_replaced(shop, store, broken):
        found = system(shop)
    assert {name for name, part in found.items() if part["error"]} == parts
    for name in parts:
        assert found[name] == known[name] | {"error": "no answer in time" if hangs else "down"}
    if "eventStore" not in parts:
        assert found["eventStore"]["totalRecords"] == 4


@pytest.mark.parametrize("query", [PROJECTIONS, DASHBOARD])
@pytest.mark.parametrize("store", ["event_log.counts", "counts.executions", "counts.records", "queries.extent"])
def test_a_store_that_is_down_is_an_error_and_not_a_number(shop: ShopInMemory, query: str, store: str) -> None:
    with method_replaced(shop, store, down_too if store.startswith("queries.") else down):
        answer = shop.graphql(query)
    if "errors" in answer:
        assert answer["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
        assert answer["data"] in (None, {"projectionStatus": None})
    else:  # it needs nothing of that
        assert (query, store) in {
            (PROJECTIONS, "counts.records"), (DASHBOARD, "queries.extent")
        }  # fmt: skip
    shop.ask(query)


def down(*_: object) -> NoReturn:
    raise Unavailable("down")


async def down_too(*_: object) -> NoReturn:
    raise Unavailable("down")


def test_every_projection_of_the_manifest_is_shown(shop: ShopInMemory) -> None:
    names = [one.name for one in manifest().functions.values() if one.group == "projections"]
    shown = shop.ask(PROJECTIONS)["projectionStatus"]
    assert [one["name"] for one in shown] == names
    assert [one["readModel"] for one in shown] == list(READ_MODELS)


def test_a_projection_that_is_up_to_date_has_applied_every_event(shop: ShopInMemory) -> None:
    product = shop.new_product()
    shop.new_order(product)
    shop.settle()
    shop.engines.recorder.flush()
    kinds, found = [event.stream.partition("-")[0] for event in shop.log()], projections(shop)
    for name, one in found.items():
        feeding = {source.aggregate.name for source in sources_of(name)}
        applied = sum(kind in feeding for kind in kinds)
        assert (one["status"], one["lagEvents"], one["lagSeconds"]) == ("RUNNING", 0, 0.0)
        assert (one["processedCount"], one["position"]) == (applied, len(kinds))
        assert (one["deliveries"], one["failedDeliveries"], one["deadLetters"]) == (applied, 0, 0)
        assert abs(datetime.now(UTC) - moment(one["lastProcessedAt"])) < timedelta(minutes=1)
        assert (one["lastError"], one["lastErrorAt"]) == (None, None)


def test_a_repeated_message_is_two_deliveries_and_one_event(shop: ShopInMemory) -> None:
    shop.new_category()
    shop.settle()
    (pushed,) = shop.pushed("project_categories")
    shop.push("project_categories", pushed.body)
    shop.engines.recorder.flush()
    one = projections(shop)["categories"]
    assert (one["processedCount"], one["deliveries"], one["lagEvents"]) == (1, 2, 0)


def test_the_processed_count_outlives_the_process(shop: ShopInMemory) -> None:
    shop.new_category()
    shop.settle()
    shop.engines.recorder.close()
    shop.engines.__dict__.pop("recorder")
    assert projections(shop)["categories"]["processedCount"] == 1


def test_a_projection_that_gets_no_messages_lags_behind(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    lost: list[Subscription] = []

    def lose(subscription: Subscription, body: Json) -> int:
        if subscription.endpoint == "project_orders":
            lost.append(subscription)
            return 204
        return shop.hand_over(subscription, body)

    product = shop.new_product()
    shop.settle()
    shop.deliver = lose
    shop.new_order(product)
    shop.settle()
    events = [event for event in shop.log() if event.stream.startswith("order-")]
    found = projections(shop)
    assert found["products"]["status"] == found["categories"]["status"] == "RUNNING"
    behind = found["orders"]
    assert (behind["status"], behind["lagEvents"], behind["processedCount"]) == ("RUNNING", len(events), 0)
    assert 0 < behind["lagSeconds"] < 30
    assert behind["position"] == 0  # no order's event has been applied: everything before them has
    movable_clock.move(10)
    assert projections(shop)["orders"]["status"] == "LAGGING"
    shop.deliver = shop.hand_over
    shop.push("project_orders", shop.pushed("project_orders")[-1].body)
    assert projections(shop)["orders"]["lagEvents"] == 0


def test_after_a_restore_a_read_model_is_ahead_until_it_is_mended(shop: ShopInMemory) -> None:
    product, lost = shop.new_product(), str(uuid7())
    shop.settle()
    shop.engines.read_models.update("products", lost, lambda _: Change({"version": 3, "updated_at": datetime.now(UTC)}))
    found = projections(shop)
    assert (found["products"]["status"], found["products"]["aheadEvents"]) == ("AHEAD", 3)
    assert found["products"]["lagEvents"] == 0
    assert (found["categories"]["status"], found["categories"]["aheadEvents"]) == ("RUNNING", 0)
    shop.command("adjust_stock", {"productId": product, "delta": 1})
    shop.settle()
    assert projections(shop)["products"]["aheadEvents"] == 3


def test_events_that_are_applied_while_they_are_counted_are_no_lost_ones(shop: ShopInMemory) -> None:
    shop.new_product()
    shop.settle()
    counts, late = shop.engines.event_log.counts, [EventCounts({}, 0, None)]
    log = with_methods(shop.engines.event_log, counts=lambda: late.pop() if late else counts())
    shop.engines.event_log = log
    assert {one["aheadEvents"] for one in projections(shop).values()} == {0}


def test_the_position_is_the_event_before_the_first_missing_one(shop: ShopInMemory) -> None:
    category = shop.new_category()
    shop.settle()
    shop.deliver = lambda subscription, body: 204
    for number in range(3):
        shop.command("update_category", {"categoryId": category, "name": f"renamed {number}"})
    shop.settle()
    one = projections(shop)["categories"]
    assert (one["position"], one["lagEvents"], one["processedCount"]) == (1, 3, 1)


def test_a_long_backlog_is_counted_exactly_and_its_age_is_a_lower_bound(shop: ShopInMemory) -> None:
    shop.deliver = lambda subscription, body: 204  # lost
    hour = datetime.now(UTC) - timedelta(hours=1)
    stream = f"order-{uuid7()}"
    events = [
        EventRecord(uuid7(), stream, n + 1, "OrderConfirmed", 1, {}, fresh(), hour + timedelta(seconds=n))
        for n in range(520)
    ]
    shop.engines.event_store.append(Append(events))
    asked = datetime.now(UTC)
    one = projections(shop)["orders"]
    assert (one["lagEvents"], one["position"], one["status"]) == (520, None, "LAGGING")
    late, later = ((at - events[20].recorded_at).total_seconds() for at in (asked, datetime.now(UTC)))
    assert late - 5 <= one["lagSeconds"] <= later + 5


def failing(*_: object) -> NoReturn:
    raise RuntimeError("hanako@example.com is not a document")


def test_the_time_of_a_failure_is_for_everybody_and_its_error_for_admins(shop: ShopInMemory) -> None:
    with method_replaced(shop, "read_models.update", failing):
        shop.new_category()
        shop.settle()  # until every attempt has failed
        shop.engines.recorder.flush()
        one = projections(shop)["categories"]
    attempts = manifest().subscriptions.max_delivery_attempts
    assert (one["status"], one["lagEvents"], one["deadLetters"]) == ("FAILING", 1, 1)
    assert (one["deliveries"], one["failedDeliveries"], one["lastProcessedAt"]) == (attempts, attempts, None)
    assert "is not a document" in one["lastError"]
    assert abs(datetime.now(UTC) - moment(one["lastErrorAt"])) < timedelta(minutes=1)
    for headers in ({"Authorization": ""}, WRITER):
        shown = {o["readModel"]: o for o in shop.graphql(PROJECTIONS, headers=headers)["data"]["projectionStatus"]}
        assert shown["categories"] == one | {"lastError": None, "lagSeconds": shown["categories"]["lagSeconds"]}
    shop.ask("mutation { retryDeadLetters { retried } }")
    shop.settle()
    mended = projections(shop)["categories"]
    assert (mended["status"], mended["lagEvents"], mended["deadLetters"]) == ("RUNNING", 0, 0)


def test_a_malformed_message_is_a_dead_letter_and_no_backlog(shop: ShopInMemory) -> None:
    shop.engines.broker.publish_raw("order-events", b"not json", {})
    shop.settle()
    one = projections(shop)["orders"]
    assert (one["status"], one["lagEvents"], one["deadLetters"]) == ("RUNNING", 0, 1)
    assert one["lastError"]


def test_the_dashboard_counts_events_sagas_commands_queries_and_errors(shop: ShopInMemory) -> None:
    product = shop.new_product()
    assert "errors" not in order(shop, product)
    assert order(shop, "nonsense")["errors"]
    shop.settle()
    shop.ask("{ a: categories { id } b: products { id } }")
    shop.engines.sagas.save(StoredSaga("OrderSaga", Progress(uuid7()), 0, "c"), [], [])
    found = dashboard(shop)
    assert found.pop("averageLatencyMs") >= 0
    assert found == {
        "totalEvents": len(shop.log()),
        "eventsPerMinute": float(len(shop.log())),
        "activeSagas": 1,
        "totalCommands": 2,
        "totalQueries": 2,
        "systemHealth": "healthy",
        "errorRate": 0.25,
    }


def test_latency_is_the_average_of_commands_and_queries(shop: ShopInMemory) -> None:
    find = shop.engines.queries.find

    async def slow(*given: Any) -> Any:
        await asyncio.sleep(0.2)
        return await find(*given)

    shop.engines.queries = with_methods(shop.engines.queries, find=slow)
    shop.ask("{ categories { id } }")
    assert 200 <= dashboard(shop)["averageLatencyMs"] < 30_000


def test_the_dashboard_counts_executions_that_the_history_does_not_keep(shop: ShopInMemory) -> None:
    shop.engines.recorder.close()
    shop.engines.recorder = Recorder(lambda: (shop.engines.executions, shop.engines.counts), 0)
    for _ in range(3):
        shop.ask("{ categories { id } }")
    shop.engines.recorder.flush()
    assert shop.ask("{ queryExecutions { id } }")["queryExecutions"] == []
    assert dashboard(shop)["totalQueries"] == 4


def test_the_dashboard_shows_the_health_of_the_shop(shop: ShopInMemory) -> None:
    shop.engines.dead_letters = with_methods(shop.engines.dead_letters, pending=lambda: 3)
    assert dashboard(shop)["systemHealth"] == "degraded"
    shop.engines.read_models = with_methods(shop.engines.read_models, update=failing)
    assert dashboard(shop)["systemHealth"] == "unhealthy"


@pytest.fixture
def looks(shop: ShopInMemory) -> list[float]:
    """Return the times at which the log was counted."""
    found, counts = list[float](), shop.engines.event_log.counts

    def counted() -> EventCounts:
        found.append(time.monotonic())
        time.sleep(0.05)
        return counts()

    shop.engines.event_log = with_methods(shop.engines.event_log, counts=counted)
    return found


def cached_for_ever(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    shop.engines.cache = SingleFlightCache()
    movable_clock.stop()


@pytest.mark.parametrize(
    ("field", "readings"),
    [
        ("systemStatistics { sagas { total } }", 1),
        ("projectionStatus { name }", 1),
        ("dashboardStats { totalEvents }", 2),  # one of them is the health check's, which compares the read models
    ],
)
def test_many_concurrent_readers_share_one_reading(
    shop: ShopInMemory, movable_clock: MovableClock, looks: list[float], field: str, readings: int
) -> None:
    cached_for_ever(shop, movable_clock)
    shop.ask("{" + " ".join(f"a{n}: {field}" for n in range(40)) + "}")
    shop.ask(f"{{ {field} }}")
    assert len(looks) == readings


def test_a_failed_reading_is_not_cached(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    cached_for_ever(shop, movable_clock)
    with method_replaced(shop, "event_log.counts", down):
        assert shop.refusal(DASHBOARD)["code"] == "SERVICE_UNAVAILABLE"
    assert dashboard(shop)["totalEvents"] == 0


async def shown(stream: Stream) -> Json:
    event = await stream.event()
    assert event.name == "next" and event.data is not None and "errors" not in event.data, event
    assert event.id is None and "extensions" not in event.data
    found: Json = event.data["data"]["dashboardStatsStream"]
    return found


@pytest.fixture
def brisk(shop: ShopInMemory) -> ShopInMemory:
    with_settings(shop, dashboard_seconds=0.05, heartbeat_seconds=0.1)
    return shop


@concurrent
async def test_a_dashboard_is_sent_at_once_and_when_it_changes(brisk: ShopInMemory) -> None:
    async with opened(STREAM) as stream:
        assert stream.status == 200
        seen = [await shown(stream)]
        assert seen[0]["totalEvents"] == 0
        await stream.until(lambda: stream.parser.comments > 3)  # heartbeats, while the dashboard is read again
        await in_thread(brisk.new_category)
        while (seen[-1]["totalEvents"], seen[-1]["systemHealth"]) != (1, "healthy"):
            seen.append(await shown(stream))
        assert all(before != after for before, after in pairwise(seen))
        assert seen[-1]["eventsPerMinute"] == 1.0


@concurrent
async def test_an_unchanged_dashboard_is_sent_again_and_says_when_it_was_read(
    brisk: ShopInMemory, movable_clock: MovableClock
) -> None:
    async with opened(STREAM.replace("totalEvents", "at totalEvents")) as stream:
        before, after = await shown(stream), dict[str, Any]()
        while after != before | {"at": after.get("at")}:  # at first the health of the shop changes
            before = after or before
            movable_clock.move(5)
            after = await shown(stream)
    assert datetime.fromisoformat(after["at"]) - datetime.fromisoformat(before["at"]) >= timedelta(seconds=5)


@pytest.mark.parametrize("seen", ["", "1.2.3", "9.9.9", "x" * 50, "nonsense"])
@concurrent
async def test_a_dashboard_begins_with_the_present_whatever_the_resume_point(brisk: ShopInMemory, seen: str) -> None:
    await in_thread(brisk.new_category)
    async with opened(STREAM, headers=going_on(seen)) as stream:
        assert (await shown(stream))["totalEvents"] == 1


@concurrent
async def test_a_dashboard_is_sent_no_more_often_than_the_setting_allows(shop: ShopInMemory) -> None:
    with_settings(shop, dashboard_seconds=0.5)
    began, messages = time.monotonic(), 1  # before the server sends the first
    async with opened(STREAM) as stream:
        await shown(stream)
        for _ in range(5):
            await in_thread(shop.new_category)
        while (await shown(stream))["totalEvents"] < 5:
            messages += 1
        assert messages <= (time.monotonic() - began) / 0.4


@concurrent
async def test_a_dashboard_ends_after_the_maximum_time_of_a_subscription(brisk: ShopInMemory) -> None:
    with_settings(brisk, subscription_max_seconds=0.5)
    async with opened(STREAM) as stream:
        while (await stream.event()).name != "complete":
            pass
        await stream.until(lambda: stream.ended)
    assert not brisk.engines.subscription_quota.open


@concurrent
async def test_a_subscriber_beyond_the_quota_is_refused_until_another_leaves(brisk: ShopInMemory) -> None:
    with_settings(brisk, max_subscribers=2)
    async with opened(STREAM) as one, opened("subscription { eventStream { id } }") as other:
        await shown(one)
        await other.until(lambda: brisk.engines.subscription_quota.full)
        async with opened(STREAM) as third:
            assert third.status == 503
    async with opened(STREAM) as stream:
        await shown(stream)


@concurrent
async def test_a_store_that_is_down_is_an_error_at_first_and_waited_for_later(brisk: ShopInMemory) -> None:
    with method_replaced(brisk, "event_log.counts", down):
        async with opened(STREAM) as stream:
            assert (await stream.refusal())["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    loop = asyncio.get_running_loop()
    async with opened(STREAM) as stream:
        await shown(stream)
        refused = asyncio.Event()

        def refuse(*_: object) -> NoReturn:
            loop.call_soon_threadsafe(refused.set)
            raise Unavailable("down")

        with method_replaced(brisk, "event_log.counts", refuse):
            await refused.wait()  # the reading before this one is over and its dashboard is sent, if it has changed
            while not stream.nothing_waits():
                await shown(stream)
            await in_thread(brisk.new_category)
            await asyncio.sleep(0.3)
            assert stream.nothing_waits() and not stream.ended
        assert (await shown(stream))["totalEvents"] == 1


@concurrent
async def test_many_subscribers_cost_as_many_readings_as_one(shop: ShopInMemory, looks: list[float]) -> None:
    shop.engines.cache = SingleFlightCache()
    with_settings(shop, dashboard_seconds=0.2, max_subscriptions_per_client=0)
    began = time.monotonic()

    async def watch() -> list[int]:
        async with opened(STREAM) as stream:
            seen = [(await shown(stream))["totalEvents"]]
            while seen[-1] < 3:
                seen.append((await shown(stream))["totalEvents"])
            return seen

    watching = [asyncio.create_task(watch()) for _ in range(100)]
    for _ in range(3):
        await in_thread(shop.new_category)
        await asyncio.sleep(0.3)
    seen = await asyncio.gather(*watching)
    assert all(one == sorted(one) for one in seen)
    assert len(looks) <= (time.monotonic() - began) / 0.2 + 2  # those of one; all would make a hundred times as many


@pytest.fixture
def on_postgres(
    shop: ShopInMemory, event_store_url: str, command_url: str, event_store_pool: Pool
) -> Iterator[Callable[[], Json]]:
    """Asks for all of it where PostgreSQL answers, as in the profile `postgres`."""
    urls = {"event_store_url": event_store_url, "command_database_url": command_url}
    settings = replace(shop.engines.settings, profile="postgres", **urls)  # type: ignore[arg-type]
    engines = Engines(settings, deliver=lambda *_: 204)
    use(engines)

    def ask() -> Json:
        engines.recorder.flush()
        return {**system(shop), **projections(shop), **shop.ask(DASHBOARD)}

    yield ask
    engines.close()
    use(shop.engines)


def test_the_statistics_are_the_same_on_postgresql(shop: ShopInMemory, on_postgres: Callable[[], Json]) -> None:
    for _ in range(2):
        shop.new_category()
    assert shop.graphql("{ categories { id } }")["data"]
    found = on_postgres()
    assert found["eventStore"]["totalRecords"] == found["dashboardStats"]["totalEvents"] == 2
    assert found["dashboardStats"]["eventsPerMinute"] == 2.0
    assert (found["categories"]["lagEvents"], found["categories"]["processedCount"]) == (2, 0)
    assert found["dashboardStats"]["totalQueries"] >= 1
    names = {one["name"]: one["count"] for one in found["commandDb"]["records"]}
    assert names == {"executions": found["commandDb"]["totalRecords"]}
