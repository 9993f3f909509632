"""Report the whole shop's metrics: to Prometheus with a GET, and every minute to Cloud Monitoring
and the history of the dashboard."""

from functools import partial

import flask
from flask.typing import ResponseReturnValue

from shared.monitoring.reports import read_samples, report
from shared.runtime.current import engines
from shared.runtime.http import http_function, metrics_reply
from shared.runtime.push_functions import run_scheduled


def _metrics() -> ResponseReturnValue:
    return metrics_reply(read_samples(engines()))


@partial(http_function, metrics=_metrics)
def report_metrics(request: flask.Request) -> ResponseReturnValue:
    match request.method:
        case "POST":
            return run_scheduled("report_metrics", report)
        case "GET" | "HEAD":
            return _metrics()
        case _:
            return flask.Response(status=405, headers={"Allow": "GET, HEAD, POST"})
