"""Every function answers /health/live and /health/ready, also while a dependency fails or hangs."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Event
from typing import Any, cast

import flask
import httpx
import psycopg
import pytest
from google.cloud.pubsub_v1 import PublisherClient

from scripts.local.topology import create_topology
from shared.config.manifest import ROOT, Function, manifest
from shared.config.settings import Settings
from shared.domain.errors import Unavailable
from shared.monitoring.health import Check, Checkup, Finding, HealthStatus, Report
from shared.observability.sentences import said
from shared.runtime import http
from shared.runtime.current import using
from shared.runtime.engines import Engines
from tests.end_to_end.running_shop import wait_until
from tests.fakes import MovableClock
from tests.ports import free_port
from tests.shop_in_memory import PATIENCE, Json, ShopInMemory, app, served, together, until
from tests.stand_ins import raising, with_methods

FUNCTIONS = list(manifest().functions.values())
PATHS = ["/health/live", "/health/ready"]
SECRET = "host=10.1.2.3 password=hunter2"


def got(shop: ShopInMemory, function: str, path: str, method: str = "GET") -> httpx.Response:
    if function == "graphql":
        return shop.http(method, path)
    response = cast(flask.Flask, app(function)).test_client().open(path, method=method)
    return httpx.Response(response.status_code, headers=list(response.headers), content=response.data)


def by_name(report: Json) -> dict[str, Json]:
    return {check["name"]: check for check in report["checks"]}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_every_function_answers_that_it_is_live_and_ready(shop: ShopInMemory, function: Function) -> None:
    alive, ready = (got(shop, function.name, path) for path in PATHS)
    assert (alive.status_code, ready.status_code) == (200, 200)
    assert (alive.json()["status"], alive.json()["checks"]) == ("HEALTHY", [])
    assert ready.json()["status"] == "HEALTHY"
    assert list(by_name(ready.json())) == [*function.uses, "breakers"]
    for answer in (alive, ready):
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.headers["cache-control"] == "no-store"
        assert set(answer.json()) == {"status", "timestamp", "checks", "version", "node", "process"}
        assert set(answer.json()["process"]) == {"uptimeSeconds", "memoryMb", "cpuPercent"}
        assert answer.json()["timestamp"].endswith("Z")
    for check in ready.json()["checks"]:
        assert set(check) == {"name", "status", "message", "messagePhrases", "details", "durationMs"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("function", ["graphql", "create_order", "order_saga", "relay_outbox", "sandbox_provider"])
def test_health_answers_get_and_head_only(shop: ShopInMemory, function: str, path: str) -> None:
    assert got(shop, function, path, "HEAD").status_code == 200
    for method in ("POST", "PUT", "DELETE"):
        refused = got(shop, function, path, method)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert shop.log() == []


def test_a_forked_worker_reports_itself_and_not_its_master() -> None:
    program = """
import os, time
from shared.monitoring.health import Report
Report()
time.sleep(2)
if os.fork() == 0:
    print(Report().process["uptimeSeconds"], flush=True)
    os._exit(0)
os.wait()
print(Report().process["uptimeSeconds"], flush=True)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True
    )
    worker, master = map(int, run.stdout.split())
    assert worker < master


@pytest.mark.parametrize("service", ["command", "query", "client"])
def test_a_function_of_a_service_has_its_health_below_its_name(shop: ShopInMemory, service: str) -> None:
    with served(service) as url, httpx.Client(base_url=url, timeout=PATIENCE) as client:
        for function in manifest().of_service(service):
            below = "" if service == "client" else f"/{function.name}"
            for path in PATHS:
                assert client.get(f"{below}{path}").json()["status"] == "HEALTHY"


