"""report_metrics writes to Cloud Monitoring: a server with its API, and with the refusals of
Google's."""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.api.label_pb2 import LabelDescriptor
from google.api.metric_pb2 import MetricDescriptor
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.monitoring_v3 import CreateTimeSeriesRequest, TimeSeries
from google.protobuf.empty_pb2 import Empty

from scripts.local.cost import data
from shared.monitoring import reports
from shared.monitoring.health import Checkup
from shared.monitoring.metrics import Metric, Sample, metrics
from shared.monitoring.reports import read_samples
from shared.read_models.documents import COLLECTIONS, READ_MODELS
from shared.resilience import clock
from tests.fakes import AtMinute, MovableClock
from tests.shop_in_memory import ShopInMemory
from tests.stand_ins import raising, with_methods

PROJECT = "projects/shop-local"
KIND, VALUE = MetricDescriptor.MetricKind, MetricDescriptor.ValueType


class Refused(Exception):
    """A call that Google's API answers with an error."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def descriptor(metric: Metric) -> MetricDescriptor:
    """Return what terraform/metrics.tf makes of an entry of metrics.yaml."""
    return MetricDescriptor(
        type=f"custom.googleapis.com/shop/{metric.name.removeprefix('shop_')}",
        metric_kind="CUMULATIVE" if metric.kind == "counter" else "GAUGE",
        value_type="INT64" if metric.unit == "1" else "DOUBLE",
        labels=[LabelDescriptor(key=label) for label in metric.labels],
    )


class CloudMonitoring:
    """Knows the metrics that Terraform describes, and stores what it is sent. `calls`: the methods
    that were called. `forbidden`: methods that the caller lacks the right to."""

    def __init__(self) -> None:
        described = [descriptor(metric) for metric in metrics().values() if metric.known_to == "stores"]
        self.descriptors = {one.type: one for one in described}
        self.points: dict[str, list[TimeSeries]] = {}
        self.calls: list[str] = []
        self.forbidden: set[str] = set()

    def CreateTimeSeries(self, asked: CreateTimeSeriesRequest) -> Empty:  # noqa: N802
        if asked.name != PROJECT or not 0 < len(asked.time_series) <= 200:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "a request has 1 to 200 time series")
        for series in asked.time_series:
            self._take(series)
        return Empty()

    def _take(self, series: TimeSeries) -> None:
        known = self.descriptors.get(series.metric.type)
        if known is None or set(series.metric.labels) != {label.key for label in known.labels}:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"{series.metric.type} is not as it was described")
        if series.resource.type != "global" or dict(series.resource.labels) != {"project_id": "shop-local"}:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the resource is not one that custom metrics may have")
        (point,) = series.points
        held = "int64_value" if known.value_type == VALUE.INT64 else "double_value"
        if held not in point.value:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"{series.metric.type} has values of another type")
        begins, ends = point.interval.start_time, point.interval.end_time
        if known.metric_kind == KIND.CUMULATIVE and not (begins and begins < ends):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "a cumulative point covers a time")
        if known.metric_kind == KIND.GAUGE and begins and begins != ends:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "a gauge's point is a moment")
        key = f"{series.metric.type} {sorted(series.metric.labels.items())}"
        earlier = self.points.setdefault(key, [])
        if earlier and ends <= earlier[-1].points[0].interval.end_time:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "points must be written in order")
        earlier.append(series)

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the last value of each series, by its labels' values."""
        found = {}
        for series in (all_of_one[-1] for all_of_one in self.points.values()):
            if series.metric.type == f"custom.googleapis.com/shop/{name}":
                value = series.points[0].value
                found[tuple(series.metric.labels.values())] = value.int64_value or value.double_value
        return found


