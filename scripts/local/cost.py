"""Compute the shop's cost in a month: idle, and with a number of orders.

Prices and assumptions are in scripts/local/prices.yaml.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from shared.api.wake_ahead import needed_after
from shared.config.manifest import ROOT, Function, manifest
from shared.monitoring.metrics import metrics

Usage = Mapping[str, float]
"""The amount used in a month, by the name of its price."""

_HOURS = 730
_MINUTES = _HOURS * 60
_GIB, _MIB = 2**30, 2**20


@lru_cache
def data() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("prices.yaml").read_text())
    return loaded


@dataclass(frozen=True)
class System:
    """The sizes in terraform/ENVIRONMENT.tfvars. `tier`: PostgreSQL's. `warm`: minimum instances,
    by function."""

    tier: str
    standby: bool
    warm: Mapping[str, int]
    uptime_minutes: int
    traced: float
    wake_seconds: float

    @property
    def copies(self) -> int:
        return 2 if self.standby else 1


def system(environment: str) -> System:
    chosen = (ROOT / "terraform" / f"{environment}.tfvars").read_text()
    defaults = (ROOT / "terraform" / "variables.tf").read_text()

    def value(name: str) -> str:
        match = re.search(rf'^{name}\s*= *"?([^"\s]+)', chosen, re.MULTILINE) or re.search(
            rf'variable "{name}" {{.*?default\s*= *"?([^"\s]+)', defaults, re.DOTALL
        )
        assert match, f"neither {environment}.tfvars nor variables.tf sets {name}"
        return match[1]

    warm = {name: int(number) for name, number in re.findall(r"(\w+) = {[^}]*?min_instances = (\d+)", chosen)}
    uptime = 1 if environment == "prod" else 5  # terraform/monitoring.tf
    standby = value("high_availability") == "true"
    traced, wake_seconds = float(value("trace_sample_ratio")), float(value("wake_ahead_seconds"))
    return System(value("database_tier"), standby, warm, uptime, traced, wake_seconds)


def idle(system: System) -> Usage:
    """Return the usage of a shop without orders: by existing resources and scheduled functions."""
    assumed, functions = data()["assumed"], manifest().functions
    checks = assumed["uptime_places"] * _MINUTES / system.uptime_minutes
    reports = _runs(functions["report_metrics"])
    series = sum(metric.most_series for metric in metrics().values() if metric.known_to == "stores")
    fixed = {
        "scheduler_jobs": sum(function.schedule is not None for function in functions.values()),
        "uptime_checks": checks,
        "metric_mib": (series * reports + assumed["log_series"] * _MINUTES) * 8 / _MIB,
        "firestore_reads": data()["reports"]["documents"] * reports,
        "egress_gib": checks * assumed["bytes_per_answer"] / _GIB,
        "alert_conditions": _conditions(),
        "registry_gib": assumed["image_gib"],
        "build_minutes": assumed["builds_per_month"] * assumed["minutes_per_build"],
        "dns_zones": _terraform().count('resource "google_dns_managed_zone"'),
    }
    scheduled = [_calls(function, _runs(function)) for function in functions.values()]
    warm = [_warm(functions[name], instances) for name, instances in system.warm.items()]
    return added(fixed, _database(system), _calls(functions["graphql"], checks), *scheduled, *warm)


def of_orders(orders: float, system: System) -> Usage:
    """Return the usage that orders add, including the queries, users and live updates of visitors
    who order nothing."""
    assumed, each, functions = data()["assumed"], data()["per_order"], manifest().functions
    queries, kept = assumed["queries_per_order"], orders * assumed["months_kept"]
    pushed = sum(calls for name, calls in each["calls"].items() if functions[name].topics)
    disk = each["events"] * assumed["sql_bytes_per_event"] * kept / _GIB
    used = {
        "pubsub_gib": (each["messages"] + pushed) * assumed["bytes_per_message"] * orders / _GIB,
        "firestore_reads": (each["firestore_reads"] + queries * assumed["reads_per_query"]) * orders
        + data()["reports"]["aggregations"] * _runs(functions["report_metrics"]) * kept / 1000,
        "monthly_users": assumed["users_per_order"] * orders,
        "egress_gib": (queries * assumed["bytes_per_answer"] + assumed["streamed_bytes_per_order"]) * orders / _GIB,
        "firestore_writes": each["firestore_writes"] * orders,
        "firestore_gib": assumed["firestore_bytes_per_order"] * kept / _GIB,
        "sql_disk_gib": disk * system.copies,
        "sql_backup_gib": disk,
        "spans": (each["spans"] + queries * assumed["spans_per_query"]) * orders * system.traced,
    }
    called = [_calls(functions[name], calls * orders) for name, calls in each["calls"].items()]
    answering = _calls(functions["graphql"], queries * orders)
    return added(used, _streams(functions["graphql"], orders), answering, _wakes(orders, system), *called)


def added(*usages: Usage) -> Usage:
    total: dict[str, float] = {}
    for used in usages:
        for name, amount in used.items():
            total[name] = total.get(name, 0) + amount
    return total


def cost(used: Usage) -> dict[str, float]:
    """Return the dollars for each price, less the free amount."""
    prices = data()["prices"]
    return {name: max(0.0, used.get(name, 0) - price.get("free", 0)) * price["price"] for name, price in prices.items()}


def _database(system: System) -> Usage:
    disk, hours = data()["assumed"]["disk_gib"], _HOURS * system.copies
    used = {"sql_disk_gib": disk * system.copies, "sql_backup_gib": disk}
    if custom := re.fullmatch(r"db-custom-(\d+)-(\d+)", system.tier):
        return used | {"sql_vcpu_hours": int(custom[1]) * hours, "sql_memory_gib_hours": int(custom[2]) / 1024 * hours}
    if system.tier == "db-g1-small":
        return used | {"sql_small_hours": hours}
    raise ValueError(f"prices.yaml has no price for the database tier {system.tier}")


def _warm(function: Function, instances: int) -> Usage:
    seconds = instances * _HOURS * 3600
    return {"run_warm_cpu_seconds": seconds * function.cpu, "run_warm_memory_seconds": seconds * _gib(function)}


def _calls(function: Function, calls: float) -> Usage:
    assumed = data()["assumed"]
    seconds = calls * assumed["seconds_per_call_of"].get(function.name, assumed["seconds_per_call"])
    return {
        "run_requests": calls,
        "run_cpu_seconds": seconds * function.cpu,
        "run_memory_seconds": seconds * _gib(function),
        "log_gib": calls * assumed["log_bytes_per_call"] / _GIB,
    }


def _streams(graphql: Function, orders: float) -> Usage:
    """Return the usage of subscriptions: an instance is billed for as long as any of its streams is
    open."""
    assumed = data()["assumed"]
    seconds = orders * assumed["stream_seconds_per_order"] / assumed["streams_per_instance"]
    return {
        "run_cpu_seconds": seconds * graphql.cpu,
        "run_memory_seconds": seconds * _gib(graphql),
        "run_requests": orders,
    }


def _wakes(orders: float, system: System) -> Usage:
    """Return the usage of waking functions ahead: a call for each order, but at most one for each
    function, instance of graphql and period. The start itself is not counted: without the call, the
    function would start a moment later."""
    if not system.wake_seconds:
        return {}
    most = _HOURS * 3600 / system.wake_seconds * data()["assumed"]["graphql_instances"]
    woken = [one for one in needed_after("create_order") if one.name not in system.warm]
    return added(*(_calls(function, min(orders, most)) for function in woken))


def _gib(function: Function) -> float:
    number, unit = float(function.memory[:-2]), function.memory[-2:]
    return number / {"Gi": 1, "Mi": 1024}[unit]


def _runs(function: Function) -> float:
    """Return how often a schedule calls the function in a month: every minute, or once an hour."""
    if not function.schedule:
        return 0
    return _MINUTES if function.schedule.cron == "* * * * *" else _HOURS


def _terraform() -> str:
    return "".join(file.read_text() for file in sorted((ROOT / "terraform").glob("*.tf")))


def _conditions() -> int:
    """Count the alert conditions: one for each threshold, two for each burn rate, and the literal
    ones."""
    text = _terraform()
    thresholds = len(re.findall(r"^ {6}lasting +=", text, re.MULTILINE))
    burning = 2 * len(re.findall(r"\{ severity = .*rate = .*long = ", text))
    single = len(re.findall(r"^ {2}conditions {$", text, re.MULTILINE)) - 1  # one block serves all thresholds
    return thresholds + burning + single


def report(environment: str, orders: float) -> str:
    chosen = system(environment)
    at_rest = idle(chosen)
    before, after = cost(at_rest), cost(added(at_rest, of_orders(orders, chosen)))
    lines = [f"| {environment}, US dollars a month | idle | {orders:,.0f} orders |", "|---|---|---|"]
    for name in sorted(after, key=lambda name: -after[name]):
        if round(after[name], 2) > 0:
            lines.append(f"| {data()['prices'][name]['what']} | {before[name]:,.2f} | {after[name]:,.2f} |")
    lines.append(f"| **all** | **{sum(before.values()):,.0f}** | **{sum(after.values()):,.0f}** |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/cost", description=__doc__)
    parser.add_argument("--environment", choices=["staging", "prod"], default="prod", help="whose sizes to use (prod)")
    parser.add_argument("--orders", type=float, default=1_000_000, metavar="N", help="orders a month (1,000,000)")
    chosen = parser.parse_args()
    if not 0 <= chosen.orders < float("inf"):
        parser.error(f"--orders must be a number, 0 or more; got {chosen.orders:g}")
    print(report(chosen.environment, chosen.orders))
    print(f"\nPrices as seen on {data()['seen']}; prices and assumptions are in scripts/local/prices.yaml.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
