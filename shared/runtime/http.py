"""HTTP in and out of a function: bounded bodies, and errors as answers."""

import json
from collections.abc import Callable
from http import HTTPStatus
from math import ceil

import flask
import structlog
from werkzeug.exceptions import RequestEntityTooLarge

from shared.domain.errors import Invalid, ShopError, Unavailable, classify
from shared.observability.tracing import flush

_log = structlog.get_logger()


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


def header(request: flask.Request, name: str, default: str) -> str:
    """A header that will be stored. Raises Invalid unless it is up to 200 printable ASCII characters."""
    value = request.headers.get(name, default)
    if not (0 < len(value) <= 200 and value.isascii() and value.isprintable()):
        raise Invalid(f"the header {name} must be 1 to 200 printable ASCII characters", (name,))
    return value