def _handler(cloud: CloudMonitoring, name: str, request: Any) -> grpc.RpcMethodHandler:
    def behave(asked: Any, context: grpc.ServicerContext) -> Any:
        cloud.calls.append(name)
        if name in cloud.forbidden:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "Permission monitoring.timeSeries.create denied")
        try:
            return getattr(cloud, name)(asked)
        except Refused as refused:
            context.abort(refused.code, str(refused))

    def encoded(answer: Any) -> bytes:
        plain = answer if hasattr(answer, "SerializeToString") else type(answer).pb(answer)
        return bytes(plain.SerializeToString())

    decoded: Callable[[bytes], Any] = request.deserialize
    return grpc.unary_unary_rpc_method_handler(behave, decoded, encoded)


@pytest.fixture
def cloud(shop: ShopInMemory) -> Iterator[CloudMonitoring]:
    cloud = CloudMonitoring()
    shop.engines.checkup = Checkup(keep_seconds=0)
    handlers = {"CreateTimeSeries": _handler(cloud, "CreateTimeSeries", CreateTimeSeriesRequest)}
    server = grpc.server(ThreadPoolExecutor(4))
    service = "google.monitoring.v3.MetricService"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    address = f"127.0.0.1:{port}"
    shop.engines.settings = replace(shop.engines.settings, monitoring_endpoint=address)
    yield cloud
    transport: Any = reports.monitoring_client(address).transport
    transport.close()
    server.stop(0).wait()


def test_the_metrics_of_the_stores_are_written_to_cloud_monitoring(shop: ShopInMemory, cloud: CloudMonitoring) -> None:
    for _ in range(2):
        shop.new_order(shop.new_product())
    shop.settle()
    with clock.use(AtMinute(20)):
        answer = shop.call("report_metrics")
    assert (answer.status_code, answer.json()) == (200, {"done": len(cloud.points)}), answer.text
    assert cloud.values("sagas")["COMPLETED",] == 2
    assert cloud.values("events_total")["OrderCreated",] == 2
    assert cloud.values("dead_letters_pending") == {(): 0}
    assert set(cloud.values("projection_lag_seconds")) == {(name,) for name in READ_MODELS}
    written = {series.metric.type for many in cloud.points.values() for series in many}
    known_to_stores = {metric.name for metric in metrics().values() if metric.known_to == "stores"}
    assert {name.rpartition("/")[2] for name in written} == {name.removeprefix("shop_") for name in known_to_stores}
    assert len(written) == len(cloud.descriptors)


class Reads:
    """Count the documents that queries read, as Firestore bills them: an aggregation costs one for
    each 1,000."""

    def __init__(self, shop: ShopInMemory) -> None:
        self.documents = self.aggregations = 0
        queries = self._queries = shop.engines.queries
        shop.engines.queries = with_methods(queries, get_many=self.get_many, extent=self.extent)

    async def get_many(self, collection: str, keys: Sequence[str], only: Sequence[str] = ()) -> Any:
        self.documents += len(keys)
        return await self._queries.get_many(collection, keys, only)

    async def extent(self, collection: str) -> Any:
        self.aggregations += 1
        return await self._queries.extent(collection)


def test_a_report_reads_few_documents_while_nothing_lags(shop: ShopInMemory, cloud: CloudMonitoring) -> None:
    for _ in range(60):
        shop.new_order(shop.new_product())
    shop.settle()
    reads = Reads(shop)
    for minute in range(10):
        with clock.use(AtMinute(minute)):
            assert shop.call("report_metrics").status_code == 200
    assert data()["reports"]["documents"] == len(COLLECTIONS) * len(reports.LOOKED_AT)
    assert 0.5 < reads.documents / 10 / data()["reports"]["documents"] <= 1
    assert reads.aggregations / 10 == data()["reports"]["aggregations"]


