"""Count and measure: the table of metrics, those that this process counts, and their text form.

Each instance of a function shows at /metrics what it has counted itself. What the stores know is
true of the whole shop; report_metrics shows that too, and sends it to Cloud Monitoring.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cache
from math import prod
from threading import Lock
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from shared.config.manifest import manifest
from shared.domain.category import CATEGORY
from shared.domain.order import ORDER
from shared.domain.product import PRODUCT
from shared.observability.context import ANSWERS
from shared.read_models.project import FED_BY
from shared.sagas.definition import SagaStatus

TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of `exposition`."""

# Name, kind, unit (in UCUM, where 1 is a number of things), the side that knows it, labels; and its description.
# terraform/metrics.tf reads these lines, too.
_TABLE = """
shop_commands_total             counter    1  process  command code
    Commands received, by the code of their result
shop_command_duration_seconds   histogram  s  process  command
    Duration of a command, whatever its result
shop_deliveries_total           counter    1  process  subscription code
    Push deliveries from Pub/Sub, by the code of their result; each attempt counts
shop_delivery_duration_seconds  histogram  s  process  subscription
    Duration of a push delivery, whatever its result
shop_scheduled_runs_total       counter    1  process  function code
    Runs of scheduled functions, by the code of their result
shop_graphql_requests_total     counter    1  process  outcome
    GraphQL requests: answered (OK), answered with errors (ERRORS), or refused before anything ran (REFUSED)
shop_graphql_duration_seconds   histogram  s  process
    Time until a GraphQL request was answered or its stream began
shop_subscriptions_total        counter    1  process  end
    Subscriptions, by their end: sent to the end (COMPLETE), client too SLOW or GONE, FAILED, or REFUSED
shop_subscriptions_open         gauge      1  process
    Subscriptions that are open
shop_errors_total               counter    1  process  function code
    Requests answered with an error, refusals included
shop_breaker_state              gauge      1  process  dependency state
    1 for the state that a dependency's circuit breaker is in, 0 for the other states
shop_scrape_errors_total        counter    1  process  collector
    Failed attempts to read a store for its metrics, which are missing then
shop_events_total               counter    1  stores   type
    Events in the event store
shop_outbox_messages            gauge      1  stores   outbox
    Messages that have not been published yet
shop_outbox_oldest_age_seconds  gauge      s  stores   outbox
    Age of the oldest message that has not been published yet, 0 when there is none
shop_sagas                      gauge      1  stores   status
    Sagas, by status
shop_saga_oldest_age_seconds    gauge      s  stores   status
    Age of the oldest saga that has not ended, 0 when there is none
shop_sagas_overdue              gauge      1  stores
    Sagas whose deadline passed two minutes ago or more without being fired
shop_dead_letters_pending       gauge      1  stores
    Dead letters that have been neither retried nor discarded
shop_projection_lag_streams     gauge      1  stores   read_model
    Streams that the read model lags behind, among those with the newest 100 events of each kind that feed it
shop_projection_lag_seconds     gauge      s  stores   read_model
    Age of the oldest of these events that it has not applied, so at least its lag; 0 when it lags behind none
"""

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0)


@cache
def label_values() -> Mapping[str, Set[str]]:
    """Return all values that each label may have: never an id, nor what a client chooses. Any other
    value counts as `other`."""
    functions = manifest().functions.values()
    commands = {one.name for one in functions if one.http and one.service == "command"}
    return {
        "command": commands,
        "code": {"OK", "INTERNAL_ERROR", *(code for _, code in ANSWERS.values())},
        "subscription": {one.name for one in manifest().all_subscriptions},
        "function": {one.name for one in functions},
        "outcome": {"OK", "ERRORS", "REFUSED"},
        "end": {"COMPLETE", "SLOW", "GONE", "FAILED", "REFUSED"},
        "dependency": {"Pub/Sub", "Firestore", "the payment provider", "the shipping provider", *commands},
        "state": {"closed", "open", "half-open"},
        "collector": {"breakers", "events", "event_outbox", "saga_outbox", "sagas", "dead_letters", *FED_BY},
        "type": {kind.__name__ for one in (CATEGORY, PRODUCT, ORDER) for kind in one.event_types},
        "outbox": {"events", "sagas"},
        "status": {status.value for status in SagaStatus},
        "read_model": set(FED_BY),
    }


