"""HTTP in and out of a function: its health, bounded bodies, and errors as answers."""

import json
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from math import ceil

import flask
import functions_framework
import structlog
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from shared.auth.identity import refuse_emulator_in_the_cloud
from shared.domain.errors import Invalid, ShopError, Unavailable, classify
from shared.observability.context import flush
from shared.runtime.engines import engines
from shared.runtime.health import Check, Checkup, Finding, Report, Status, dependencies

_log = structlog.get_logger()

HttpFunction = Callable[[flask.Request], ResponseReturnValue]


Reply = tuple[str, int, dict[str, str]]
"""Body, status, headers."""

NOT_GOT: Reply = ("", 405, {"Allow": "GET, HEAD"})
_NO_STORE = {"Content-Type": "application/json", "Cache-Control": "no-store"}


def http_function(handle: HttpFunction) -> HttpFunction:
    """A function as the framework takes it, which also answers /health/live and /health/ready, to whoever asks.

    Its name in the manifest is that of `handle`. Raises EmulatorInTheCloud, so that such a function does not start.
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
            case "/health/live" | "/health/ready", _:
                return NOT_GOT
            case _:
                return handle(request)

    return function


def examination(function: str) -> tuple[Checkup, list[Check]]:
    """The checks that tell whether a function is ready, and who runs them."""
    try:
        return engines().checkup, dependencies(engines(), function)
    except Exception:  # such as a malformed setting, which this check comes upon again and reports
        return Checkup(), [Check("settings", _configured, 1)]


def _configured() -> Finding:
    engines()
    return Finding(Status.HEALTHY, "valid")


def health_reply(report: Report) -> Reply:
    """200 unless it is unhealthy. Details are for admins, who ask through GraphQL."""
    body = json.dumps(report.fields(everything=False), ensure_ascii=False)
    return body, 503 if report.status is Status.UNHEALTHY else 200, _NO_STORE


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