def test_a_report_reads_all_of_the_newest_documents_when_one_is_late(
    shop: ShopInMemory, cloud: CloudMonitoring
) -> None:
    for _ in range(60):
        shop.new_product()
    shop.settle()
    shop.deliver = lambda subscription, body: (
        200 if subscription.endpoint == "project_products" else shop.hand_over(subscription, body)
    )
    for _ in range(5):
        shop.new_product()
    shop.settle()
    later = MovableClock()
    later.move(60)
    with clock.use(later):
        assert shop.call("report_metrics").status_code == 200
    assert cloud.values("projection_lag_streams")["products",] == 5
    assert cloud.values("projection_lag_seconds")["products",] >= 59


def test_counters_are_cumulative_from_one_beginning_and_all_else_is_a_gauge(
    shop: ShopInMemory, cloud: CloudMonitoring
) -> None:
    for _ in range(2):
        shop.new_category()
        assert shop.call("report_metrics").status_code == 200
    for name, made in cloud.descriptors.items():
        assert (made.metric_kind == KIND.CUMULATIVE) == name.endswith("_total")
        assert made.value_type == (VALUE.DOUBLE if name.endswith("_seconds") else VALUE.INT64)
        assert re.fullmatch(r"custom\.googleapis\.com(/[a-z][a-z0-9_]{0,99})+", name)
    first, second = (one.points[0] for key, many in cloud.points.items() if "CategoryCreated" in key for one in many)
    assert (first.value.int64_value, second.value.int64_value) == (1, 2)
    assert first.interval.start_time == second.interval.start_time
    assert abs(datetime.now(UTC) - second.interval.end_time) < timedelta(minutes=1)


@pytest.fixture
def reporting(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Sample]], None]:
    """Let report_metrics find these samples in place of the stores'."""
    return lambda samples: monkeypatch.setattr(reports, "read_samples", lambda *_, **__: samples)


def test_no_request_has_more_than_two_hundred_series(
    shop: ShopInMemory, cloud: CloudMonitoring, reporting: Callable[[list[Sample]], None]
) -> None:
    reporting([Sample("shop_sagas", (f"{number}",), number) for number in range(401)])
    assert shop.call("report_metrics").json() == {"done": 401}
    assert cloud.calls.count("CreateTimeSeries") == 3
    assert len(cloud.points) == 401


@pytest.mark.parametrize("method", ["CreateTimeSeries"])
def test_an_account_that_may_not_write_learns_which_role_it_lacks(
    shop: ShopInMemory, cloud: CloudMonitoring, method: str
) -> None:
    cloud.forbidden = {method}
    answer = shop.call("report_metrics")
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "roles/monitoring.metricWriter" in answer.json()["message"]
    cloud.forbidden = set()
    assert shop.call("report_metrics").status_code == 200
    assert cloud.values("sagas")


def test_a_refusal_says_why(
    shop: ShopInMemory, cloud: CloudMonitoring, reporting: Callable[[list[Sample]], None]
) -> None:
    reporting(2 * read_samples(shop.engines)[:1])
    answer = shop.call("report_metrics")
    assert answer.status_code == 503
    assert "points must be written in order" in answer.json()["message"]


def test_while_a_store_is_down_the_others_are_written(shop: ShopInMemory, cloud: CloudMonitoring) -> None:
    shop.engines.dead_letters = with_methods(shop.engines.dead_letters, pending=raising(RuntimeError("down")))
    assert shop.call("report_metrics").status_code == 200
    assert cloud.values("dead_letters_pending") == {}
    assert cloud.values("sagas")


def test_in_the_cloud_without_credentials_it_says_so(
    shop: ShopInMemory, cloud: CloudMonitoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = raising(DefaultCredentialsError("Your default credentials were not found."))
    with monkeypatch.context() as patch:
        patch.setattr(reports, "monitoring_client", missing)
        answer = shop.call("report_metrics")
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "credentials were not found" in answer.json()["message"]


def test_outside_the_cloud_nothing_is_sent_anywhere(shop: ShopInMemory, cloud: CloudMonitoring) -> None:
    shop.engines.settings = replace(shop.engines.settings, monitoring_endpoint="")
    assert shop.call("report_metrics").json()["done"] > 10
    assert cloud.calls == []