@dataclass(frozen=True)
class Metric:
    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: Literal["1", "s"]
    known_to: Literal["process", "stores"]
    labels: tuple[str, ...]
    help: str

    @property
    def most_series(self) -> int:
        """The most series there can be, with the value `other` of each label and all buckets of a
        histogram."""
        per_labels = len(_BUCKETS) + 3 if self.kind == "histogram" else 1
        return per_labels * prod(len(label_values()[label]) + 1 for label in self.labels)


def _metric(line: str, description: str) -> Metric:
    name, kind, unit, known_to, *labels = line.split()
    return Metric(name, kind, unit, known_to, tuple(labels), description.strip())  # type: ignore[arg-type]


_LINES = _TABLE.strip().splitlines()
METRICS = {metric.name: metric for metric in map(_metric, _LINES[::2], _LINES[1::2])}


class Sample(NamedTuple):
    """The present value of a series. `labels`: in the metric's order."""

    metric: str
    labels: tuple[str, ...]
    value: float


class _ProcessMetrics:
    """The counters and histograms of this process, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # without this, each counter has a second series: when it was made
        self.registry = CollectorRegistry()
        self.counters: dict[str, Counter] = {}
        self.histograms: dict[str, Histogram] = {}
        for name, metric in METRICS.items():
            about = name, metric.help, metric.labels
            if metric.kind == "histogram":
                self.histograms[name] = Histogram(*about, registry=self.registry, buckets=_BUCKETS)
            elif (metric.kind, metric.known_to) == ("counter", "process"):
                self.counters[name] = Counter(*about, registry=self.registry)


_first_use = Lock()
_made_once = cache(_ProcessMetrics)


def _process_metrics() -> _ProcessMetrics:
    with _first_use:  # without it, two threads that count first could each make a registry
        return _made_once()


def bounded(metric: str, labels: Iterable[str]) -> tuple[str, ...]:
    """Return the labels with `other` in place of each value that is not in `label_values`."""
    allowed = label_values()
    pairs = zip(METRICS[metric].labels, labels, strict=True)
    return tuple(value if value in allowed[label] else "other" for label, value in pairs)


def count(metric: str, *labels: str) -> None:
    counter = _process_metrics().counters[metric]
    (counter.labels(*bounded(metric, labels)) if labels else counter).inc()


def observe(metric: str, seconds: float, *labels: str) -> None:
    histogram = _process_metrics().histograms[metric]
    (histogram.labels(*bounded(metric, labels)) if labels else histogram).observe(seconds)


def summed(samples: Iterable[Sample]) -> list[Sample]:
    """Bound the labels, and add up the samples that have the same labels then."""
    values: dict[tuple[str, tuple[str, ...]], float] = defaultdict(float)
    for metric, labels, value in samples:
        values[metric, bounded(metric, labels)] += value
    return [Sample(*series, value) for series, value in sorted(values.items())]


def exposition(samples: Iterable[Sample]) -> str:
    """Return what this process has counted, and the samples, in Prometheus' text format."""
    own, registry = generate_latest(_process_metrics().registry), CollectorRegistry()
    made: dict[str, Counter | Gauge] = {}
    for name, labels, value in summed(samples):
        if name not in made:
            kind = Counter if METRICS[name].kind == "counter" else Gauge
            made[name] = kind(name, METRICS[name].help, METRICS[name].labels, registry=registry)
        (made[name].labels(*labels) if labels else made[name]).inc(value)
    return (own + generate_latest(registry)).decode()
