"""The whole shop's metrics, read from the stores when somebody asks, and sent to Cloud Monitoring.

Each store is read in a thread and with a time limit of its own: what fails or hangs is missing, and counted in
shop_scrape_errors_total, and keeps nothing else waiting.

Sent are only the metrics that the stores know, the same whoever reads them. What processes count stays at the /metrics of
each: one instance can't speak for the others, and Cloud Run itself counts every function's requests, errors and latency.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import structlog

from shared.auth.identity import in_the_cloud
from shared.config.settings import Settings
from shared.domain.errors import Unavailable
from shared.domain.order import AGGREGATES
from shared.messaging.outbox import Outbox
from shared.monitoring.health import SWEEPS_MISSED, Check, Finding, HealthStatus, Stores
from shared.monitoring.metrics import METRICS, Metric, Sample, added_up, count
from shared.read_models.documents import READ_MODELS, sources_of
from shared.read_models.project import not_yet_in
from shared.resilience import clock
from shared.resilience.calls import awaited, time_left
from shared.sagas.definition import SagaStatus

if TYPE_CHECKING:
    from google.api.metric_pb2 import MetricDescriptor
    from google.cloud.monitoring_v3 import MetricServiceClient, TimeSeries

_SECONDS = 5.0
_NEWEST = 100
_UNFINISHED = (SagaStatus.STARTED, SagaStatus.COMPENSATING, SagaStatus.STUCK)
EVENT_TYPES = {name: [kind.__name__ for kind in one.event_types] for name, one in AGGREGATES.items()}

_log = structlog.get_logger()


def collectors(engines: Stores) -> Mapping[str, Callable[[], Iterator[Sample]]]:
    """By name; each may hang and may raise."""
    return {
        "events": lambda: _events(engines),
        "event_outbox": lambda: _outbox("events", engines.outboxes[0]),
        "saga_outbox": lambda: _outbox("sagas", engines.outboxes[1]),
        "sagas": lambda: _sagas(engines),
        "dead_letters": lambda: iter([Sample("shop_dead_letters_pending", (), engines.dead_letters.pending())]),
    } | {name: partial(_lag, engines, name) for name in READ_MODELS}


def collected(engines: Stores) -> list[Sample]:
    """What can be read."""
    reads = collectors(engines)
    checks = [Check(f"metrics of {name}", partial(_found, read), _SECONDS) for name, read in reads.items()]
    samples: list[Sample] = []
    for name, result in zip(reads, engines.checkup.run(checks), strict=True):
        if result.found.status is not HealthStatus.HEALTHY:
            count("shop_scrape_errors_total", name)
            _log.warning("could not read for metrics", collector=name, reason=result.found.message)
        samples += result.found.details.get("samples", ())
    return added_up(samples)


def _found(read: Callable[[], Iterator[Sample]]) -> Finding:
    return Finding(HealthStatus.HEALTHY, "read", {"samples": list(read())})


def _events(engines: Stores) -> Iterator[Sample]:
    counted = engines.event_log.counts().events.items()
    return (Sample("shop_events_total", (kind,), number) for (kind, _), number in counted)


def _outbox(name: str, outbox: Outbox) -> Iterator[Sample]:
    backlog = outbox.backlog()
    yield Sample("shop_outbox_messages", (name,), backlog.waiting)
    yield Sample("shop_outbox_oldest_age_seconds", (name,), _age(backlog.oldest))


def _sagas(engines: Stores) -> Iterator[Sample]:
    counts = engines.sagas.counts()
    for status in SagaStatus:
        there = counts.get(status)
        yield Sample("shop_sagas", (status.value,), there.sagas if there else 0)
        if status in _UNFINISHED:
            yield Sample("shop_saga_oldest_age_seconds", (status.value,), _age(there.oldest if there else None))
    yield Sample("shop_sagas_overdue", (), engines.sagas.backlog(clock.now() - SWEEPS_MISSED).overdue)


def _lag(engines: Stores, read_model: str) -> Iterator[Sample]:
    """Of the newest events only, so that it costs the same however long the log is. One that was given up long before
    them is seen as a dead letter."""
    late = []
    for source in sources_of(read_model):
        newest = [one.event for one in engines.event_log.recent(_NEWEST, EVENT_TYPES[source.aggregate.name])]
        late += awaited(not_yet_in(engines.queries, source.name, newest), _SECONDS)
    yield Sample("shop_projection_lag_streams", (read_model,), len({event.stream for event in late}))
    yield Sample("shop_projection_lag_seconds", (read_model,), _age(min((e.recorded_at for e in late), default=None)))


def _age(since: datetime | None) -> float:
    return max(0.0, (clock.now() - since).total_seconds()) if since else 0.0


_TYPE = "custom.googleapis.com/shop/"
_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)  # the log has been counted from its first event on, and never starts anew


def reported(engines: Stores) -> int:
    """Read the stores, and send what they say in the cloud; how many samples. Raises Unavailable."""
    samples = collected(engines)
    if in_the_cloud() or engines.settings.monitoring_endpoint:
        _send(engines.settings, samples)
    return len(samples)


def _send(settings: Settings, samples: Sequence[Sample]) -> None:
    project, now = f"projects/{settings.project_id}", clock.now()
    series = [_series(settings.project_id, sample, now) for sample in samples]
    with refusals_told("write", "report_metrics", "roles/monitoring.metricWriter"):
        client = monitoring_client(settings.monitoring_endpoint)
        _describe(client, project)
        for batch in (series[n : n + 200] for n in range(0, len(series), 200)):  # as many as one call may have
            client.create_time_series({"name": project, "time_series": batch}, timeout=time_left(_SECONDS))


@contextmanager
def refusals_told(do: str, function: str, role: str) -> Iterator[None]:
    """Raises Unavailable, which says what is missing."""
    from google.api_core.exceptions import GoogleAPIError, PermissionDenied
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except PermissionDenied as error:
        missing = f"give the service account of {function} the role {role}"
        raise Unavailable(f"Cloud Monitoring does not let us {do}; {missing}") from error
    except (GoogleAPIError, GoogleAuthError) as error:
        raise Unavailable(f"Cloud Monitoring did not let us {do} metrics: {error}") from error


@lru_cache
def monitoring_client(endpoint: str) -> "MetricServiceClient":
    """Imported only where it is used: it takes a second."""
    from google.cloud.monitoring_v3 import MetricServiceClient

    if not endpoint:
        return MetricServiceClient()
    import grpc
    from google.cloud.monitoring_v3.services.metric_service.transports import MetricServiceGrpcTransport

    return MetricServiceClient(transport=MetricServiceGrpcTransport(channel=grpc.insecure_channel(endpoint)))


@lru_cache
def _describe(client: "MetricServiceClient", project: str) -> None:
    """Once for each process: say what each metric is that Cloud Monitoring has not heard of."""
    ours = {"name": project, "filter": f'metric.type = starts_with("{_TYPE}")'}
    known = {one.type for one in client.list_metric_descriptors(ours, timeout=time_left(_SECONDS))}
    for metric in METRICS.values():
        if metric.known_to == "stores" and _type(metric) not in known:
            missing = {"name": project, "metric_descriptor": descriptor(metric)}
            client.create_metric_descriptor(missing, timeout=time_left(_SECONDS))


def descriptor(metric: Metric) -> "MetricDescriptor":
    from google.api.label_pb2 import LabelDescriptor
    from google.api.metric_pb2 import MetricDescriptor

    return MetricDescriptor(
        type=_type(metric),
        metric_kind="CUMULATIVE" if metric.kind == "counter" else "GAUGE",
        value_type="INT64" if metric.unit == "1" else "DOUBLE",
        unit=metric.unit,
        display_name=metric.name,
        description=metric.help,
        labels=[LabelDescriptor(key=label) for label in metric.labels],
    )


def _type(metric: Metric) -> str:
    return _TYPE + metric.name.removeprefix("shop_")


def _series(project_id: str, sample: Sample, now: datetime) -> "TimeSeries":
    """One point. A count goes on from the beginning; anything else is as it is now."""
    from google.cloud.monitoring_v3 import TimeSeries

    metric = METRICS[sample.metric]
    labels = dict(zip(metric.labels, sample.labels, strict=True))
    value = {"int64_value": int(sample.value)} if metric.unit == "1" else {"double_value": sample.value}
    interval = {"end_time": now} | ({"start_time": _BEGINNING} if metric.kind == "counter" else {})
    return TimeSeries(
        metric={"type": _type(metric), "labels": labels},
        resource={"type": "global", "labels": {"project_id": project_id}},
        points=[{"interval": interval, "value": value}],
    )
