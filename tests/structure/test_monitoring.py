"""Terraform describes the metrics that the code has, and alerts name what exists."""

import re
from pathlib import Path

import pytest
from google.api.metric_pb2 import MetricDescriptor
from graphql import build_schema, parse, validate

from shared.config.manifest import ROOT, manifest
from shared.monitoring.metrics import METRICS
from shared.monitoring.reports import descriptor

KIND, VALUE = MetricDescriptor.MetricKind, MetricDescriptor.ValueType
TERRAFORM = ROOT / "terraform"
ALERTS = [TERRAFORM / "alerts.tf", TERRAFORM / "slo.tf"]
OF_STORES = [metric for metric in METRICS.values() if metric.known_to == "stores"]


def table() -> dict[str, tuple[str, str, list[str], str]]:
    """Return kind, unit, labels and description of each metric, found with Terraform's expression."""
    (pattern,) = re.findall(r'metric_table = regexall\(\s*"(.*)",\n', (TERRAFORM / "metrics.tf").read_text())
    source = (ROOT / "shared" / "monitoring" / "metrics.py").read_text()
    found = re.findall(pattern.replace("\\\\", "\\"), source)
    return {name: (kind, unit, labels.split(), purpose) for name, kind, unit, labels, purpose in found}


def test_terraform_finds_every_metric_of_the_stores_and_no_other() -> None:
    assert set(table()) == {metric.name.removeprefix("shop_") for metric in OF_STORES}


@pytest.mark.parametrize("metric", OF_STORES, ids=lambda metric: metric.name)
def test_terraform_describes_a_metric_as_report_metrics_does(metric: object) -> None:
    """With different words, each would overwrite the other's description, or one would be refused."""
    described = descriptor(metric)  # type: ignore[arg-type]
    name = described.type.removeprefix("custom.googleapis.com/shop/")
    kind, unit, labels, purpose = table()[name]
    assert described.metric_kind == {"counter": KIND.CUMULATIVE, "gauge": KIND.GAUGE}[kind]
    assert described.value_type == {"1": VALUE.INT64, "s": VALUE.DOUBLE}[unit]
    assert (described.unit, described.description, described.display_name) == (unit, purpose, f"shop_{name}")
    assert [label.key for label in described.labels] == labels


def test_alerts_use_labels_that_the_metric_has() -> None:
    text = "".join(file.read_text() for file in TERRAFORM.glob("*.tf"))
    named = re.findall(r'local\.of_shop\["(\w+)"\].*?metric\.labels?\.(\w+)(?:=\\"(\w+))?', text)
    assert {name for name, _, _ in named} >= {"sagas", "outbox_oldest_age_seconds", "projection_lag_seconds"}
    for name, label, _ in named:
        assert label in METRICS[f"shop_{name}"].labels


@pytest.mark.parametrize("file", ALERTS, ids=lambda file: file.name)
def test_queries_in_alerts_are_valid(file: Path) -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text())
    asked = re.findall(r"`((?:mutation )?\{[^`]*\})`", file.read_text())
    assert asked
    for query in asked:
        assert validate(schema, parse(query)) == [], query


@pytest.mark.parametrize("file", ALERTS, ids=lambda file: file.name)
def test_scripts_and_functions_in_alerts_exist(file: Path) -> None:
    text = file.read_text()
    assert all((ROOT / script).exists() for script in re.findall(r"\bscripts/[\w-]+", text))
    named = {*re.findall(r'log_of\["(\w+)"\]', text), *re.findall(r"\b(?:relay|sweep|report|project)_\w+", text)} - {
        "project_id"
    }
    assert named <= {*manifest().functions}
