"""Tell how the whole shop does: to Prometheus, with a GET, and every minute to Cloud Monitoring."""

from functools import partial

import flask
from flask.typing import ResponseReturnValue

from shared.monitoring.reports import collected, reported
from shared.runtime.engines import engines
from shared.runtime.http import http_function, metrics_reply
from shared.runtime.push_functions import run_scheduled


def _everything() -> ResponseReturnValue:
    return metrics_reply(collected(engines()))


@partial(http_function, metrics=_everything)
def report_metrics(request: flask.Request) -> ResponseReturnValue:
    match request.method:
        case "POST":
            return run_scheduled("report_metrics", reported)
        case "GET" | "HEAD":
            return _everything()
        case _:
            return flask.Response(status=405, headers={"Allow": "GET, HEAD, POST"})
