"""Count and measure: the metrics of metrics.yaml, those that this process counts, and their text
form.

Each instance of a function shows at /metrics what it has counted itself. What the stores know is
true of the whole shop; report_metrics shows that too, and sends it to Cloud Monitoring.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from math import prod
from threading import Lock
from typing import Any, Literal, NamedTuple, cast

import yaml
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from shared.config.manifest import ROOT, manifest
from shared.config.settings import Settings
from shared.domain.order import AGGREGATE_OF
from shared.observability.error_codes import ERROR_CODES
from shared.read_models.documents import READ_MODELS
from shared.resilience.breakers import Breakers
from shared.sagas.status import SagaStatus

TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of `exposition`."""

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0)


@cache
def label_values() -> Mapping[str, Set[str]]:
    """Return all values that each label may have: never an id, nor what a client chooses. Any other
    value counts as `other`."""
    functions = manifest().functions.values()
    commands = {one.name for one in functions if one.http and one.service == "command"}
    return {
        "command": commands,
        "code": {"OK", "INTERNAL_ERROR", *(code for _, code in ERROR_CODES.values())},
        "subscription": {one.name for one in manifest().all_subscriptions},
        "function": {one.name for one in functions},
        "outcome": {"OK", "ERRORS", "REFUSED"},
        "end": {"COMPLETE", "SLOW", "GONE", "FAILED", "REFUSED"},
        "dependency": {
            "Pub/Sub",
            "Firestore",
            *(f"the {one} provider" for one in ("payment", "shipping", "notification")),
        }
        | commands,
        "state": {"closed", "open", "half-open"},
        "collector": {"breakers", "events", "log", "event_outbox", "saga_outbox"}
        | {"sagas", "dead_letters", "ahead", *READ_MODELS},
        "part": {"history", "counts"},
        "reason": {"FULL", "MALFORMED", "UNAVAILABLE", "FAILED"},
        "type": {kind.__name__ for kind in AGGREGATE_OF},
        "outbox": {"events", "sagas"},
        "status": {status.value for status in SagaStatus},
        "read_model": set(READ_MODELS),
    }


@dataclass(frozen=True)
class Metric:
    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: Literal["1", "s"]
    known_to: Literal["process", "stores"]
    labels: tuple[str, ...]
    help: str
    logged: str = ""

    @property
    def most_series(self) -> int:
        """The most series there can be, with `other` of each label and all buckets of a
        histogram."""
        per_labels = len(_BUCKETS) + 3 if self.kind == "histogram" else 1
        return per_labels * prod(len(label_values()[label]) + 1 for label in self.labels)


@cache
def metrics() -> Mapping[str, Metric]:
    """Read metrics.yaml, once per process. Raise TypeError, which names the entry's field, when it
    is malformed."""
    text = (ROOT / "shared" / "monitoring" / "metrics.yaml").read_bytes()
    table: dict[str, dict[str, Any]] = yaml.load(text, yaml.CSafeLoader)
    return {name: Metric(name, **entry | {"labels": tuple(entry["labels"])}) for name, entry in table.items()}


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
        for name, metric in metrics().items():
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


@lru_cache(1024)
def bounded(metric: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels with `other` in place of each value that is not in `label_values`."""
    allowed = label_values()
    pairs = zip(metrics()[metric].labels, labels, strict=True)
    return tuple(value if value in allowed[label] else "other" for label, value in pairs)


@lru_cache(1024)
def _series(metric: str, *labels: str) -> Counter | Histogram:
    """Return the counter or histogram with these labels, bounded: finding it takes longer than to
    count."""
    made = _process_metrics()
    one = made.counters.get(metric) or made.histograms[metric]
    return one.labels(*bounded(metric, labels)) if labels else one


def count(metric: str, *labels: str, by: int = 1) -> None:
    cast(Counter, _series(metric, *labels)).inc(by)


def counting_breakers(settings: Settings) -> Breakers:
    """Return circuit breakers whose openings are counted."""
    opened = partial(count, "shop_breaker_openings_total")
    return Breakers(settings.breaker_fail_max, settings.breaker_reset_seconds, opened)


def observe(metric: str, seconds: float, *labels: str) -> None:
    cast(Histogram, _series(metric, *labels)).observe(seconds)


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
            kind = Counter if metrics()[name].kind == "counter" else Gauge
            made[name] = kind(name, metrics()[name].help, metrics()[name].labels, registry=registry)
        (made[name].labels(*labels) if labels else made[name]).inc(value)
    return (own + generate_latest(registry)).decode()
