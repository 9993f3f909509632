"""HTTP in and out of a function: its health and metrics, bounded bodies, and errors as answers."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import wraps
from http import HTTPStatus
from math import ceil
from typing import Any, NamedTuple

import flask
import functions_framework
import structlog
from flask.typing import ResponseReturnValue
from pydantic import ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from shared.auth.identity import refuse_emulator_in_the_cloud
from shared.domain.errors import Invalid, ShopError, Unavailable
from shared.domain.values import adapter
from shared.event_store.tail import T
from shared.monitoring.health import Check, Checkup, Finding, HealthStatus, Report, dependencies
from shared.monitoring.metrics import TEXT, Sample, count, exposition, label_values, observe
from shared.observability.context import annotate, classify, flush
from shared.observability.logs import access_line
from shared.resilience import clock
from shared.runtime.engines import engines

_log = structlog.get_logger()

HttpFunction = Callable[[flask.Request], ResponseReturnValue]


Reply = tuple[str, int, dict[str, str]]
"""Body, status, headers."""

METHOD_NOT_ALLOWED: Reply = ("", 405, {"Allow": "GET, HEAD"})
_NO_STORE = {"Content-Type": "application/json", "Cache-Control": "no-store"}


def metrics_reply(samples: Iterable[Sample] = ()) -> Reply:
    """This process's metrics, and the samples, for Prometheus."""
    headers = {"Content-Type": TEXT, "Cache-Control": "no-store"}
    return exposition([*_of_the_process(), *samples]), 200, headers


def _of_the_process() -> list[Sample]:
    """The subscriptions that are open; and for each breaker that has been used each of its states."""
    try:
        states, subscriptions = engines().breakers.states(), engines().subscription_quota.open
    except Exception as error:  # such as a malformed setting, which /health/ready reports
        count("shop_scrape_errors_total", "breakers")
        _log.warning("could not read for metrics", collector="breakers", reason=repr(error))
        return []
    return [Sample("shop_subscriptions_open", (), subscriptions)] + [
        Sample("shop_breaker_state", (dependency, state), float(state == now))
        for dependency, now in states.items()
        for state in label_values()["state"]
    ]


def http_function(handle: HttpFunction, metrics: Callable[[], ResponseReturnValue] = metrics_reply) -> HttpFunction:
    """A function as the framework takes it, which also answers /health/live, /health/ready and /metrics, to whoever asks; of
    all other requests there is a line in the log.

    Its name in the manifest is that of `handle`. `metrics`: what it answers there, if not this process's. Raises
    EmulatorInTheCloud, so that such a function does not start.
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
                return metrics()
            case "/health/live" | "/health/ready" | "/metrics", _:
                return METHOD_NOT_ALLOWED
            case _:
                with access_line(handle.__name__, request.method, request.path):
                    response = flask.make_response(handle(request))
                    annotate(status=response.status_code)
                    return response

    return function


def examination(function: str) -> tuple[Checkup, list[Check]]:
    """The checks that tell whether a function is ready, and who runs them."""
    try:
        return engines().checkup, dependencies(engines(), function)
    except Exception:  # such as a malformed setting, which this check comes upon again and reports
        return Checkup(), [Check("settings", _configured, 1)]


def _configured() -> Finding:
    engines()
    return Finding(HealthStatus.HEALTHY, "valid")


def health_reply(report: Report) -> Reply:
    """200 unless it is unhealthy. Details are for admins, who ask through GraphQL."""
    body = json.dumps(report.fields(everything=False), ensure_ascii=False)
    return body, 503 if report.status is HealthStatus.UNHEALTHY else 200, _NO_STORE


def answering(handle: Callable[[], flask.Response]) -> flask.Response:
    """The handler's response, or that of the error it raised. Faults of ours are logged here and told to nobody."""
    try:
        return handle()
    except ShopError as error:
        status, code = classify(error)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.warning("could not", code=code, reason=error.message, cause=repr(error.__cause__))
        else:
            _log.info("refused", code=code, reason=error.message)
        response = error_response(status, code, error.message, error.field)
        if isinstance(error, Unavailable):
            response.headers["Retry-After"] = str(ceil(error.retry_after))
        return response
    except Exception:
        _log.exception("failed")
        return error_response(500, "INTERNAL_ERROR", "something went wrong on our side", ())
    finally:
        flush()


def error_response(status: int, code: str, message: str, field: tuple[str | int, ...]) -> flask.Response:
    body = json.dumps({"code": code, "message": message, "field": field}, ensure_ascii=False)
    return json_response(body, HTTPStatus(status))


def json_response(body: str, status: HTTPStatus = HTTPStatus.OK) -> flask.Response:
    return flask.Response(body, status, mimetype="application/json")


def body_of(request: flask.Request, limit: int) -> bytes:
    """The request's body. Raises Invalid when it is larger than `limit` bytes."""
    request.max_content_length = limit
    try:
        return request.get_data()
    except RequestEntityTooLarge:
        request.max_content_length = None  # the framework reads the rest before it answers, or the client sees a reset
        raise Invalid(f"the body is larger than {limit} bytes") from None


def header(request: flask.Request, name: str, default: str, longest: int = 200) -> str:
    """A header that will be stored. Raises Invalid unless it is printable ASCII and no longer."""
    value = request.headers.get(name, default)
    if not (0 < len(value) <= longest and value.isascii() and value.isprintable()):
        raise Invalid(f"the header {name} must be 1 to {longest} printable ASCII characters", (name,))
    return value


class Work(NamedTuple):
    """Counters by one label and the code, and how long it took by that label."""

    total: str
    seconds: str | None = None


COMMANDS = Work("shop_commands_total", "shop_command_duration_seconds")
DELIVERIES = Work("shop_deliveries_total", "shop_delivery_duration_seconds")
RUNS = Work("shop_scheduled_runs_total")


@dataclass
class Piece:
    """One piece of work. `label`: what it counts as; the function's name until somebody knows better."""

    label: str


@contextmanager
def measured(work: Work, function: str) -> Iterator[Piece]:
    """Count what is done inside, and as an error of the function what it raises."""
    piece, began, code = Piece(function), clock.monotonic(), "OK"
    try:
        yield piece
    except BaseException as error:
        _, code = classify(error)
        count("shop_errors_total", function, code)
        raise
    finally:
        count(work.total, piece.label, code)
        if work.seconds:
            observe(work.seconds, clock.monotonic() - began, piece.label)


def parse_json(body: bytes | str) -> Any:
    """JSON with exact decimals. Raises Invalid for anything else, NaN and Infinity included."""
    try:
        return json.loads(body, parse_float=_decimal, parse_int=_integer, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the body is not JSON: {error}") from error


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:50]} is not a number we can hold") from None


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text[:50]}... is not a number we can hold") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


_WORDS = {
    "dataclass_type": "must be a JSON object",
    "tuple_type": "must be a JSON list",
    "too_long": "must have at most {max_length} items, not {actual_length}",
    "too_short": "must have at least {min_length} items, not {actual_length}",
}
"""For what pydantic says in Python's words."""


def decode(kind: type[T], value: Any) -> T:
    """A strict dataclass from a value whose fields are named in camelCase. Raises Invalid naming the first fault."""
    try:
        decoded: T = adapter(kind).validate_python(value, by_alias=True, by_name=False)
        return decoded
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        ours = _WORDS.get(first["type"])
        words = ours.format(**first.get("ctx", {})) if ours else first["msg"].removeprefix("Value error, ")
        raise Invalid(words, first["loc"]) from error