def test_a_function_reports_the_open_breaker_of_its_provider(shop: ShopInMemory) -> None:
    breaker = shop.engines.breakers["the payment provider"]
    for _ in range(shop.engines.settings.breaker_fail_max):
        with pytest.raises(Unavailable), breaker.guard():
            raise Unavailable("down")
    answer = got(shop, "process_payment", "/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "DEGRADED")
    assert "the payment provider is open" in by_name(answer.json())["breakers"]["message"]


@pytest.mark.parametrize("path", PATHS)
def test_in_the_cloud_health_needs_no_caller_and_a_command_does(
    shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST")
    monkeypatch.setenv("K_SERVICE", "create-order")
    monkeypatch.setenv("K_REVISION", "create-order-00042-abc")
    answer = got(shop, "create_order", path)
    assert (answer.status_code, answer.json()["node"]) == (200, "create-order-00042-abc")
    assert shop.command("create_order", {}).status_code == 403


@pytest.mark.parametrize("function", ["graphql", "create_order", "project_orders", "sweep_sagas"])
def test_with_malformed_settings_a_function_is_live_and_not_ready(shop: ShopInMemory, function: str) -> None:
    with using(raising(ValueError(SECRET))):
        assert got(shop, function, "/health/live").status_code == 200
        answer = got(shop, function, "/health/ready")
    assert (answer.status_code, [*by_name(answer.json())]) == (503, ["settings"])
    assert "hunter2" not in answer.text


def break_one(shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch, name: str, behave: Callable[..., Any]) -> None:
    """Let the dependency behind one check fail or hang."""
    engines = shop.engines
    healthy = engines.missing_migrations
    match name:
        case "firestore":
            engines.read_models = with_methods(engines.read_models, update=behave)
        case "pubsub":
            engines.publisher = with_methods(engines.publisher, has_topic=behave)
        case _:
            monkeypatch.setattr(
                engines, "missing_migrations", lambda which: behave() if which == name else healthy(which)
            )


DEPENDENCIES = ["event_store", "command_database", "firestore", "pubsub"]
ALL_OF_THEM = "order_saga", "project_orders", "graphql"


@pytest.mark.parametrize("name", DEPENDENCIES)
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Unavailable("the event store does not answer"), "the event store does not answer"),
        (RuntimeError(SECRET), "failed; the log says why"),
    ],
)
def test_a_failing_dependency_is_named_without_internal_details(
    shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch, name: str, error: Exception, message: str
) -> None:
    break_one(shop, monkeypatch, name, raising(error))
    for function in ALL_OF_THEM:
        answer = got(shop, function, "/health/ready")
        affected = name in manifest().functions[function].uses
        assert answer.status_code == (503 if affected else 200)
        assert "hunter2" not in answer.text and "10.1.2.3" not in answer.text
        for check, found in by_name(answer.json()).items():
            expected = ("UNHEALTHY", message) if check == name else ("HEALTHY", found["message"])
            assert (found["status"], found["message"], found["details"]) == (*expected, None)


@pytest.mark.parametrize("name", DEPENDENCIES)
def test_a_hanging_dependency_is_reported_in_time_and_delays_no_other_check(
    shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch, hang: Callable[..., Any], name: str
) -> None:
    shop.engines.settings = replace(shop.engines.settings, health_check_seconds=0.3)
    break_one(shop, monkeypatch, name, hang)
    began = time.monotonic()
    got(shop, "graphql", "/health/ready")
    assert time.monotonic() - began < 20

    def only_it_is_unhealthy() -> bool:
        report = by_name(got(shop, "graphql", "/health/ready").json())
        assert (report[name]["status"], report[name]["message"]) == ("UNHEALTHY", "did not answer within 0.3 seconds")
        assert report[name]["durationMs"] >= 290
        others = {check: found["status"] for check, found in report.items() if check != name}
        return others == dict.fromkeys({*DEPENDENCIES, "breakers"} - {name}, "HEALTHY")

    until(only_it_is_unhealthy)  # on a busy machine others may be late as well, but not each time


@pytest.mark.parametrize("missing", [manifest().topics[0], manifest().topics[7], manifest().topics[-1]])
def test_every_topic_of_the_manifest_is_looked_up(shop: ShopInMemory, missing: str) -> None:
    shop.engines.publisher = with_methods(shop.engines.publisher, has_topic=lambda topic: topic != missing)
    for function in ("graphql", "create_order", "relay_outbox"):
        answer = got(shop, function, "/health/ready")
        found = by_name(answer.json())["pubsub"]
        assert (answer.status_code, found["status"]) == (503, "UNHEALTHY")
        assert f"lacks 1 topics: {missing};" in found["message"]


