"""Terraform describes the metrics that the code has, and alerts name what exists."""

import re
from pathlib import Path

import pytest
import yaml
from graphql import build_schema, parse, validate

from scripts.local.bench_soak import Reading, growth
from scripts.local.readme import MONITORING_PAGE, in_the_cloud, queries_to_look_at
from shared.config.manifest import ROOT, manifest
from shared.monitoring.metrics import Metric, exposition, label_values, metrics, observe

TERRAFORM = ROOT / "terraform"
ALERTS = [TERRAFORM / "alerts.tf", TERRAFORM / "slo.tf"]
OF_STORES = [metric for metric in metrics().values() if metric.known_to == "stores"]


@pytest.mark.parametrize(
    ("megabytes", "grown"),
    [
        ([100, 150, 200, 220, *16 * [224]], 0),
        ([100 + 10 * n for n in range(20)], 0.47),
        ([*8 * [100], *12 * [90]], -0),
        ([*8 * [100], 224, *11 * [100]], 0),
    ],
)
def test_a_soak_finds_growth_after_the_warm_up_only(megabytes: list[float], grown: float) -> None:
    readings = [Reading(float(n), megabytes, n) for n, megabytes in enumerate(megabytes)]
    assert growth(readings, warm_up=0.4) == pytest.approx(grown, abs=0.08)


def table() -> dict[str, tuple[str, str, list[str], str]]:
    """Return kind, unit, labels and description of each metric of the stores, from the file that
    Terraform reads."""
    source = (TERRAFORM / "metrics.tf").read_text()
    (file,) = re.findall(r'metric_table = yamldecode\(file\("\$\{path.module}/\.\./(.*)"\)\)', source)
    found = {
        name: one for name, one in yaml.safe_load((ROOT / file).read_text()).items() if one["known_to"] == "stores"
    }
    return {
        name.removeprefix("shop_"): (one["kind"], one["unit"], one["labels"], one["help"])
        for name, one in found.items()
    }


def test_terraform_finds_every_metric_of_the_stores_and_no_other() -> None:
    assert set(table()) == {metric.name.removeprefix("shop_") for metric in OF_STORES}


@pytest.mark.parametrize("metric", OF_STORES, ids=lambda metric: metric.name)
def test_terraform_describes_a_metric_as_the_code_counts_it(metric: Metric) -> None:
    kind, unit, labels, purpose = table()[metric.name.removeprefix("shop_")]
    assert (kind, unit, tuple(labels), purpose) == (metric.kind, metric.unit, metric.labels, metric.help)
    assert kind in ("counter", "gauge") and unit in ("1", "s")


def test_alerts_and_charts_use_metrics_that_are_exported_and_labels_that_they_have() -> None:
    text = "".join(file.read_text() for file in TERRAFORM.glob("*.tf"))
    logged = {metric.name for metric in metrics().values() if metric.logged}
    of_stores = re.findall(r'local\.of_shop\["(\w+)"\]', text)
    assert {"sagas", "outbox_oldest_age_seconds", "projection_lag_seconds"} <= set(of_stores) <= set(table())
    assert {"shop_errors_total"} <= set(re.findall(r'local\.of_log\["(\w+)"\]', text)) <= logged
    for line in text.splitlines():
        for prefix, name in re.findall(r'local\.of_(shop|log)\["(\w+)"\]', line):
            labels = metrics()[name if prefix == "log" else f"shop_{name}"].labels
            by = re.findall(r"\bby \(([\w, ]+)\)", line)
            asked = re.findall(r'(\w+)(?:=~|!=|=)\\"', line)
            assert {*", ".join(by).split(", "), *asked} - {""} <= set(labels), line


PAGE = MONITORING_PAGE.read_text()


@pytest.mark.parametrize("query", queries_to_look_at(PAGE))
def test_every_query_of_the_page_asks_for_exported_metrics_by_labels_and_values_that_they_have(query: str) -> None:
    assert "googleapis_com:" in in_the_cloud(query)
    named = re.findall(r"\bshop_[a-z_]+", query)
    known = [metrics()[re.sub("_(bucket|sum|count)$", "", name)] for name in named]
    asked = re.findall(r'(\w+)(?:=~|!=|=)"(\w+)"', query)
    by = {label for group in re.findall(r"\bby \(([\w, ]+)\)", query) for label in group.split(", ")}
    labels = {label for metric in known for label in metric.labels}
    assert known and by | {label for label, _ in asked} <= labels | {"le"}
    assert all(value in label_values()[label] for label, value in asked)


def test_the_page_has_every_query_in_the_form_of_the_cloud() -> None:
    queries = queries_to_look_at(PAGE)
    assert len(queries) > 12
    assert (
        'logging_googleapis_com:user_shop_deliveries_total{monitored_resource="cloud_run_revision",code!="OK"}' in PAGE
    )
    assert 'custom_googleapis_com:shop_sagas{monitored_resource="global",status="STUCK"}' in PAGE
    assert all(f"| `{in_the_cloud(query)}` |" in PAGE for query in queries)


def test_a_metric_that_is_not_exported_is_no_query_for_the_cloud() -> None:
    with pytest.raises(LookupError, match="shop_breaker_state is not exported"):
        in_the_cloud('shop_breaker_state{state="open"} == 1')


def test_terraform_has_the_buckets_of_the_code() -> None:
    (bounds,) = re.findall(r"\n  buckets = \[(.*?)\]", (TERRAFORM / "metrics.tf").read_text())
    observe("shop_graphql_duration_seconds", 1)
    found = re.findall(r'shop_graphql_duration_seconds_bucket\{le="([^"+]*)"\}', exposition([]))
    assert [float(bound) for bound in bounds.split(",")] == [float(bound) for bound in found]


@pytest.mark.parametrize("file", ALERTS, ids=lambda file: file.name)
def test_queries_in_alerts_are_valid(file: Path) -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text())
    asked = re.findall(r"`((?:mutation )?\{[^`]*\})`", file.read_text())
    assert asked
    for query in asked:
        assert validate(schema, parse(query)) == [], query


def test_each_symptom_of_the_page_has_a_valid_graphql_query() -> None:
    schema, page = build_schema((ROOT / "schema.graphql").read_text()), MONITORING_PAGE.read_text()
    section = page.partition("\n## What to look at")[2].partition("\n## ")[0]
    rows = [row.split(" | ")[2] for row in section.splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 13
    for cell in rows:
        (query,) = re.findall("`([^`]+)`", cell)
        assert validate(schema, parse(query.replace("{ … }", "{ whatToDo }"))) == [], query


@pytest.mark.parametrize("file", ALERTS, ids=lambda file: file.name)
def test_scripts_and_functions_in_alerts_exist(file: Path) -> None:
    text = file.read_text()
    assert all((ROOT / script).exists() for script in re.findall(r"\bscripts/[\w-]+", text))
    named = {*re.findall(r'log_of\["(\w+)"\]', text), *re.findall(r"\b(?:relay|sweep|report|project)_\w+", text)} - {
        "project_id"
    }
    assert named <= {*manifest().functions}
