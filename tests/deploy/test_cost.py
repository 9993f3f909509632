"""The cost model counts what the shop does: an order is placed and compared; the rest is the
manifest's and Terraform's."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from threading import Lock
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from scripts.local.cost import added, cost, data, idle, main, of_orders, system
from shared.config.manifest import ROOT, Subscription, manifest
from shared.observability import context as tracing
from shared.read_models.generations import Pace
from tests.shop_in_memory import Json, ShopInMemory

PROD, STAGING = system("prod"), system("staging")
ORDER = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } } }"


class Counted:
    """Return how many documents the projections read and wrote."""

    def __init__(self, shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = self.writes = 0
        self._update = shop.engines.read_models.update
        monkeypatch.setattr(shop.engines.read_models, "update", self.update)

    def update(self, collection: str, key: str, change: Any, version: int | None = None) -> None:
        made: Any = None

        def noted(document: Any) -> Any:
            nonlocal made
            made = change(document)
            return made

        self._update(collection, key, noted)
        self.reads += 1
        self.writes += 0 if made is None else 1 + len(made.increments)


@pytest.fixture
def spans(shop: ShopInMemory) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.configure(exporter, at_once=True)
    yield exporter
    tracing.configure(None)


def test_an_order_makes_the_shop_do_what_the_model_counts(
    shop: ShopInMemory, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_at_a_time = Lock()

    def deliver(to: Subscription, body: Json) -> int:
        with one_at_a_time:  # where one message overtakes another, one write does for both
            return shop.hand_over(to, body)

    shop.deliver = deliver
    shop.engines.pace = Pace(known_seconds=3600.0)  # so that each stop of a projection is read once
    line = {"productId": shop.new_product(), "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    shop.settle()
    spans.clear()
    counted, events = Counted(shop, monkeypatch), len(shop.log())
    pushed = len(shop.pushed(*manifest().functions))
    shop.ask(ORDER, input={"userId": "ann", "items": [line]})
    shop.settle()
    pushes = shop.pushed(*manifest().functions)[pushed:]
    assert data()["per_order"] == {
        "calls": {"graphql": 1, "create_order": 1, **Counter(push.function for push in pushes)},
        "events": len(shop.log()) - events,
        "messages": len({push.body["message"]["messageId"] for push in pushes}),
        "firestore_reads": counted.reads,
        "firestore_writes": counted.writes,
        "spans": len(spans.get_finished_spans()),
    }
    sizes = [size(push.body["message"]) for push in pushes]
    assert sum(sizes) / len(sizes) < 1.2 * data()["assumed"]["bytes_per_message"]


def size(message: Json) -> int:
    """Return the size that Pub/Sub bills: the data, and the attributes with their names."""
    return len(message["data"]) * 3 // 4 + sum(len(name) + len(value) for name, value in message["attributes"].items())


def test_more_orders_never_cost_less_and_none_cost_nothing() -> None:
    bills = [sum(cost(added(idle(PROD), of_orders(orders, PROD))).values()) for orders in (0, 1e3, 1e6, 1e9)]
    assert bills == sorted(bills)
    assert bills[0] == sum(cost(idle(PROD)).values())
    assert sum(cost({}).values()) == 0


def test_beyond_what_is_free_twice_as_many_orders_cost_twice_as_much() -> None:
    one, two, four = (sum(cost(added(idle(PROD), of_orders(orders, PROD))).values()) for orders in (1e7, 2e7, 4e7))
    assert four - two == pytest.approx(2 * (two - one), rel=1e-6)


def test_a_price_by_hand() -> None:
    """A million calls of a tenth of a second, on one processor and half a GiB, beyond the free
    ones."""
    used = {"run_requests": 3e6, "run_cpu_seconds": 280_000, "run_memory_seconds": 410_000}
    assert sum(cost(used).values()) == pytest.approx(0.40 + 100_000 * 0.000024 + 50_000 * 0.0000025)


def test_everything_that_is_used_has_a_price_and_everything_that_has_one_is_used() -> None:
    assert set(added(*(use for one in (PROD, STAGING) for use in (idle(one), of_orders(1, one))))) == set(
        data()["prices"]
    )


def test_scheduled_functions_are_counted() -> None:
    every_minute = sum(
        one.schedule is not None and one.schedule.cron == "* * * * *" for one in manifest().functions.values()
    )
    assert idle(STAGING)["run_requests"] == every_minute * 43_800 + 730 + 6 * 43_800 / 5
    assert all(
        one.schedule is None or re.fullmatch(r"\* \* \* \* \*|\d+ \* \* \* \*", one.schedule.cron)
        for one in manifest().functions.values()
    )


def test_a_standby_and_warm_instances_are_paid_for_where_there_are_some() -> None:
    assert (PROD.standby, STAGING.standby) == (True, False)
    assert idle(PROD)["run_warm_cpu_seconds"] == sum(PROD.warm.values()) * 730 * 3600 > 0
    assert idle(STAGING).get("run_warm_cpu_seconds", 0) == 0
    assert idle(PROD)["sql_vcpu_hours"] == 2 * 2 * 730


def test_every_condition_of_an_alert_is_counted() -> None:
    alerts = (ROOT / "terraform" / "tests" / "monitoring.tftest.hcl").read_text()
    (thresholds,) = re.findall(r"alert_policy\.threshold\)\) == toset\(\[(.*?)\]\)", alerts, re.DOTALL)
    assert idle(PROD)["alert_conditions"] == len(re.findall(r'"', thresholds)) / 2 + 2 * 2 + 3


def test_a_price_that_changes_changes_the_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    dearer = deepcopy(data())
    dearer["prices"]["sql_vcpu_hours"]["price"] *= 2
    before = cost(idle(PROD))["sql_vcpu_hours"]
    monkeypatch.setattr("scripts.local.cost.data", lambda: dearer)
    assert cost(idle(PROD))["sql_vcpu_hours"] == 2 * before


@pytest.mark.parametrize("orders", ["-1", "nan", "inf", "many"])
def test_a_number_of_orders_that_is_none_is_refused(orders: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["cost", "--orders", orders])
    with pytest.raises(SystemExit) as refused:
        main()
    assert refused.value.code == 2


def test_it_runs_on_its_own() -> None:
    done = subprocess.run([ROOT / "scripts" / "cost", "--environment", "staging"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"| **all** |" in done.stdout
