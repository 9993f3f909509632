"""What is counted and measured: one table of metrics, what a process counts of them, and how Prometheus reads them.

What a process counts itself is known to that process alone, so every instance of every function shows its own at /metrics.
What the stores know is the whole shop's, whoever asks; report_metrics shows that too, and sends it to Cloud Monitoring.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from shared.config.manifest import manifest
from shared.domain.order import AGGREGATE_OF
from shared.observability.context import ANSWERS
from shared.read_models.documents import READ_MODELS
from shared.sagas.definition import SagaStatus

TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of what `exposition` gives."""

# Name, kind, unit (in UCUM, where 1 is a number of things), who knows it, labels; and what it is.
_TABLE = """
shop_commands_total             counter    1  process  command code
    Commands that were asked for, by what came of them
shop_command_duration_seconds   histogram  s  process  command
    How long a command took, whatever came of it
shop_deliveries_total           counter    1  process  subscription code
    Messages that Pub/Sub pushed, by what came of them; each attempt counts
shop_delivery_duration_seconds  histogram  s  process  subscription
    How long a pushed message took, whatever came of it
shop_scheduled_runs_total       counter    1  process  function code
    Runs of what a schedule calls, by what came of them
shop_graphql_requests_total     counter    1  process  outcome
    GraphQL requests: answered (OK), answered with errors (ERRORS), or refused before anything ran (REFUSED)
shop_graphql_duration_seconds   histogram  s  process
    How long it took until a GraphQL request was answered, or its stream began
shop_subscriptions_total        counter    1  process  end
    Subscriptions that were asked for, by their end: sent to the end (COMPLETE), client too SLOW or GONE, FAILED, or REFUSED
shop_subscriptions_open         gauge      1  process
    Subscriptions that are open
shop_errors_total               counter    1  process  function code
    Errors that were answered, refusals included
shop_breaker_state              gauge      1  process  dependency state
    1 for the state that the circuit breaker of a dependency is in, 0 for the others
shop_scrape_errors_total        counter    1  process  collector
    Times that something could not be read for its metrics, which are missing then
shop_events_total               counter    1  stores   type
    Events in the event store
shop_outbox_messages            gauge      1  stores   outbox
    Messages that have not been published yet
shop_outbox_oldest_age_seconds  gauge      s  stores   outbox
    For how long the oldest of them has waited, 0 when none waits
shop_sagas                      gauge      1  stores   status
    Sagas, by status
shop_saga_oldest_age_seconds    gauge      s  stores   status
    For how long the oldest saga that has not ended has been under way, 0 when there is none
shop_sagas_overdue              gauge      1  stores
    Sagas whose deadline passed two minutes ago or more without being fired
shop_dead_letters_pending       gauge      1  stores
    Messages that no attempt could deliver and nobody has dealt with yet
shop_projection_lag_streams     gauge      1  stores   read_model
    Streams that the read model is behind, among those with the newest 100 events of each kind that feed it
shop_projection_lag_seconds     gauge      s  stores   read_model
    Age of the oldest of these events that it has not applied: it is behind by at least so much, 0 when by none
"""

_FUNCTIONS = manifest().functions.values()
_COMMANDS = {one.name for one in _FUNCTIONS if one.http and one.service == "command"}
_CODES = {"INTERNAL_ERROR", *(code for _, code in ANSWERS.values())}
LABELS: Mapping[str, Set[str]] = {
    "command": _COMMANDS,
    "code": {"OK", *_CODES},
    "subscription": {one.name for one in manifest().all_subscriptions},
    "function": {one.name for one in _FUNCTIONS},
    "outcome": {"OK", "ERRORS", "REFUSED"},
    "end": {"COMPLETE", "SLOW", "GONE", "FAILED", "REFUSED"},
    "dependency": {"Pub/Sub", "Firestore", "the payment provider", "the shipping provider", *_COMMANDS},
    "state": {"closed", "open", "half-open"},
    "collector": {"breakers", "events", "event_outbox", "saga_outbox", "sagas", "dead_letters", *READ_MODELS},
    "type": {kind.__name__ for kind in AGGREGATE_OF},
    "outbox": {"events", "sagas"},
    "status": {status.value for status in SagaStatus},
    "read_model": set(READ_MODELS),
}
"""All values that each label may have: never an id, nor what a client chooses. Whatever else comes counts as `other`."""

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0)


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
        """With a value `other` of each label, and all buckets of a histogram."""
        each = len(_BUCKETS) + 3 if self.kind == "histogram" else 1
        return each * prod(len(LABELS[label]) + 1 for label in self.labels)


def _metric(line: str, purpose: str) -> Metric:
    name, kind, unit, known_to, *labels = line.split()
    return Metric(name, kind, unit, known_to, tuple(labels), purpose.strip())  # type: ignore[arg-type]


_LINES = _TABLE.strip().splitlines()
METRICS = {one.name: one for one in map(_metric, _LINES[::2], _LINES[1::2])}


class Sample(NamedTuple):
    """A value as it is now. `labels`: in the metric's order."""

    metric: str
    labels: tuple[str, ...]
    value: float


disable_created_metrics()  # or each counter would have a second series that says since when it counts
_registry = CollectorRegistry()
_counters: dict[str, Counter] = {
    one.name: Counter(one.name, one.help, one.labels, registry=_registry)
    for one in METRICS.values()
    if (one.kind, one.known_to) == ("counter", "process")
}
_histograms: dict[str, Histogram] = {
    one.name: Histogram(one.name, one.help, one.labels, registry=_registry, buckets=_BUCKETS)
    for one in METRICS.values()
    if one.kind == "histogram"
}


def bounded(metric: str, labels: Iterable[str]) -> tuple[str, ...]:
    """The same labels, with `other` for each value that is not foreseen."""
    pairs = zip(METRICS[metric].labels, labels, strict=True)
    return tuple(value if value in LABELS[label] else "other" for label, value in pairs)


def count(metric: str, *labels: str) -> None:
    counter = _counters[metric]
    (counter.labels(*bounded(metric, labels)) if labels else counter).inc()


def observe(metric: str, seconds: float, *labels: str) -> None:
    histogram = _histograms[metric]
    (histogram.labels(*bounded(metric, labels)) if labels else histogram).observe(seconds)


def added_up(samples: Iterable[Sample]) -> list[Sample]:
    """With bounded labels, and one sample for each of them."""
    values: dict[tuple[str, tuple[str, ...]], float] = defaultdict(float)
    for metric, labels, value in samples:
        values[metric, bounded(metric, labels)] += value
    return [Sample(*series, value) for series, value in sorted(values.items())]


class _Sampled(Collector):
    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = added_up(samples)

    def collect(self) -> Iterator[Family]:
        for name, samples in groupby(self._samples, lambda sample: sample.metric):
            kind = CounterMetricFamily if METRICS[name].kind == "counter" else GaugeMetricFamily
            family = kind(name, METRICS[name].help, labels=METRICS[name].labels)
            for sample in samples:
                family.add_metric(sample.labels, sample.value)
            yield family


def exposition(samples: Iterable[Sample]) -> str:
    """Prometheus' text format: what this process has counted, and the samples."""
    sampled = _Sampled(samples)
    return (generate_latest(_registry) + generate_latest(sampled)).decode()
