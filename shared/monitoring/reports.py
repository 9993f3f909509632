"""Read what the stores hold, for health checks and metrics, and send it to Cloud Monitoring.

Each store is read with a time limit of its own. A store that fails or hangs is missing from the
metrics, is counted in shop_scrape_errors_total and delays no other store.

Only what the stores know is sent: it is the same whichever process reads it. What a process counts
itself stays at its /metrics, and Cloud Run counts every function's requests, errors and latency.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Protocol

import structlog

from shared.auth.identity import in_the_cloud
from shared.config.settings import Settings
from shared.dead_letters.protocol import DeadLetters
from shared.domain.errors import TimedOut, Unavailable
from shared.domain.order import AGGREGATES
from shared.event_store.protocol import EventLog, EventRecord
from shared.messaging.outbox import Outbox
from shared.monitoring.gauges import GaugeHistory, Gauges, gauges
from shared.monitoring.health import Check, Checkup, Finding, HealthStatus
from shared.monitoring.lag import ahead, applied_events, at_most
from shared.monitoring.metrics import Sample, count, metrics, summed
from shared.observability.sentences import said
from shared.read_models.documents import READ_MODELS, sources_of
from shared.read_models.project import not_yet_in
from shared.read_models.protocol import Queries
from shared.resilience import clock
from shared.resilience.calls import awaited, deadline, time_left
from shared.sagas.status import SagaStatus
from shared.sagas.store import SagaBacklog, SagaStore

if TYPE_CHECKING:
    from google.cloud.monitoring_v3 import MetricServiceClient, TimeSeries

_SECONDS = 5.0
_NEWEST = 100
LOOKED_AT = (0, 1, 3, 7, 15, 31, 63, 99)
"""Which of the newest events are looked at first, the newest is 0. Each costs the read of a
document, every minute."""
_JUST_RECORDED = timedelta(seconds=10)  # in which an event is not late yet
AHEAD_EVERY_MINUTES = 10
"""How often it is counted what the read models have applied, which costs a read for each 1,000
documents."""
_UNFINISHED = (SagaStatus.STARTED, SagaStatus.COMPENSATING, SagaStatus.STUCK)
SWEEPS_MISSED = timedelta(minutes=2)  # sweep_sagas runs every minute
EVENT_TYPES = {one.name: [kind.__name__ for kind in one.event_types] for one in AGGREGATES.values()}

_log = structlog.get_logger()


class WatchedEngines(Protocol):
    """What is read of a process's engines. `outboxes`: of the event store and of the saga store.
    `gauges`: where these are kept."""

    settings: Settings
    checkup: Checkup

    @property
    def event_log(self) -> EventLog: ...
    @property
    def sagas(self) -> SagaStore: ...
    @property
    def outboxes(self) -> Sequence[Outbox]: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def queries(self) -> Queries: ...
    @property
    def gauges(self) -> GaugeHistory: ...


def read_saga_backlog(sagas: SagaStore) -> SagaBacklog:
    """Count the stuck sagas, and those whose deadline passed two minutes ago and was not fired."""
    return sagas.backlog(clock.now() - SWEEPS_MISSED)


def age(since: datetime | None) -> float:
    """Return the seconds since then; 0 without a time."""
    return max(0.0, (clock.now() - since).total_seconds()) if since else 0.0


def collectors(engines: WatchedEngines, seconds: float = _SECONDS) -> Mapping[str, Callable[[], Iterator[Sample]]]:
    """Return by name what reads the samples of each store; each may hang and may raise."""
    return {
        "events": lambda: _events(engines.event_log),
        "log": lambda: _log_held_back(engines.event_log),
        "ahead": lambda: _ahead(engines, seconds),
        "event_outbox": lambda: _outbox("events", engines.outboxes[0]),
        "saga_outbox": lambda: _outbox("sagas", engines.outboxes[1]),
        "sagas": lambda: _sagas(engines.sagas),
        "dead_letters": lambda: iter([Sample("shop_dead_letters_pending", (), engines.dead_letters.pending())]),
    } | {name: partial(_lag, engines, name, seconds) for name in READ_MODELS}


def _events(log: EventLog) -> Iterator[Sample]:
    for (kind, _), number in log.counts().events.items():
        yield Sample("shop_events_total", (kind,), number)


def _log_held_back(log: EventLog) -> Iterator[Sample]:
    held_back = log.held_back()
    yield Sample("shop_log_transaction_age_seconds", (), int(held_back.oldest_transaction_seconds))
    yield Sample("shop_log_events_held_back", (), held_back.events)


def _outbox(name: str, outbox: Outbox) -> Iterator[Sample]:
    backlog = outbox.backlog()
    yield Sample("shop_outbox_messages", (name,), backlog.waiting)
    yield Sample("shop_outbox_oldest_age_seconds", (name,), age(backlog.oldest))


def _sagas(sagas: SagaStore) -> Iterator[Sample]:
    counts = sagas.counts()
    for status in SagaStatus:
        counted = counts.get(status)
        yield Sample("shop_sagas", (status.value,), counted.sagas if counted else 0)
        if status in _UNFINISHED:
            yield Sample("shop_saga_oldest_age_seconds", (status.value,), age(counted.oldest if counted else None))
    yield Sample("shop_sagas_overdue", (), read_saga_backlog(sagas).overdue)


def _lag(engines: WatchedEngines, read_model: str, seconds: float) -> Iterator[Sample]:
    """Look at some of the newest events, and at all of these when one is late. So the cost does not
    grow with the log and is small while nothing lags. An older event that was given up shows as a
    dead letter."""
    late: list[EventRecord] = []
    for source in sources_of(read_model):
        newest = [one.event for one in engines.event_log.recent(_NEWEST, EVENT_TYPES[source.aggregate.name])]
        missing = awaited(
            not_yet_in(engines.queries, source.name, [newest[n] for n in LOOKED_AT if n < len(newest)]), seconds
        )
        if any(event.recorded_at < clock.now() - _JUST_RECORDED for event in missing):
            missing = awaited(not_yet_in(engines.queries, source.name, newest), seconds)
        late += missing
    oldest = min((event.recorded_at for event in late), default=None)
    yield Sample("shop_projection_lag_streams", (read_model,), len({event.stream for event in late}))
    yield Sample("shop_projection_lag_seconds", (read_model,), age(oldest))


def _ahead(engines: WatchedEngines, seconds: float) -> Iterator[Sample]:
    applied = awaited(applied_events(engines.queries), seconds)
    for read_model, events in ahead(applied, at_most(engines.event_log)).items():
        yield Sample("shop_projection_ahead_events", (read_model,), events)


def read_samples(
    engines: WatchedEngines, seconds: float = _SECONDS, without: Collection[str] = frozenset()
) -> list[Sample]:
    """Return the samples of all stores that answer within `seconds`; count and log the others.
    `without`: the collectors that are left out."""
    reads = {name: read for name, read in collectors(engines, seconds).items() if name not in without}
    checks = [Check(f"metrics of {name}", partial(_finding, read), seconds) for name, read in reads.items()]
    samples: list[Sample] = []
    for name, result in zip(reads, engines.checkup.run(checks), strict=True):
        if result.found.status is not HealthStatus.HEALTHY:
            count("shop_scrape_errors_total", name)
            _log.warning("could not read for metrics", collector=name, reason=str(result.found.message))
        samples += result.found.details.get("samples", ())
    return summed(samples)


def _finding(read: Callable[[], Iterator[Sample]]) -> Finding:
    return Finding(HealthStatus.HEALTHY, said("ANSWERS"), {"samples": list(read())})


_TYPE = "custom.googleapis.com/shop/"
_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)  # counters cover the whole log and never start again


def report(engines: WatchedEngines) -> int:
    """Read the stores, keep the gauges of this minute, and in the cloud send the samples; return
    how many. Raise Unavailable."""
    now = clock.now()
    samples = read_samples(engines, without={"ahead"} if now.minute % AHEAD_EVERY_MINUTES else ())
    try:
        if in_the_cloud() or engines.settings.monitoring_endpoint:
            send(engines.settings, samples)
    finally:
        _keep(engines.gauges, gauges(now, samples))
    return len(samples)


def _keep(history: GaugeHistory, found: Gauges) -> None:
    """Keep the gauges. A history that does not answer has a gap, as if nobody had reported."""
    try:
        with deadline(_SECONDS):
            history.keep(found)
    except (Unavailable, TimedOut) as error:
        _log.warning("could not keep the gauges", reason=error.message)


def send(settings: Settings, samples: Sequence[Sample]) -> None:
    """Write the samples to Cloud Monitoring. Raise Unavailable."""
    project, now = f"projects/{settings.project_id}", clock.now()
    series = [_series(settings.project_id, sample, now) for sample in samples]
    with monitoring_errors("write", "report_metrics", "roles/monitoring.metricWriter"):
        client = monitoring_client(settings.monitoring_endpoint)
        for batch in (series[n : n + 200] for n in range(0, len(series), 200)):  # the most that one call may have
            client.create_time_series({"name": project, "time_series": batch}, timeout=time_left(_SECONDS))


@contextmanager
def monitoring_errors(action: str, function: str, role: str) -> Iterator[None]:
    """Raise Unavailable, with the role that is missing, for an error of Cloud Monitoring's."""
    from google.api_core.exceptions import GoogleAPIError, PermissionDenied
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except PermissionDenied as error:
        missing = f"give the service account of {function} the role {role}"
        raise Unavailable(f"Cloud Monitoring does not let us {action}; {missing}") from error
    except (GoogleAPIError, GoogleAuthError) as error:
        raise Unavailable(f"Cloud Monitoring did not let us {action} metrics: {error}") from error


