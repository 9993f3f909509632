"""Processes count what happens, and the stores' metrics are shown even while one store is down."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import flask
import httpx
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from uuid_utils.compat import uuid7

from scripts.local.readme import MONITORING_PAGE, metrics_table
from scripts.local.token import emulator_token
from shared.config.manifest import Function, manifest
from shared.config.settings import Settings
from shared.dead_letters.protocol import decode_dead_letter
from shared.domain.errors import Unavailable
from shared.event_store.protocol import Append, EventRecord
from shared.messaging.envelope import Message, Publishable, Push, PushedMessage
from shared.monitoring.health import Checkup
from shared.monitoring.metrics import TEXT, Sample, count, exposition, label_values, metrics, observe
from shared.monitoring.reports import collectors, read_samples
from shared.observability.context import fresh
from shared.read_models.documents import READ_MODELS
from shared.read_models.protocol import Change
from shared.resilience import clock
from shared.runtime.current import using
from shared.runtime.engines import Engines
from shared.sagas.definition import Progress
from shared.sagas.status import SagaStatus
from shared.sagas.store import StoredSaga
from tests.end_to_end.running_shop import wait_until
from tests.fakes import AtMinute, method_replaced
from tests.ports import free_port
from tests.scrapes import got, now, values
from tests.shop_in_memory import ADMIN, PATIENCE, ShopInMemory, app, served, until
from tests.stand_ins import raising, with_methods

FUNCTIONS = list(manifest().functions.values())
SECRET = "host=10.1.2.3 password=hunter2"
LABELS = label_values()


@pytest.fixture
def shop(shop: ShopInMemory) -> ShopInMemory:
    """Health checks and collectors run anew each time."""
    shop.engines.checkup = Checkup(keep_seconds=0)
    return shop


class Counted:
    """Tells how much has been added to a counter since this object was made."""

    def __init__(self, shop: ShopInMemory) -> None:
        self._shop = shop
        self._before = now(shop, "create_order")

    def __call__(self, metric: str, *labels: str) -> float:
        after = now(self._shop, "create_order")
        return after.get(metric, {}).get(labels, 0) - self._before.get(metric, {}).get(labels, 0)


def test_every_metric_has_a_prometheus_name_and_the_unit_that_the_name_says() -> None:
    for metric in metrics().values():
        assert re.fullmatch("shop_[a-z]+(_[a-z]+)*", metric.name)
        assert (metric.unit == "s") == metric.name.endswith("_seconds")
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert set(metric.labels) <= set(LABELS) and len(set(metric.labels)) == len(metric.labels)
        assert re.fullmatch(r"[^|.\n]{10,120}", metric.help)
    assert set().union(*(metric.labels for metric in metrics().values())) == set(LABELS)


def test_no_metric_can_have_many_series() -> None:
    assert max(metric.most_series for metric in metrics().values()) < 1000
    assert sum(metric.most_series for metric in metrics().values()) < 3000


def test_the_readme_and_prometheus_describe_each_metric_alike(shop: ShopInMemory) -> None:
    in_use(shop)
    families = {family.name: family for family in text_string_to_metric_families(got(shop, "report_metrics").text)}
    for metric in metrics().values():
        family = families.pop(metric.name.removesuffix("_total"))
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        row = rf"\| \*?`{metric.name}`\*? \| {metric.kind} \|"
        rows = [line for line in MONITORING_PAGE.read_text().splitlines() if re.match(row, line)]
        assert len(rows) == 1 and rows[0] in metrics_table()
        assert f"| {metric.kind} |" in rows[0] and metric.help in rows[0]
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)
            assert all(sample.labels[label] in LABELS[label] | {"other"} for label in metric.labels)
    assert families == {}


def in_use(shop: ShopInMemory) -> None:
    """Do something that each metric counts, or count it."""
    shop.new_order(shop.new_product())
    shop.settle()
    shop.ask("{ products { id } }")
    shop.graphql("{ nothing }")
    shop.call("relay_outbox")
    for metric in metrics().values():
        if metric.name == "shop_scrape_errors_total":
            count(metric.name, "events")
        if metric.name == "shop_breaker_openings_total":
            count(metric.name, "Firestore")
        if metric.name == "shop_executions_dropped_total":
            count(metric.name, "history", "FULL")


@pytest.fixture(scope="module")
def used_shop(shared_shop: ShopInMemory) -> ShopInMemory:
    """Return the module's shop, where each metric has counted something."""
    shared_shop.engines.checkup = Checkup(keep_seconds=0)
    in_use(shared_shop)
    shared_shop.settle()
    return shared_shop


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_every_function_shows_its_metrics(used_shop: ShopInMemory, function: Function) -> None:
    answer = got(used_shop, function.name)
    assert (answer.status_code, answer.headers["content-type"]) == (200, TEXT)
    assert answer.headers["cache-control"] == "no-store"
    found = values(answer.text)
    assert found["shop_commands_total"]["create_order", "OK"] >= 1
    assert ("shop_sagas" in found) == (function.name == "report_metrics")
    assert got(used_shop, function.name, "HEAD").status_code == 200
    for method in ("POST", "PUT", "DELETE"):
        refused = got(used_shop, function.name, method)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("service", ["command", "query"])
