"""The decorator that makes a function of a command: decode, answer once, map errors."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import flask
import functions_framework
from flask.typing import ResponseReturnValue

from shared.auth.permissions import Permission, require
from shared.domain.decoding import decode, parse_json
from shared.domain.errors import ShopError
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import EventStore
from shared.observability.context import Context, fresh, within
from shared.runtime.engines import engines
from shared.runtime.http import answering, body_of, header, json_response
from shared.runtime.idempotency import Request, answer, earlier_answer, fingerprint, recording

Command = TypeVar("Command")
Handler = Callable[[Command, EventStore], Loaded[Any]]
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

HttpFunction = Callable[[flask.Request], ResponseReturnValue]


def command(kind: type[Command], permission: Permission) -> Callable[[Handler[Command]], HttpFunction]:
    """An HTTP function that takes the command as a JSON object in a POST.

    Headers: `Idempotency-Key` (a repeated one gets the first answer again), `X-Correlation-Id`, `X-Actor`,
    `traceparent`. Answers 200 with `{stream, version, entity}`, or an error `{code, message, field}`.
    """

    def decorate(handle: Handler[Command]) -> HttpFunction:
        @functions_framework.http
        @wraps(handle)
        def function(request: flask.Request) -> flask.Response:
            if request.method != "POST":
                return flask.Response(status=405, headers={"Allow": "POST"})
            return answering(lambda: _carry_out(request, kind, permission, handle))

        return function

    return decorate


def _carry_out(
    request: flask.Request, kind: type[Command], permission: Permission, handle: Handler[Command]
) -> flask.Response:
    context = _context(request)
    require(permission, context.actor)
    store = engines().event_store
    body = body_of(request, engines().settings.max_body_bytes)
    asked = Request(context.causation_id, fingerprint(handle.__name__, body))
    decoded = decode(kind, parse_json(body))
    with within(context), recording(asked):
        earlier = earlier_answer(store, asked)
        if earlier is not None:
            return json_response(earlier)
        try:
            return json_response(answer(handle(decoded, store)))
        except ShopError:  # perhaps only because the same request, at the same moment, was faster
            recorded = earlier_answer(store, asked)
            if recorded is None:
                raise
            return json_response(recorded)


def _context(request: flask.Request) -> Context:
    new = fresh()
    return Context(
        correlation_id=header(request, "X-Correlation-Id", new.correlation_id),
        causation_id=header(request, "Idempotency-Key", new.causation_id),
        actor=header(request, "X-Actor", "nobody"),
        traceparent=_traceparent(request),
    )


def _traceparent(request: flask.Request) -> str | None:
    """W3C Trace Context says to ignore one that is malformed."""
    value = request.headers.get("traceparent", "")
    return value if _TRACEPARENT.fullmatch(value) else None
