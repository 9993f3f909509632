"""Read the metrics of a function as Prometheus does."""

import re
from typing import Any, cast

import flask
import httpx
from prometheus_client.parser import text_string_to_metric_families

from shared.monitoring.metrics import metrics
from tests.shop_in_memory import ShopInMemory, app

Values = dict[str, dict[tuple[str, ...], float]]
"""Values by sample and labels: the labels in the metric's order, then the bucket of a histogram."""


def values(text: str) -> Values:
    found: Values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = re.sub("_(bucket|count|sum)$", "", sample.name)
            labels = tuple(sample.labels[label] for label in metrics()[name].labels)
            found.setdefault(sample.name, {})[(*labels, *filter(None, [sample.labels.get("le")]))] = sample.value
    return found


def got(shop: ShopInMemory, function: str, method: str = "GET", path: str = "/metrics", **more: Any) -> httpx.Response:
    if function == "graphql":
        return shop.http(method, path, **more)
    response = cast(flask.Flask, app(function)).test_client().open(path, method=method, **more)
    return httpx.Response(response.status_code, headers=list(response.headers), content=response.data)


def now(shop: ShopInMemory, function: str = "report_metrics") -> Values:
    """Scrape a function's metrics and return their values."""
    answer = got(shop, function)
    assert answer.status_code == 200, answer.text
    return values(answer.text)