def test_a_function_of_a_service_has_its_metrics_below_its_name(shop: ShopInMemory, service: str) -> None:
    with served(service) as url, httpx.Client(base_url=url, timeout=PATIENCE) as client:
        for function in manifest().of_service(service):
            assert "shop_errors_total" in client.get(f"/{function.name}/metrics").text


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("", 401),
        ("Bearer nonsense", 401),
        (f"Bearer {emulator_token('hanako@example.com')}", 403),
        (f"Bearer {emulator_token('hanako@example.com', role='reader')}", 403),
        (f"Bearer {ADMIN}", 200),
    ],
)
def test_metrics_of_graphql_are_for_admins_only(shop: ShopInMemory, token: str, status: int) -> None:
    answer = got(shop, "graphql", headers={"Authorization": token})
    assert answer.status_code == status
    assert ("shop_" in answer.text) == (status == 200)


def test_commands_are_counted_by_the_code_of_their_result(shop: ShopInMemory) -> None:
    counted = Counted(shop)
    product = shop.new_product()
    shop.new_order(product)
    shop.command("adjust_stock", {"productId": product, "delta": -1_000_000, "reason": "?"})
    shop.command("adjust_stock", {"productId": "🍵"})
    shop.call("create_order", b"{}", headers={"X-Role": "reader"})
    shop.call("create_order", b"{}", headers={"X-Timeout": "soon"})
    shop.command("retry_saga", {"id": str(uuid7())})
    assert counted("shop_commands_total", "create_order", "OK") == 1
    assert counted("shop_commands_total", "create_order", "INVALID_INPUT") == 1
    assert counted("shop_commands_total", "create_order", "FORBIDDEN") == 1
    assert counted("shop_commands_total", "adjust_stock", "BUSINESS_RULE_VIOLATION") == 1
    assert counted("shop_commands_total", "adjust_stock", "INVALID_INPUT") == 1
    assert counted("shop_commands_total", "retry_saga", "NOT_FOUND") == 1
    assert counted("shop_errors_total", "adjust_stock", "BUSINESS_RULE_VIOLATION") == 1
    assert counted("shop_errors_total", "create_order", "OK") == 0
    assert counted("shop_command_duration_seconds_count", "create_order") == 3
    assert 0 < counted("shop_command_duration_seconds_sum", "create_order") < 10


def test_deliveries_are_counted_by_subscription(shop: ShopInMemory) -> None:
    counted = Counted(shop)
    shop.new_order(shop.new_product())
    shop.settle()
    events = len([event for event in shop.log() if event.stream.startswith("order-")])
    assert counted("shop_deliveries_total", "project-orders.order-events", "OK") == events
    assert counted("shop_deliveries_total", "process-payment.process-payment", "OK") == 1
    assert counted("shop_delivery_duration_seconds_count", "project-orders.order-events") == events
    shop.engines.read_models = with_methods(shop.engines.read_models, update=raising(Unavailable("down")))
    push = next(one.body for one in shop.pushed("project_orders"))
    assert shop.push("project_orders", push).status_code == 503
    assert counted("shop_deliveries_total", "project-orders.order-events", "SERVICE_UNAVAILABLE") == 1
    assert counted("shop_errors_total", "project_orders", "SERVICE_UNAVAILABLE") == 1
    shop.push("project_orders", {"what": "?"})
    assert counted("shop_deliveries_total", "other", "INVALID_INPUT") == 1