@lru_cache
def monitoring_client(endpoint: str) -> "MetricServiceClient":
    """Return a client, imported only where it is used: importing it takes a second."""
    from google.cloud.monitoring_v3 import MetricServiceClient

    if not endpoint:
        return MetricServiceClient()
    import grpc
    from google.cloud.monitoring_v3.services.metric_service.transports import MetricServiceGrpcTransport

    return MetricServiceClient(transport=MetricServiceGrpcTransport(channel=grpc.insecure_channel(endpoint)))


def _series(project_id: str, sample: Sample, now: datetime) -> "TimeSeries":
    """Return one point: a counter's since the beginning, a gauge's at this moment. Terraform
    describes the metrics."""
    from google.cloud.monitoring_v3 import TimeSeries

    metric = metrics()[sample.metric]
    labels = dict(zip(metric.labels, sample.labels, strict=True))
    value = {"int64_value": int(sample.value)} if metric.unit == "1" else {"double_value": sample.value}
    interval = {"end_time": now} | ({"start_time": _BEGINNING} if metric.kind == "counter" else {})
    return TimeSeries(
        metric={"type": _TYPE + metric.name.removeprefix("shop_"), "labels": labels},
        resource={"type": "global", "labels": {"project_id": project_id}},
        points=[{"interval": interval, "value": value}],
    )