def test_topics_are_looked_up_at_the_same_time_and_none_while_the_broker_is_down(shop: ShopInMemory) -> None:
    asked: list[str] = []
    meet = together(8, bool)

    def known(topic: str) -> bool:
        asked.append(topic)
        return topic == manifest().topics[0] or meet(topic)  # the first is looked up before all others

    shop.engines.publisher = with_methods(shop.engines.publisher, has_topic=known)
    shop.engines.checkup = Checkup(keep_seconds=0)
    assert got(shop, "create_order", "/health/ready").status_code == 200
    assert sorted(asked) == sorted(manifest().topics)

    def down(topic: str) -> bool:
        asked.append(topic)
        raise Unavailable("down")

    asked.clear()
    shop.engines.publisher = with_methods(shop.engines.publisher, has_topic=down)
    assert got(shop, "create_order", "/health/ready").status_code == 503
    assert len(asked) == 1


def test_while_a_check_hangs_further_requests_start_no_thread(
    shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch, hang: Callable[..., Any]
) -> None:
    shop.engines.settings = replace(shop.engines.settings, health_check_seconds=0.2)
    break_one(shop, monkeypatch, "pubsub", hang)
    got(shop, "graphql", "/health/ready")
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: got(shop, "create_order", "/health/ready"), range(200)))
    assert {answer.status_code for answer in answers} == {503}
    assert time.monotonic() - began < 40
    assert [thread.name for thread in threading.enumerate()].count("check pubsub") == 1


def test_a_check_that_has_ended_late_is_run_again() -> None:
    over, looks = Event(), []

    def look() -> Finding:
        looks.append(1)
        if len(looks) == 1:
            over.wait(60)
        return Finding(HealthStatus.HEALTHY, said("ANSWERS"))

    checkup, check = Checkup(keep_seconds=0), Check("it", look, 0.05)
    assert checkup.run([check])[0].found.status is HealthStatus.UNHEALTHY
    over.set()
    deadline = time.monotonic() + PATIENCE
    while checkup.run([check])[0].found.status is not HealthStatus.HEALTHY:
        assert time.monotonic() < deadline
    assert len(looks) >= 2


def test_a_result_is_reused_for_a_moment_for_all_callers(
    movable_clock: MovableClock, shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    gone = Event()

    def look(name: str) -> list[str]:
        looks.append(name)
        if gone.is_set():
            raise Unavailable("gone")
        return []

    monkeypatch.setattr(shop.engines, "missing_migrations", look)
    movable_clock.stop()
    for function in ["create_order", "graphql"] * 5:
        assert got(shop, function, "/health/ready").status_code == 200
    assert looks.count("event_store") == 1
    gone.set()
    movable_clock.move(1.1)
    assert got(shop, "create_order", "/health/ready").status_code == 503


def test_callers_at_the_same_time_share_one_look() -> None:
    looks: list[int] = []

    def look() -> Finding:
        looks.append(1)
        time.sleep(0.1)
        return Finding(HealthStatus.HEALTHY, said("ANSWERS"))

    checkup = Checkup(keep_seconds=60)
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda _: checkup.run([Check("it", look, 60)]), range(64)))
    assert len(looks) == 1
    assert all(result[0].found.status is HealthStatus.HEALTHY and result[0].duration_ms >= 90 for result in results)


@pytest.mark.parametrize(
    ("found", "overall", "status"),
    [
        ([], "HEALTHY", 200),
        ([HealthStatus.HEALTHY, HealthStatus.HEALTHY], "HEALTHY", 200),
        ([HealthStatus.HEALTHY, HealthStatus.DEGRADED], "DEGRADED", 200),
        ([HealthStatus.UNHEALTHY, HealthStatus.DEGRADED, HealthStatus.HEALTHY], "UNHEALTHY", 503),
    ],
)
def test_a_report_has_the_status_of_its_worst_check(found: list[HealthStatus], overall: str, status: int) -> None:
    checks = [Check(str(n), lambda one=one: Finding(one, said("READY")), 5) for n, one in enumerate(found)]  # type: ignore[misc]
    body, code, _ = http.health_reply(Report(Checkup().run(checks)))
    assert (f'"status": "{overall}"' in body, code) == (True, status)


@contextmanager
def on_real_engines(**settings: Any) -> Iterator[Engines]:
    engines = Engines(Settings(**settings))
    with using(engines):
        yield engines
    engines.close()