def test_scheduled_runs_are_counted(shop: ShopInMemory) -> None:
    counted = Counted(shop)
    shop.call("relay_outbox")
    shop.engines.sagas = with_methods(shop.engines.sagas, due=raising(RuntimeError(SECRET)))
    shop.call("sweep_sagas")
    assert counted("shop_scheduled_runs_total", "relay_outbox", "OK") == 1
    assert counted("shop_scheduled_runs_total", "sweep_sagas", "INTERNAL_ERROR") == 1


def test_graphql_requests_are_counted_and_their_errors_by_code(shop: ShopInMemory) -> None:
    counted = Counted(shop)
    shop.ask("{ products { id } }")
    shop.graphql('mutation { a: deleteProduct(id: "nothing") { success } b: deleteProduct(id: "?") { success } }')
    shop.graphql("{ nothing }")
    shop.http("POST", content=b"[]", headers={"Content-Type": "application/json"})
    shop.http("DELETE")
    outcomes = {name: counted("shop_graphql_requests_total", name) for name in LABELS["outcome"]}
    assert outcomes == {"OK": 1, "ERRORS": 1, "REFUSED": 3}
    assert counted("shop_errors_total", "graphql", "INVALID_INPUT") == 5
    assert counted("shop_graphql_duration_seconds_count") == 5


def test_a_breaker_shows_its_state(shop: ShopInMemory) -> None:
    breaker = shop.engines.breakers["the payment provider"]
    for expected in ("closed", "open"):
        found = now(shop)["shop_breaker_state"]
        assert {state: found["the payment provider", state] for state in LABELS["state"]} == {
            state: float(state == expected) for state in LABELS["state"]
        }
        for _ in range(shop.engines.settings.breaker_fail_max):
            with pytest.raises(Unavailable), breaker.guard():
                raise Unavailable("down")


@given(st.sampled_from(sorted(metrics())), st.lists(st.text(), min_size=3, max_size=3))
@settings(deadline=None)
def test_no_unforeseen_label_makes_a_new_series(name: str, labels: list[str]) -> None:
    metric = metrics()[name]
    chosen = labels[: len(metric.labels)]
    foreseen = all(value in LABELS[label] for label, value in zip(metric.labels, chosen, strict=True))
    match metric.kind, metric.known_to:
        case "counter", "process":
            count(name, *chosen)
            text = exposition([])
        case "histogram", _:
            observe(name, 0.1, *chosen)
            text = exposition([])
        case _:
            text = exposition([Sample(name, tuple(chosen), 1)])
    allowed = [{*LABELS[label], "other"} for label in metric.labels]
    about_it = "".join(line for line in text.splitlines(keepends=True) if name in line)
    for key, found in values(about_it).items():
        if re.sub("_(bucket|count|sum)$", "", key) == name:
            for series in found:
                assert all(value in may for value, may in zip(series, allowed, strict=False))
            assert foreseen or not metric.labels or any("other" in series for series in found)


def test_commands_and_messages_of_any_name_make_no_new_series(shop: ShopInMemory) -> None:
    in_use(shop)
    push = {"message": {"messageId": "1"}, "subscription": "projects/p/subscriptions/0"}
    shop.push("record_dead_letter", push)
    before = len(values(got(shop, "create_order").text)["shop_deliveries_total"])
    for number in range(50):
        shop.push("record_dead_letter", push | {"subscription": f"projects/p/subscriptions/お茶-{number}.x.dead"})
    assert len(values(got(shop, "create_order").text)["shop_deliveries_total"]) == before


@pytest.fixture
def on_postgres(event_store_url: str, command_url: str) -> Iterator[Engines]:
    urls = {"event_store_url": event_store_url, "command_database_url": command_url}
    engines = Engines(Settings(profile="postgres", **urls), lambda *_: 204)  # type: ignore[arg-type]
    engines.checkup = Checkup(keep_seconds=0)
    yield engines
    engines.close()


@pytest.fixture(params=["memory", "postgres"])
def engines(request: pytest.FixtureRequest) -> Engines:
    if request.param == "memory":
        shop: ShopInMemory = request.getfixturevalue("shop")
        shop.deliver = lambda *_: 204
        return shop.engines
    postgres: Engines = request.getfixturevalue("on_postgres")
    return postgres


def read(engines: Engines) -> dict[tuple[str, ...], float]:
    return {(sample.metric, *sample.labels): sample.value for sample in read_samples(engines)}


