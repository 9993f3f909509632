"""In the cloud, what each process counts is counted from its log lines: both numbers are the
same."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.domain.errors import Unavailable
from shared.monitoring.executions import Execution
from shared.monitoring.health import Checkup
from shared.monitoring.metrics import Metric, metrics
from shared.monitoring.recorder import Recorder
from shared.observability.context import fresh
from shared.resilience.calls import NotCalled
from tests.scrapes import Values, now
from tests.shop_in_memory import ShopInMemory
from tests.stand_ins import raising, with_methods

LOGGED = [metric for metric in metrics().values() if metric.logged]
Line = Mapping[str, Any]


def chosen(filter: str, line: Line) -> bool:
    """Return whether Cloud Logging's filter takes the line. It has only the forms that metrics.yaml
    uses."""
    return all(_holds(term, line) for term in filter.split(" AND "))


def _holds(term: str, line: Line) -> bool:
    found = re.fullmatch(r'jsonPayload\.(\w+)(?::\*|(!?=)"([^"]*)")', term)
    assert found, f"{term} is not understood here"
    field, operator, value = found.groups()
    return field in line if operator is None else (line.get(field) == value) == (operator == "=")


def logged(act: Callable[[], object]) -> list[Line]:
    with capture_logs() as lines:
        act()
    return [{**line, "message": line["event"]} for line in lines]


def counted(metric: Metric, lines: list[Line]) -> dict[tuple[str, ...], int]:
    taken = [line for line in lines if chosen(metric.logged, line)]
    return dict(Counter(tuple(str(line[label]) for label in metric.labels) for line in taken))


def added(metric: Metric, before: Values, after: Values) -> dict[tuple[str, ...], int]:
    name = f"{metric.name}_count" if metric.kind == "histogram" else metric.name
    grown = {labels: int(value - before.get(name, {}).get(labels, 0)) for labels, value in after.get(name, {}).items()}
    return {labels: number for labels, number in grown.items() if number}


def everything(shop: ShopInMemory) -> None:
    """Do something that each metric counts, well and badly."""
    shop.new_order(shop.new_product())
    shop.settle()
    not_called = raising(NotCalled("the payment provider", "keeps failing", 3600))
    shop.engines.payments = with_methods(shop.engines.payments, charge=not_called)
    shop.new_order(shop.new_product())  # whose payment waits, which is no delivery
    shop.settle()
    shop.ask("{ products { id } }")
    shop.graphql("{ nothing }")
    shop.graphql('{ product(id: "tea") { id } }')
    shop.http("PUT")
    shop.call("create_order", b"{}")
    shop.call("relay_outbox")
    shop.push("order_saga", {})
    breaker = shop.engines.breakers["Firestore"]
    for _ in range(shop.engines.settings.breaker_fail_max):
        with pytest.raises(Unavailable), breaker.guard():
            raise Unavailable("down")
    shop.engines.event_log = with_methods(shop.engines.event_log, counts=raising(Unavailable("down")))
    shop.call("report_metrics")
    recorder = Recorder(lambda: (shop.engines.executions, shop.engines.counts), queue_size=0)
    recorder.record(Execution("command", "create_order", "TIMEOUT", 1, fresh().correlation_id))
    recorder.close()


def test_the_log_counts_what_the_process_counts(shop: ShopInMemory) -> None:
    shop.engines.checkup = Checkup(keep_seconds=0)
    before = now(shop, "create_order")
    lines = logged(lambda: everything(shop))
    after = now(shop, "create_order")
    for metric in LOGGED:
        assert counted(metric, lines) == added(metric, before, after), metric.name
