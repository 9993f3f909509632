"""HTTP in and out of a function: health and metrics, bounded bodies and headers, and errors as
responses."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from io import BytesIO
from math import ceil
from typing import Any, NamedTuple

import flask
import functions_framework
import structlog
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from shared.auth.identity import refuse_emulator_in_the_cloud, require_caller
from shared.domain.errors import Forbidden, Invalid, ShopError, Unavailable
from shared.monitoring.dependencies import dependencies
from shared.monitoring.health import Check, Checkup, Finding, HealthStatus, Report
from shared.monitoring.metrics import TEXT, Sample, bounded, count, exposition, label_values, observe
from shared.observability.context import annotate, flush
from shared.observability.error_codes import status_and_code
from shared.observability.logs import access_line
from shared.observability.sentences import said
from shared.resilience import clock
from shared.resilience.calls import Postponed
from shared.runtime.current import engines

_log = structlog.get_logger()

HttpFunction = Callable[[flask.Request], ResponseReturnValue]

Reply = tuple[str, int, dict[str, str]]  # body, status, headers
METHOD_NOT_ALLOWED: Reply = ("", 405, {"Allow": "GET, HEAD"})
_NO_STORE = {"Content-Type": "application/json", "Cache-Control": "no-store"}


def metrics_reply(samples: Iterable[Sample] = ()) -> Reply:
    """Return this process's metrics, and the samples, in Prometheus's format."""
    return exposition([*_of_the_process(), *samples]), 200, _NO_STORE | {"Content-Type": TEXT}


def _of_the_process() -> list[Sample]:
    """Return the number of open subscriptions, and for each breaker that has been used each of its
    states."""
    try:
        states, subscriptions = engines().breakers.states(), engines().subscription_quota.open
    except Exception as error:  # a malformed setting, for example, which /health/ready reports
        count("shop_scrape_errors_total", "breakers")
        _log.warning("could not read for metrics", collector="breakers", reason=repr(error))
        return []
    return [Sample("shop_subscriptions_open", (), subscriptions)] + [
        Sample("shop_breaker_state", (dependency, state), float(state == now))
        for dependency, now in states.items()
        for state in label_values()["state"]
    ]


def http_function(handle: HttpFunction, metrics: Callable[[], ResponseReturnValue] = metrics_reply) -> HttpFunction:
    """Make the function that the framework calls: `handle`, whose errors become responses and whose
    requests are logged.

    The function also answers /health/live, /health/ready and /metrics, without asking for the
    caller. Its name in the manifest is that of `handle`. `metrics`: what it answers at /metrics
    instead of this process's own. Raises EmulatorInTheCloud, so that such a function does not
    start.
    """
    refuse_emulator_in_the_cloud()

    @functions_framework.http
    @wraps(handle)
    def function(request: flask.Request) -> ResponseReturnValue:
        match request.path, request.method:
            case "/health/live", "GET" | "HEAD":
                return health_reply(Report())
            case "/health/ready", "GET" | "HEAD":
                checkup, checks = examination(handle.__name__)
                return health_reply(Report(checkup.run(checks)))
            case "/metrics", "GET" | "HEAD":
                return _answered(metrics)
            case "/health/live" | "/health/ready" | "/metrics", _:
                return METHOD_NOT_ALLOWED
            case _:
                with access_line(handle.__name__, request.method, request.path):
                    response = _answered(_for_callers, handle, request)
                    if _has_left(request):
                        response = flask.Response(status=499)  # nginx's code
                    annotate(status=response.status_code)
                    return response

    return function


def _for_callers(handle: HttpFunction, request: flask.Request) -> ResponseReturnValue:
    """Call the handler. Raises Forbidden for web pages, and in the cloud for all but the callers of
    the settings."""
    if "Origin" in request.headers:  # browsers send it with another site's requests
        raise Forbidden("web pages may not call this function; send GraphQL to the graphql function")
    if "X-Serverless-Authorization" in request.headers:  # Cloud Run would not verify Authorization then
        raise Forbidden("send your token as Authorization, without X-Serverless-Authorization")
    settings = engines().settings
    require_caller(request.headers.get("Authorization", ""), settings.callers, settings.audience)
    return handle(request)


def _has_left(request: flask.Request) -> bool:
    """Return whether the caller closed the connection while sending the body, of which the
    framework reads the rest."""
    try:
        request.get_data()
    except ClientDisconnected:
        request.stream = BytesIO()
        return True
    return False


def _answered(handle: Callable[..., ResponseReturnValue], *arguments: Any) -> flask.Response:
    try:
        answer = handle(*arguments)
        return answer if isinstance(answer, flask.Response) else flask.make_response(answer)
    except Exception as error:
        return _failure(error)
    finally:
        flush()


def _failure(error: Exception) -> flask.Response:
    """Log the error and return its response, without details of an error that is not for the
    caller. A group of errors of independent tasks is answered like the first of them, as if that
    task had run alone."""
    first = error
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    status, code = status_and_code(error)
    if not isinstance(first, ShopError):
        _log.error("the request failed", exc_info=error)
        return error_response(500, "INTERNAL_ERROR", "something went wrong on our side", ())
    if status >= 500:
        _log.warning("the request could not be served", code=code, reason=str(error), cause=repr(first.__cause__))
    else:
        _log.info("the request was refused", code=code, reason=str(error))
    response = error_response(status, code, first.message, first.field)
    if isinstance(first, Unavailable):
        response.headers["Retry-After"] = str(ceil(first.retry_after))
    return response


def error_response(status: int, code: str, message: str, field: tuple[str | int, ...]) -> flask.Response:
    return json_response(json.dumps({"code": code, "message": message, "field": field}, ensure_ascii=False), status)


def json_response(body: str, status: int = 200) -> flask.Response:
    return flask.Response(body, status, mimetype="application/json")


def examination(function: str) -> tuple[Checkup, list[Check]]:
    """Return the checks that show whether the function is ready, and the checkup that runs them."""
    try:
        return engines().checkup, dependencies(engines(), function)
    except Exception:  # a malformed setting, for example, which the check below meets again and reports
        return Checkup(), [Check("settings", _configured, 1)]


def _configured() -> Finding:
    engines()
    return Finding(HealthStatus.HEALTHY, said("VALID"))


def health_reply(report: Report) -> Reply:
    """Return the status 200, or 503 for an unhealthy function, without details: admins read those
    through GraphQL."""
    body = json.dumps(report.fields(everything=False), ensure_ascii=False)
    return body, 503 if report.status is HealthStatus.UNHEALTHY else 200, _NO_STORE


def body_of(request: flask.Request, limit: int) -> bytes:
    """Return the request's body. Raises Invalid when it is larger than `limit` bytes, or when it
    ends too early."""
    request.max_content_length = limit
    try:
        return request.get_data()
    except RequestEntityTooLarge:
        request.max_content_length = None  # so that the rest is read before the answer, or the client sees a reset
        raise Invalid(f"the body is too large; send at most {limit} bytes") from None
    except ClientDisconnected:
        raise Invalid("the caller closed the connection before it had sent the whole body") from None


def header(request: flask.Request, name: str, default: str, longest: int = 200) -> str:
    """Return a header that will be stored, or the default. Raises Invalid unless it is 1 to
    `longest` printable ASCII characters."""
    value = request.headers.get(name, default)
    if not (0 < len(value) <= longest and value.isascii() and value.isprintable()):
        raise Invalid(f"the header {name} must be 1 to {longest} printable ASCII characters", (name,))
    return value


class Work(NamedTuple):
    """A kind of work: its label in the request's log line, the metric that counts it by label and
    code, and the one of its duration by label."""

    field: str
    total: str
    seconds: str | None = None


COMMANDS = Work("command", "shop_commands_total", "shop_command_duration_seconds")
DELIVERIES = Work("subscription", "shop_deliveries_total", "shop_delivery_duration_seconds")
RUNS = Work("schedule", "shop_scheduled_runs_total")


@dataclass
class Measurement:
    """`label`: what the work is counted as; the function's name unless it is set inside the
    block."""

    label: str


@contextmanager
def measured(work: Work, function: str) -> Iterator[Measurement]:
    """Count and time the block unless it is Postponed, and count an error of the function for what
    else the block raises. The request's log line says the same: in the cloud it is counted from
    there."""
    measurement, began, code = Measurement(function), clock.monotonic(), "OK"
    try:
        yield measurement
    except Postponed:
        code = ""
        raise
    except BaseException as error:
        _, code = status_and_code(error)
        count("shop_errors_total", function, code)
        raise
    finally:
        if code:
            _count(work, measurement.label, code, clock.monotonic() - began)


def _count(work: Work, label: str, code: str, seconds: float) -> None:
    (label, _) = bounded(work.total, (label, code))
    annotate(**{work.field: label}, code=code, seconds=round(seconds, 4))
    count(work.total, label, code)
    if work.seconds:
        observe(work.seconds, seconds, label)