def happened(engines: Engines, stream: str, version: int, kind: str, seconds_ago: float = 0) -> None:
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    record = EventRecord(uuid7(), stream, version, kind, 1, {}, fresh(), at)
    engines.event_store.append(Append([record]))


def test_an_empty_shop_shows_zeros(engines: Engines) -> None:
    found = read(engines)
    assert {name for name, *_ in found} == {
        metric.name
        for metric in metrics().values()
        if metric.known_to == "stores" and metric.name != "shop_events_total"
    }
    assert set(found.values()) == {0}


def test_events_are_counted_by_type(engines: Engines) -> None:
    for version, kind in enumerate(["OrderCreated", "InventoryReserved", "OrderConfirmed"], 1):
        happened(engines, f"order-{uuid7()}", 1, "OrderCreated")
        happened(engines, "order-x", version, kind)
    happened(engines, "thing-1", 1, "OfAnotherVersion")
    happened(engines, "thing-1", 2, "OfYetAnother")
    found = {series[1]: value for series, value in read(engines).items() if series[0] == "shop_events_total"}
    assert found == {"OrderCreated": 4, "InventoryReserved": 1, "OrderConfirmed": 1, "other": 2}


def test_unpublished_messages_are_counted_and_get_older(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = engines.broker
    with monkeypatch.context() as patch:
        patch.setattr(broker, "publish", raising(Unavailable("down")))
        happened(engines, "order-1", 1, "OrderCreated", seconds_ago=90)
        happened(engines, "order-1", 2, "OrderConfirmed", seconds_ago=5)
        sent = Message("t", "T", "order-1", {}, fresh(), time=datetime.now(UTC) - timedelta(seconds=700))
        engines.sagas.save(StoredSaga("OrderSaga", Progress(uuid7()), 0, "c"), [], [sent])
    found = read(engines)
    assert (found["shop_outbox_messages", "events"], found["shop_outbox_messages", "sagas"]) == (2, 1)
    assert 90 <= found["shop_outbox_oldest_age_seconds", "events"] < 150
    assert 700 <= found["shop_outbox_oldest_age_seconds", "sagas"] < 760


def test_sagas_are_shown_by_status_with_the_age_of_the_oldest_unfinished_one(engines: Engines) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    for status in (SagaStatus.STARTED, SagaStatus.STARTED, SagaStatus.STUCK, SagaStatus.COMPLETED):
        progress = Progress(uuid7(), status, deadline_at=long_ago if status is SagaStatus.STARTED else None)
        engines.sagas.save(StoredSaga("OrderSaga", progress, 0, "c"), [], [])
    time.sleep(0.2)
    found = read(engines)
    assert {status.value: found["shop_sagas", status.value] for status in SagaStatus} == {
        "STARTED": 2,
        "COMPENSATING": 0,
        "STUCK": 1,
        "COMPLETED": 1,
        "FAILED": 0,
    }
    assert 0.2 <= found["shop_saga_oldest_age_seconds", "STARTED"] < 30
    assert found["shop_saga_oldest_age_seconds", "COMPENSATING"] == 0
    assert ("shop_saga_oldest_age_seconds", "COMPLETED") not in found
    assert found["shop_sagas_overdue",] == 2


def test_pending_dead_letters_are_counted(engines: Engines) -> None:
    for number in range(3):
        push = Push(PushedMessage(str(number)), "projects/p/subscriptions/record-dead-letter.worker.things.dead")
        engines.dead_letters.record(decode_dead_letter(push, "things"))
    assert read(engines)["shop_dead_letters_pending",] == 3


def applied(engines: Engines, collection: str, key: str, version: int) -> None:
    engines.read_models.update(collection, key, lambda _: Change({"version": version, "updated_at": datetime.now(UTC)}))


def test_a_read_model_lags_by_the_events_it_has_not_applied(engines: Engines) -> None:
    first, second, product = (str(uuid7()) for _ in range(3))
    happened(engines, f"order-{first}", 1, "OrderCreated", 100)
    happened(engines, f"order-{first}", 2, "InventoryReserved", 60)
    happened(engines, f"order-{second}", 1, "OrderCreated", 30)
    happened(engines, f"product-{product}", 1, "ProductCreated", 200)

    def lag(read_model: str) -> tuple[float, float]:
        found = read(engines)
        return found["shop_projection_lag_streams", read_model], round(
            found["shop_projection_lag_seconds", read_model], -1
        )

    assert (lag("orders"), lag("products"), lag("categories")) == ((2, 100), (1, 200), (1, 200))
    applied(engines, "orders", first, 1)
    assert lag("orders") == (2, 60)
    applied(engines, "orders", first, 2)
    assert lag("orders") == (1, 30)
    applied(engines, "orders", second, 7)
    applied(engines, "products", product, 1)
    assert (lag("orders"), lag("products"), lag("categories")) == ((0, 0), (0, 0), (1, 200))
    applied(engines, "category_members", product, 1)
    assert lag("categories") == (0, 0)


def test_a_read_model_is_ahead_by_the_events_that_the_event_store_lost(engines: Engines) -> None:
    kept, lost, product = (str(uuid7()) for _ in range(3))
    happened(engines, f"order-{kept}", 1, "OrderCreated")
    happened(engines, f"product-{product}", 1, "ProductCreated")
    ahead = [("shop_projection_ahead_events", name) for name in READ_MODELS]
    applied(engines, "orders", kept, 1)
    assert [read(engines)[series] for series in ahead] == [0] * len(ahead)
    applied(engines, "orders", kept, 3)
    applied(engines, "orders", lost, 2)
    applied(engines, "category_members", product, 2)
    found = read(engines)
    assert {name: found[series] for name, series in zip(READ_MODELS, ahead, strict=True)} == {
        "categories": 1,
        "products": 0,
        "orders": 4,
        "sales": 0,
    }


def test_a_transaction_holds_back_the_log_and_makes_no_read_model_seem_ahead(
    on_postgres: Engines, event_store_url: str, command_url: str
) -> None:
    order = str(uuid7())
    with psycopg.connect(command_url) as elsewhere:
        elsewhere.execute("SELECT pg_current_xact_id()")
        happened(on_postgres, f"order-{order}", 1, "OrderCreated")
        applied(on_postgres, "orders", order, 1)
        time.sleep(1.1)
        found = read(on_postgres)
        assert found["shop_log_transaction_age_seconds",] >= 1
        assert found["shop_log_events_held_back",] == 1
        assert ("shop_events_total", "OrderCreated") not in found
        assert found["shop_projection_ahead_events", "orders"] == 0
    found = read(on_postgres)
    assert (found["shop_log_transaction_age_seconds",], found["shop_log_events_held_back",]) == (0, 0)
    assert found["shop_events_total", "OrderCreated"] == 1


def test_the_lag_of_one_kind_of_stream_is_seen_among_any_number_of_others(engines: Engines) -> None:
    happened(engines, f"product-{uuid7()}", 1, "ProductCreated", 50)
    order = str(uuid7())
    for version in range(1, 151):
        happened(engines, f"order-{order}", version, "OrderCreated")
    found = read(engines)
    assert found["shop_projection_lag_streams", "products"] == 1
    assert found["shop_projection_lag_streams", "orders"] == 1


def test_a_shop_at_rest_lags_behind_nothing(shop: ShopInMemory) -> None:
    for _ in range(3):
        shop.new_order(shop.new_product())
    shop.settle()
    found = now(shop)
    assert set(found["shop_projection_lag_streams"].values()) == {0}
    assert found["shop_sagas"]["COMPLETED",] == 3
    assert found["shop_events_total"]["OrderConfirmed",] == 3


def test_no_id_is_in_any_metric(shop: ShopInMemory) -> None:
    order = shop.new_order(shop.new_product())
    shop.settle()
    assert order not in got(shop, "report_metrics").text


READ_BY = {
    "events": "event_log.counts",
    "log": "event_log.held_back",
    "sagas": "sagas.counts",
    "dead_letters": "dead_letters.pending",
    "orders": "queries.get_many",
}


@pytest.mark.parametrize("collector", READ_BY)
@pytest.mark.parametrize("error", [Unavailable("down"), RuntimeError(SECRET)])
def test_a_store_that_fails_is_missing_and_counted_and_all_others_are_shown(
    used_shop: ShopInMemory, collector: str, error: Exception
) -> None:
    whole, counted = set(now(used_shop)), Counted(used_shop)
    with method_replaced(used_shop, READ_BY[collector], raising(error)):
        answer = got(used_shop, "report_metrics")
    assert (answer.status_code, "hunter2" in answer.text) == (200, False)
    missing = whole - set(values(answer.text))
    assert counted("shop_scrape_errors_total", collector) == 1
    assert (
        missing
        == {
            "events": {"shop_events_total", "shop_projection_ahead_events"},
            "log": {"shop_log_transaction_age_seconds", "shop_log_events_held_back", "shop_projection_ahead_events"},
            "sagas": {"shop_sagas", "shop_saga_oldest_age_seconds", "shop_sagas_overdue"},
            "dead_letters": {"shop_dead_letters_pending"},
            "orders": {"shop_projection_lag_streams", "shop_projection_lag_seconds"},
        }[collector]
    )


def test_a_store_that_hangs_is_missing_and_delays_no_other(shop: ShopInMemory, hang: Callable[..., Any]) -> None:
    shop.engines.sagas = with_methods(shop.engines.sagas, counts=hang)
    counted, reads = Counted(shop), list[float]()

    def only_it_is_missing() -> bool:
        began = time.monotonic()
        found = {sample.metric for sample in read_samples(shop.engines, seconds=0.3)}
        reads.append(time.monotonic() - began)
        assert "shop_sagas" not in found
        return "shop_dead_letters_pending" in found

    for _ in range(3):
        until(only_it_is_missing)  # on a busy machine others may be late as well, but not each time
    assert max(reads) < 15
    assert counted("shop_scrape_errors_total", "sagas") == len(reads)


def test_every_collector_is_a_known_label(shop: ShopInMemory) -> None:
    assert set(collectors(shop.engines)) | {"breakers"} == LABELS["collector"]


@pytest.mark.timeout(60)
def test_while_every_database_is_down_a_scrape_answers_in_time() -> None:
    nowhere = f"postgresql://shop:hunter2@127.0.0.1:{free_port()}/x"
    engines = Engines(Settings(profile="postgres", event_store_url=nowhere, command_database_url=nowhere))
    began = time.monotonic()
    with using(engines):
        answer = cast(flask.Flask, app("report_metrics")).test_client().get("/")
    assert (answer.status_code, "hunter2" in answer.text) == (200, False)
    assert time.monotonic() - began < 25  # five seconds for each of the eleven collectors would be 55
    found = values(answer.text)
    assert set(LABELS["collector"]) - {"breakers"} <= {name for (name,) in found["shop_scrape_errors_total"]}
    assert "shop_sagas" not in found
    engines.close()


@pytest.mark.parametrize("function", ["graphql", "create_order", "report_metrics"])
def test_with_malformed_settings_a_process_still_shows_what_it_counts(shop: ShopInMemory, function: str) -> None:
    with using(raising(ValueError(SECRET))):
        answer = got(shop, function)
    assert answer.status_code == (200 if function == "create_order" else 500)
    assert "hunter2" not in answer.text


def test_report_metrics_answers_get_head_and_post_only(shop: ShopInMemory) -> None:
    assert "shop_sagas" in got(shop, "report_metrics", path="/").text
    with clock.use(AtMinute(10)):  # when nothing is left out
        done = got(shop, "report_metrics", "POST", "/")
    assert done.json()["done"] == len(read_samples(shop.engines)) > 10
    refused = got(shop, "report_metrics", "DELETE", "/")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")


def test_on_firestore_a_read_model_lags_in_every_scrape_until_it_has_applied_the_event(
    event_store_url: str, command_url: str, firestore: str
) -> None:
    urls = {"event_store_url": event_store_url, "command_database_url": command_url}
    engines = Engines(Settings(project_id=f"metrics-{time.time_ns()}", **urls))  # type: ignore[arg-type]
    engines.publisher, engines.checkup = PublishesNothing(), Checkup(keep_seconds=0)
    order = str(uuid7())
    happened(engines, f"order-{order}", 1, "OrderCreated", 30)
    wait_until(lambda: ("shop_projection_lag_streams", "orders") in read(engines), 60)
    for _ in range(3):
        assert read(engines)["shop_projection_lag_streams", "orders"] == 1
    applied(engines, "orders", order, 1)
    for _ in range(3):
        assert read(engines)["shop_projection_lag_streams", "orders"] == 0
    engines.close()


class PublishesNothing:
    def publish(self, messages: Sequence[Publishable]) -> list[UUID]:
        raise Unavailable("down")

    def has_topic(self, topic: str) -> bool:
        return False
