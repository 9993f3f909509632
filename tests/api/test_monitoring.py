"""The queries health, serviceHealth and memoryInfo: their findings, and which caller sees which
details."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import httpx
import psutil
import pytest
from uuid_utils.compat import uuid7

from scripts.local.token import emulator_token
from shared.api.resolvers import health as health_resolvers
from shared.api.resolvers.memory import size_of
from shared.config.manifest import manifest
from shared.config.settings import Settings
from shared.dead_letters.protocol import decode_dead_letter
from shared.domain.errors import Unavailable
from shared.event_store.protocol import Append, EventRecord, HeldBack
from shared.messaging.envelope import Message, Push, PushedMessage
from shared.messaging.memory import MemoryOutbox
from shared.messaging.outbox import Backlog
from shared.monitoring.health import Checkup
from shared.observability.context import fresh
from shared.read_models.protocol import Change
from shared.resilience.calls import SingleFlightCache
from shared.runtime.engines import Engines
from shared.sagas.definition import Progress
from shared.sagas.status import SagaStatus
from shared.sagas.store import StoredSaga
from tests.callers import as_nobody
from tests.fakes import MovableClock, Uncached, functions_answer
from tests.shop_in_memory import Json, ShopInMemory, until
from tests.stand_ins import with_methods

HEALTH = "{ health { status timestamp version node checks { name status message details durationMs } } }"
SERVICE = """query ($name: String!) { serviceHealth(serviceName: $name) {
    status timestamp version node checks { name status message details durationMs } } }"""
MEMORY = "{ memoryInfo { totalMb processMb binaryMb etsMb processCount portCount } }"
CHECKS = [
    *("event_store", "command_database", "firestore", "pubsub", "breakers"),
    *("event_outbox", "saga_outbox", "sagas", "dead_letters", "providers", "event_log", "read_models"),
    "projections",
]
STORES = [name for name in CHECKS[2:] if name not in ("breakers", "event_log", "read_models", "projections")]
"""The checks that read one store; two others both read the event log."""
SECRET = "host=10.1.2.3 password=hunter2"


@pytest.fixture(autouse=True)
def checks_run_anew(shop: ShopInMemory) -> None:
    shop.engines.checkup = Checkup(keep_seconds=0)


def health(shop: ShopInMemory) -> Json:
    report: Json = shop.ask(HEALTH)["health"]
    return report


def check(shop: ShopInMemory, name: str) -> Json:
    """Return one check; the report has its status, and all other checks are healthy."""
    report = health(shop)
    found = {one["name"]: one for one in report["checks"]}
    assert report["status"] == found[name]["status"]
    assert {one["status"] for one in report["checks"] if one["name"] != name} == {"HEALTHY"}
    checked: Json = found[name]
    return checked


def test_every_check_of_a_healthy_shop_is_healthy(shop: ShopInMemory) -> None:
    shop.new_order(shop.new_product())
    shop.settle()
    report = health(shop)
    assert report["status"] == "HEALTHY", report
    assert [one["name"] for one in report["checks"]] == CHECKS
    assert all(one["message"] and one["durationMs"] >= 0 for one in report["checks"])
    assert report["timestamp"].endswith("Z")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(report["timestamp"])) < timedelta(minutes=1)
    assert report["version"] and report["node"]


def waiting(outbox: MemoryOutbox, seconds: float) -> None:
    made = datetime.now(UTC) - timedelta(seconds=seconds)
    outbox.add([Message("things", "Happened", "thing-1", {}, fresh(), time=made)])


@pytest.mark.parametrize("name", ["event_outbox", "saga_outbox"])
@pytest.mark.parametrize(
    ("age", "status"),
    [(0, "HEALTHY"), (58, "HEALTHY"), (61, "DEGRADED"), (598, "DEGRADED"), (601, "UNHEALTHY"), (90_000, "UNHEALTHY")],
)
def test_the_health_of_an_outbox_depends_on_its_oldest_message(
    shop: ShopInMemory, name: str, age: int, status: str
) -> None:
    outbox = shop.engines.outboxes[["event_outbox", "saga_outbox"].index(name)]
    assert isinstance(outbox, MemoryOutbox)
    waiting(outbox, 0)
    waiting(outbox, age)
    found = check(shop, name)
    assert (found["status"], found["details"]["waiting"]) == (status, 2)
    assert abs(found["details"]["oldestSeconds"] - age) <= 2


def saga(shop: ShopInMemory, status: SagaStatus, deadline: timedelta | None) -> None:
    ends = datetime.now(UTC) + deadline if deadline is not None else None
    shop.engines.sagas.save(StoredSaga("OrderSaga", Progress(uuid7(), status, deadline_at=ends), 0, "c"), [], [])


@pytest.mark.parametrize(
    ("status", "deadline", "expected", "overdue", "stuck"),
    [
        (SagaStatus.STARTED, timedelta(seconds=5), "HEALTHY", 0, 0),
        (SagaStatus.STARTED, timedelta(seconds=-110), "HEALTHY", 0, 0),
        (SagaStatus.STARTED, timedelta(seconds=-121), "DEGRADED", 1, 0),
        (SagaStatus.COMPENSATING, timedelta(hours=-1), "DEGRADED", 1, 0),
        (SagaStatus.STUCK, None, "DEGRADED", 0, 1),
        (SagaStatus.FAILED, None, "HEALTHY", 0, 0),
    ],
)
def test_overdue_and_stuck_sagas_are_counted(
    shop: ShopInMemory, status: SagaStatus, deadline: timedelta | None, expected: str, overdue: int, stuck: int
) -> None:
    saga(shop, status, deadline)
    found = check(shop, "sagas")
    assert (found["status"], found["details"]) == (expected, {"overdue": overdue, "stuck": stuck})


def test_pending_dead_letters_degrade_the_shop(shop: ShopInMemory) -> None:
    for number in range(3):
        push = Push(PushedMessage(str(number)), "projects/p/subscriptions/record-dead-letter.worker.things.dead")
        shop.engines.dead_letters.record(decode_dead_letter(push, "things"))
    found = check(shop, "dead_letters")
    assert (found["status"], found["details"]) == ("DEGRADED", {"pending": 3})


@pytest.mark.parametrize(("seconds", "status"), [(0, "HEALTHY"), (59, "HEALTHY"), (60, "DEGRADED"), (9000, "DEGRADED")])
def test_a_log_that_is_held_back_for_a_minute_degrades_the_shop(
    shop: ShopInMemory, seconds: float, status: str
) -> None:
    shop.engines.event_log = with_methods(shop.engines.event_log, held_back=lambda: HeldBack(seconds, 17))
    found = check(shop, "event_log")
    assert (found["status"], found["details"]) == (status, {"oldestTransactionSeconds": seconds, "eventsHeldBack": 17})
    if status == "DEGRADED":
        assert f"{seconds} seconds ago holds back 17 events" in found["message"]
        assert "shared/monitoring/README.md" in found["message"]


def test_a_read_model_that_is_ahead_of_the_event_store_makes_the_shop_unhealthy(shop: ShopInMemory) -> None:
    product = shop.new_product()
    shop.settle()
    assert check(shop, "read_models")["status"] == "HEALTHY"
    shop.engines.cache = SingleFlightCache()
    shop.engines.read_models.update("products", product, lambda _: Change({"version": 4}))
    found = check(shop, "read_models")
    assert found["status"] == "UNHEALTHY"
    assert "read model products is ahead of the event store by 3 events: restore" in found["message"]
    assert found["details"]["ahead"] == {"categories": 0, "products": 3, "orders": 0, "sales": 0}


def test_an_open_breaker_is_named(shop: ShopInMemory) -> None:
    breaker = shop.engines.breakers["create_order"]
    for _ in range(shop.engines.settings.breaker_fail_max):
        with pytest.raises(Unavailable), breaker.guard():
            raise Unavailable("down")
    found = check(shop, "breakers")
    assert (found["status"], found["details"]) == ("DEGRADED", {"breakers": {"create_order": "open"}})
    assert "create_order is open" in found["message"] and "this process" in found["message"]


def fail(*_: object) -> NoReturn:
    raise RuntimeError(SECRET)


def break_down(shop: ShopInMemory, name: str, call: Callable[..., Any]) -> None:
    """Let the store behind a check do `call` when the check reads it."""
    engines, outboxes = shop.engines, ["event_outbox", "saga_outbox"]
    engines.outboxes = [
        with_methods(outbox, backlog=call) if name == check else outbox
        for check, outbox in zip(outboxes, engines.outboxes, strict=True)
    ]
    methods = {"firestore": "update", "pubsub": "has_topic", "sagas": "backlog", "dead_letters": "pending"}
    methods |= {"providers": "open_breakers"}
    attributes = {"firestore": "read_models", "pubsub": "publisher", "providers": "dead_letters"}
    if name in methods:
        attribute = attributes.get(name, name)
        setattr(engines, attribute, with_methods(getattr(engines, attribute), **{methods[name]: call}))


@pytest.mark.parametrize("name", STORES)
def test_a_failing_check_is_named_and_its_reason_is_for_admins(shop: ShopInMemory, name: str) -> None:
    break_down(shop, name, fail)
    found = check(shop, name)
    assert (found["status"], found["message"]) == ("UNHEALTHY", "failed; the log says why")
    assert SECRET in found["details"]["error"]
    for role in (None, "writer", "reader"):
        token = f"Bearer {emulator_token('bob@example.com', role=role)}" if role else ""
        answer = shop.http("POST", json={"query": HEALTH}, headers={"Authorization": token})
        assert answer.json()["data"]["health"]["status"] == "UNHEALTHY"
        assert {one["details"] for one in answer.json()["data"]["health"]["checks"]} == {None}
        assert "hunter2" not in answer.text


@pytest.mark.parametrize("name", STORES)
def test_a_hanging_check_is_reported_in_time_and_delays_no_other(
    shop: ShopInMemory, hang: Callable[..., Any], name: str
) -> None:
    shop.engines.settings = replace(shop.engines.settings, health_check_seconds=0.3)
    break_down(shop, name, hang)
    began = time.monotonic()
    found = check(shop, name)
    assert (found["status"], found["message"]) == ("UNHEALTHY", "did not answer within 0.3 seconds")
    assert time.monotonic() - began < 20
    began = time.monotonic()
    for _ in range(5):
        check(shop, name)
    assert time.monotonic() - began < 20


def test_health_asked_for_many_times_in_one_query_is_checked_once(shop: ShopInMemory) -> None:
    shop.engines.checkup = Checkup(keep_seconds=60)
    looks: list[int] = []

    def look() -> Backlog:
        looks.append(1)
        time.sleep(0.05)
        return Backlog(0, None)

    break_down(shop, "event_outbox", look)
    shop.ask("{" + " ".join(f"a{n}: health {{ status }}" for n in range(40)) + "}")
    assert len(looks) == 1


def service(shop: ShopInMemory, name: str) -> Json:
    report: Json = shop.ask(SERVICE, name=name)["serviceHealth"]
    return report


@pytest.mark.parametrize("name", ["create_order", "project_orders", "order_saga", "sandbox_provider"])
def test_a_function_answers_with_its_own_report(services: ShopInMemory, name: str) -> None:
    report = service(services, name)
    assert report["status"] == "HEALTHY"
    assert [one["name"] for one in report["checks"]] == [*manifest().functions[name].uses, "breakers"]
    assert report["version"] == health(services)["version"]


@pytest.mark.parametrize("name", ["client", "command", "query"])
def test_a_service_has_a_check_for_each_of_its_functions(services: ShopInMemory, name: str) -> None:
    report = service(services, name)
    assert [one["name"] for one in report["checks"]] == [one.name for one in manifest().of_service(name)]
    assert {(one["status"], one["message"]) for one in report["checks"]} == {("HEALTHY", "ready")}


def test_an_unhealthy_function_makes_its_service_unhealthy(services: ShopInMemory) -> None:
    break_down(services, "firestore", fail)
    report = service(services, "project_orders")
    assert report["status"] == "UNHEALTHY"
    report = service(services, "query")
    assert report["status"] == "UNHEALTHY"
    assert {one["message"] for one in report["checks"]} == {"not healthy: firestore"}
    report = service(services, "command")
    assert {one["status"] for one in report["checks"]} == {"HEALTHY"}


def test_graphql_checks_itself_without_http(shop: ShopInMemory) -> None:
    report = service(shop, "graphql")
    assert [one["name"] for one in report["checks"]] == CHECKS[:5]
    assert report["status"] == "HEALTHY"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused by 10.1.2.3"),
        httpx.ReadTimeout("slow"),
        httpx.Response(502, text="<h1>Bad Gateway</h1>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"status": "FINE", "checks": []}),
        httpx.Response(403, json={"code": "FORBIDDEN"}),
    ],
)
def test_a_function_that_gives_no_report_is_unhealthy(shop: ShopInMemory, answer: httpx.Response | Exception) -> None:
    def transport(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    functions_answer(shop, transport)
    response = as_nobody(shop, SERVICE, name="create_order")
    (found,) = response.json()["data"]["serviceHealth"]["checks"]
    assert (found["name"], found["status"], found["details"]) == ("create_order", "UNHEALTHY", None)
    assert "no report" in found["message"]
    assert "10.1.2.3" not in response.text


def test_a_hanging_function_delays_its_service_no_longer_than_a_command(
    shop: ShopInMemory, hang: Callable[..., Any]
) -> None:
    def transport(request: httpx.Request) -> httpx.Response:
        if "create_order" in request.url.path:
            hang()
        return httpx.Response(200, json={"status": "DEGRADED", "checks": [{"name": "x", "status": "DEGRADED"}]})

    shop.engines.settings = replace(shop.engines.settings, command_timeout_seconds=1)
    functions_answer(shop, transport)
    began = time.monotonic()
    service(shop, "command")
    assert time.monotonic() - began < 20

    def only_it_is_unhealthy() -> bool:
        found = {one["name"]: (one["status"], one["message"]) for one in service(shop, "command")["checks"]}
        assert found.pop("create_order") == ("UNHEALTHY", "did not answer within 1 seconds")
        return set(found.values()) == {("DEGRADED", "not healthy: x")}

    until(only_it_is_unhealthy)  # on a busy machine others may be late as well, but not each time


@pytest.mark.parametrize("name", ["", "nope", "graphql ", "Client", "\0", "🍵", "x" * 10_000, "../create_order"])
def test_an_unknown_service_is_answered_with_the_known_ones(shop: ShopInMemory, name: str) -> None:
    answer = shop.graphql(SERVICE, {"name": name})
    (error,) = answer["errors"]
    assert answer["data"] == {"serviceHealth": None}
    assert error["extensions"] == {"code": "NOT_FOUND", "field": ["serviceName"]}
    assert {"client", "command", "query", "graphql", "create_order"} <= set(error["message"].replace(",", "").split())
    assert len(error["message"]) < 1000


def test_in_the_cloud_a_function_is_asked_with_our_identity(
    shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[httpx.Request] = []

    def transport(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"status": "HEALTHY", "checks": []})

    async def authorization(url: str) -> dict[str, str]:
        return {"Authorization": f"Bearer for {url}"}

    functions_answer(shop, transport)
    monkeypatch.setattr(health_resolvers, "authorization", authorization)
    service(shop, "query")
    urls = {f"http://127.0.0.1:8082/{one.name}" for one in manifest().of_service("query")}
    assert {str(one.url) for one in asked} == {f"{url}/health/ready" for url in urls}
    assert {one.headers["authorization"] for one in asked} == {f"Bearer for {url}" for url in urls}


def test_memory_info_measures_this_process(shop: ShopInMemory) -> None:
    info = shop.ask(MEMORY)["memoryInfo"]
    process = psutil.Process(os.getpid())
    assert info["totalMb"] == pytest.approx(process.memory_info().rss / 1e6, rel=0.2)
    assert info["processMb"] + info["binaryMb"] == pytest.approx(info["totalMb"])
    assert 0 < info["processMb"] <= info["totalMb"]
    assert info["processCount"] == pytest.approx(process.num_threads(), abs=5)
    assert info["portCount"] == pytest.approx(process.num_fds(), abs=20)
    assert json.dumps(info)


def test_stores_in_memory_grow_with_what_they_hold(shop: ShopInMemory) -> None:
    product = shop.new_product()
    before = size_of(shop.engines.in_memory)
    for number in range(50):
        shop.command("adjust_stock", {"productId": product, "delta": 1, "reason": f"{number}" + "x" * 900})
    shop.settle()
    grown = size_of(shop.engines.in_memory) - before
    assert 50_000 < grown < 2_000_000
    assert shop.ask("{ memoryInfo { etsMb } }")["memoryInfo"]["etsMb"] == pytest.approx((before + grown) / 1e6, rel=0.5)


def test_with_databases_the_stores_take_no_memory() -> None:
    assert Engines(Settings()).in_memory == []
    assert size_of([]) == 0


def test_the_health_of_the_shop_names_the_provider_that_messages_wait_for(shop: ShopInMemory) -> None:
    """It is known to the stores: the process that answers calls no provider itself."""
    shop.engines.dead_letters.note_failure("process-payment.process-payment", "m1", "ConnectError")
    assert health(shop)["status"] == "HEALTHY"
    waits_for = "the payment provider"
    shop.engines.dead_letters.note_failure("process-payment.process-payment", "m1", "keeps failing", waits_for)
    found = check(shop, "providers")
    assert (found["status"], found["message"]) == (
        "DEGRADED",
        "the payment provider does not answer: 1 message(s) wait",
    )
    assert found["details"] == {"waiting": {"the payment provider": "ConnectError"}}


def test_a_read_model_that_is_a_minute_behind_degrades_the_health(
    shop: ShopInMemory, movable_clock: MovableClock
) -> None:
    deliver = shop.deliver
    shop.deliver = lambda to, body: 204 if to.service == "query" else deliver(to, body)  # the query service is stopped
    product = shop.new_product()
    shop.settle()
    shop.engines.cache = Uncached()
    assert health(shop)["status"] == "HEALTHY"
    movable_clock.move(61)
    found = check(shop, "read_models")
    assert found["status"] == "DEGRADED"
    for name in ("categories", "products"):
        assert f"read model {name} has been behind for " in found["message"]
    assert "is the query service up?" in found["message"]
    assert found["details"]["behind"]["products"]["events"] == 1
    (error,) = shop.graphql(f'{{ product(id: "{product}") {{ id }} }}')["errors"]
    assert error["extensions"] == {"code": "SERVICE_UNAVAILABLE", "field": ["id"], "retryAfter": 1.0}
    assert error["message"] == f"product {product} was accepted and is not visible yet; try again in a moment"
    for query in (f'{{ order(id: "{uuid7()}") {{ id }} }}', f'{{ category(id: "{uuid7()}") {{ id }} }}'):
        assert shop.refusal(query)["code"] == "NOT_FOUND"


def test_a_read_model_that_cannot_read_a_stream_names_it(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    stream, now = f"order-{uuid7()}", datetime.now(UTC)
    shop.engines.event_store.append(Append([EventRecord(uuid7(), stream, 1, "OrderImagined", 1, {}, fresh(), now)]))
    shop.settle()
    shop.engines.cache = Uncached()
    movable_clock.move(61)
    (found,) = [one for one in health(shop)["checks"] if one["name"] == "read_models"]
    assert found["status"] == "DEGRADED"
    assert f"this release does not know OrderImagined of {stream}" in found["message"]


@pytest.mark.parametrize("noun", ["category", "product", "order"])
def test_what_was_accepted_and_is_not_visible_yet_says_so(shop: ShopInMemory, noun: str) -> None:
    deliver = shop.deliver
    shop.deliver = lambda to, body: 204 if to.service == "query" else deliver(to, body)
    made = {"category": shop.new_category(), "product": shop.new_product()}
    made["order"] = shop.new_order(made["product"])
    shop.settle()
    query = f'{{ {noun}(id: "{made[noun].upper()}") {{ id }} }}'
    assert shop.refusal(query)["code"] == "SERVICE_UNAVAILABLE"