@pytest.fixture
def real(event_store_url: str, command_url: str, pubsub: str, firestore: str) -> Iterator[Engines]:
    project = f"health-{time.time_ns()}"
    create_topology(project, manifest().all_subscriptions, lambda _: "http://127.0.0.1:9")
    urls = {"event_store_url": event_store_url, "command_database_url": command_url}
    with on_real_engines(project_id=project, health_check_seconds=10, **urls) as engines:
        yield engines


def ready(function: str) -> tuple[int, Json]:
    response = cast(flask.Flask, app(function)).test_client().get("/health/ready")
    return response.status_code, cast(Json, response.json)


@pytest.mark.parametrize("function", ["order_saga", "project_orders", "create_order", "record_dead_letter"])
def test_on_real_engines_a_function_is_ready(real: Engines, function: str) -> None:
    wait_until(lambda: ready(function)[0] == 200, 60)  # Google's libraries take seconds to wake up on a busy machine
    status, report = ready(function)
    assert (status, report["status"]) == (200, "HEALTHY"), report
    assert list(by_name(report)) == [*manifest().functions[function].uses, "breakers"]


def test_a_database_that_was_not_migrated_is_not_ready(real: Engines, event_store_url: str) -> None:
    with psycopg.connect(event_store_url) as connection:
        connection.execute("DELETE FROM migrations")
    status, report = ready("create_order")
    assert status == 503
    assert "scripts/migrate" in by_name(report)["event_store"]["message"]
    assert by_name(report)["pubsub"]["status"] == "HEALTHY"


def test_each_missing_topic_is_named(real: Engines) -> None:
    for topic in ("order-events", "project-orders.order-events.dead"):
        PublisherClient().delete_topic(topic=f"projects/{real.settings.project_id}/topics/{topic}")
    status, report = ready("create_order")
    found = by_name(report)["pubsub"]
    assert (status, found["status"]) == (503, "UNHEALTHY")
    assert "lacks 2 topics: order-events, project-orders.order-events.dead;" in found["message"]


def test_a_broker_without_topics_is_not_ready(real: Engines) -> None:
    real.settings = replace(real.settings, project_id=f"empty-{time.time_ns()}")
    status, report = ready("create_order")
    assert (status, by_name(report)["pubsub"]["status"]) == (503, "UNHEALTHY")
    assert by_name(report)["event_store"]["status"] == "HEALTHY"


@pytest.mark.timeout(60)
def test_when_every_engine_is_down_each_is_named_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"postgresql://shop:hunter2@127.0.0.1:{free_port()}/x"
    for name in ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"):
        monkeypatch.setenv(name, f"127.0.0.1:{free_port()}")
    urls = {"event_store_url": nowhere, "command_database_url": nowhere}
    began = time.monotonic()
    with on_real_engines(project_id="down", **urls):
        for function in ("order_saga", "project_orders"):
            status, report = ready(function)
            assert status == 503
            assert {check["status"] for check in report["checks"] if check["name"] != "breakers"} == {"UNHEALTHY"}
            assert "hunter2" not in str(report) and "127.0.0.1" not in str(report)
    assert time.monotonic() - began < 14  # two seconds for each of the eight checks would be 16


@pytest.mark.parametrize(
    ("dependency", "functions"),
    [
        ("the payment provider", {"process_payment", "refund_payment"}),
        ("the shipping provider", {"arrange_shipping", "cancel_shipping"}),
        ("Firestore", {function.name for function in FUNCTIONS if "firestore" in function.uses}),
        ("Pub/Sub", {function.name for function in FUNCTIONS if "pubsub" in function.uses}),
        ("create_order", {"graphql"}),
    ],
)
def test_a_function_shows_the_breakers_of_its_own_dependencies_only(
    shop: ShopInMemory, dependency: str, functions: set[str]
) -> None:
    """Although one process runs all functions here, as on a developer's machine."""
    for _ in range(shop.engines.settings.breaker_fail_max):
        with pytest.raises(Unavailable), shop.engines.breakers[dependency].guard():
            raise Unavailable("down")
    reports = {function.name: by_name(got(shop, function.name, "/health/ready").json()) for function in FUNCTIONS}
    degraded = {name for name, checks in reports.items() if checks["breakers"]["status"] == "DEGRADED"}
    assert degraded == functions
    assert all(f"{dependency} is open" in reports[name]["breakers"]["message"] for name in functions)
