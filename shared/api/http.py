"""GraphQL over HTTP, after the specification of that name (graphql.github.io/graphql-over-http), and over server-sent events
after the protocol of graphql-sse (its distinct connections)."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, aclosing
from math import ceil
from typing import Any

from graphql import DocumentNode, ExecutionResult, OperationType, get_operation_ast
from starlette.requests import Request
from starlette.responses import Response

from shared.api.context import RequestContext, consistency_extensions
from shared.api.operation import GraphQLRequest, Results, carried_out, formatted, parsed, subscribed
from shared.api.sse import COMPLETE, EVENT_STREAM, STREAM_HEADERS, EventStream, Frame, dumped, frame
from shared.auth.permissions import DEVELOPER
from shared.domain.errors import Invalid, TimedOut, Unavailable
from shared.event_store.tail import TooSlow
from shared.monitoring.metrics import count
from shared.observability.context import annotate, classify, describe
from shared.resilience.calls import time_left
from shared.runtime.http import parse_json

RESPONSE_JSON = "application/graphql-response+json"
PLAIN_JSON = "application/json"

_BODY_SECONDS = 10.0
_READ_AT_MOST = 32_000_000
"""Bytes of one request, which is what Cloud Run lets through."""


class HttpRefusal(Exception):
    """The request is answered with `status` and never becomes an operation."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
        self.extensions: Mapping[str, Any] = {"code": "INVALID_INPUT"}


class RetryLater(HttpRefusal):
    """The same request may be taken after `wait` seconds."""

    def __init__(self, status: int, message: str, wait: int, code: str = "SERVICE_UNAVAILABLE") -> None:
        super().__init__(status, message, {"Retry-After": str(wait)})
        self.extensions = {"code": code, "retryAfter": wait}


def unavailable(error: Unavailable | TimedOut) -> Response:
    """It could not even be found out who asks."""
    wait = ceil(error.retry_after) if isinstance(error, Unavailable) else 1
    return _refusal(RetryLater(503, error.message, wait, classify(error)[1]), PLAIN_JSON)


async def answer(request: Request, context: Callable[[], RequestContext], wait: int) -> Response:
    """`context`: made when the request is taken; may raise Invalid. `wait`: seconds until this client may ask again; 0 lets
    it ask now.

    Status 400 or above when there is no result at all; a result with errors in some fields is 200."""
    accept = request.headers.get("accept", "*/*")
    try:
        media_type = accepted(accept)
    except HttpRefusal as refused:
        return _refusal(refused, PLAIN_JSON)
    try:
        if wait:
            raise RetryLater(429, f"too many requests; try again in {wait} seconds", wait)
        made = _made(context)
        settings = made.engines.settings
        asked = await _asked(request, settings.max_body_bytes)
        document, faults = parsed(asked.query, settings)
        if document is not None:
            _name(document, asked)
        if document is not None and _is_subscription(document, asked):
            return await _subscription(document, asked, made, accept)
        if document is not None and request.method == "GET":
            _require_query(document, asked.operation_name)
        result = ExecutionResult(None, list(faults)) if document is None else await carried_out(document, asked, made)
    except HttpRefusal as refused:
        return _refusal(refused, media_type)
    return _response(result, media_type, consistency_extensions(made.queries, made.written))


def _name(document: DocumentNode, asked: GraphQLRequest) -> None:
    """For the log and the trace."""
    if operation := get_operation_ast(document, asked.operation_name):
        kind, name = operation.operation.value, operation.name.value[:100] if operation.name else None
        annotate(operation=kind, **({"name": name} if name else {}))
        describe({"graphql.operation.type": kind, **({"graphql.operation.name": name} if name else {})})


def _is_subscription(document: DocumentNode, asked: GraphQLRequest) -> bool:
    operation = get_operation_ast(document, asked.operation_name)
    return operation is not None and operation.operation is OperationType.SUBSCRIPTION


async def _subscription(document: DocumentNode, asked: GraphQLRequest, made: RequestContext, accept: str) -> Response:
    with ExitStack() as leaving:
        leaving.callback(_seat(made, accept))
        results = await subscribed(document, asked, made)
        if isinstance(results, ExecutionResult):
            count("shop_subscriptions_total", "REFUSED")
            return _response(results, EVENT_STREAM, {})
        return EventStream(_frames(results), made.engines.settings, leaving.pop_all().close)


def _seat(made: RequestContext, accept: str) -> Callable[[], None]:
    """One among the subscribers; how to leave it. Raises Refused."""
    if refused := _no_seat(made, accept):
        count("shop_subscriptions_total", "REFUSED")
        raise refused
    return made.engines.subscription_quota.take(made.client)


def _no_seat(made: RequestContext, accept: str) -> HttpRefusal | None:
    """Why not. All who don't sign in on a developer's machine are one client, so there only the seats count."""
    quota, most = made.engines.subscription_quota, made.engines.settings.max_subscriptions_per_client
    if EVENT_STREAM not in _ranges(accept):
        return HttpRefusal(406, f"a subscription is answered as {EVENT_STREAM}: send the header Accept: {EVENT_STREAM}")
    if quota.full:
        return RetryLater(503, "there are too many subscribers; try again in 5 seconds", 5)
    if quota.exhausted_by(made.client) and made.actor != DEVELOPER:
        return RetryLater(429, f"you have {most} subscriptions open, as many as you may; end one of them first", 5)
    return None


async def _frames(results: Results) -> AsyncGenerator[Frame]:
    async with aclosing(results):
        async for place, result in results:
            chunk = frame(_content(result) if result else None, place)
            yield Frame(chunk) if place else Frame(chunk, "SLOW" if _is_too_slow(result) else "FAILED")


def _is_too_slow(result: ExecutionResult | None) -> bool:
    return any(isinstance(error.original_error, TooSlow) for error in (result and result.errors) or ())


def _made(context: Callable[[], RequestContext]) -> RequestContext:
    try:
        return context()
    except Invalid as error:
        raise HttpRefusal(400, error.message) from error


def accepted(accept: str) -> str:
    """The best media type we can answer with. Who names none gets plain JSON, as clients always have."""
    ranges = _ranges(accept)
    for wanted in ranges:
        if wanted in (RESPONSE_JSON, PLAIN_JSON, EVENT_STREAM):
            return wanted
    if {"*/*", "application/*", ""} & set(ranges):
        return PLAIN_JSON
    raise HttpRefusal(406, f"this endpoint answers with {RESPONSE_JSON}, {PLAIN_JSON} or {EVENT_STREAM}")


def _ranges(accept: str) -> list[str]:
    return [part.partition(";")[0].strip().lower() for part in accept.split(",")]


async def _asked(request: Request, max_body: int) -> GraphQLRequest:
    match request.method:
        case "GET":
            given = dict(request.query_params)
            return _decoded(given | {k: _parsed(given[k]) for k in ("variables", "extensions") if given.get(k)})
        case "POST":
            content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type != PLAIN_JSON:
                raise HttpRefusal(415, f"send the query as {PLAIN_JSON}")
            return _decoded(_parsed(await _body(request, max_body)))
        case _:
            raise HttpRefusal(405, "use POST, or GET for queries", {"Allow": "GET, POST"})


async def _body(request: Request, max_body: int) -> bytes:
    """What is too much is read too, within bounds: a client that is still sending when we close may never see the answer."""
    body, read = bytearray(), 0
    try:
        async with asyncio.timeout(time_left(_BODY_SECONDS)):
            async for chunk in request.stream():
                read += len(chunk)
                if read > _READ_AT_MOST:
                    break
                if read <= max_body:
                    body += chunk
    except TimeoutError:
        raise HttpRefusal(408, "the body did not arrive in time", {"Connection": "close"}) from None
    if read > max_body:
        raise HttpRefusal(413, f"the body is larger than {max_body} bytes")
    return bytes(body)


def _parsed(text: str | bytes) -> Any:
    try:
        return parse_json(text)
    except Invalid as error:
        raise HttpRefusal(400, error.message) from error


def _decoded(given: Any) -> GraphQLRequest:
    if isinstance(given, list):
        raise HttpRefusal(400, "a list of requests (a batch) is not taken; send one JSON object for each request")
    if not isinstance(given, dict):
        raise HttpRefusal(400, "send one JSON object with `query`, and `variables` and `operationName` as needed")
    query, variables, name = given.get("query"), given.get("variables"), given.get("operationName")
    if not isinstance(query, str) or not query:
        raise HttpRefusal(400, "`query` must be a string")
    if not isinstance(variables, dict | None):
        raise HttpRefusal(400, "`variables` must be an object")
    if not isinstance(name, str | None):
        raise HttpRefusal(400, "`operationName` must be a string")
    if not isinstance(given.get("extensions"), dict | None):
        raise HttpRefusal(400, "`extensions` must be an object")
    return GraphQLRequest(query, variables or {}, name or None)


def _require_query(document: DocumentNode, operation_name: str | None) -> None:
    operation = get_operation_ast(document, operation_name)
    if operation is not None and operation.operation is not OperationType.QUERY:
        raise HttpRefusal(405, "GET is for queries; POST anything else", {"Allow": "POST"})


def _response(result: ExecutionResult, media_type: str, consistency: Mapping[str, Any]) -> Response:
    body = _content(result)
    _count(body)
    if consistency:
        body["extensions"] = {"consistency": consistency}
    headers = {"Consistency": consistency["token"]} if "token" in consistency else {}
    if media_type == EVENT_STREAM:
        return Response(frame(body) + COMPLETE, 200, {**STREAM_HEADERS, **headers})
    return _json(body, 400 if "data" not in body and media_type == RESPONSE_JSON else 200, media_type, headers)


def _content(result: ExecutionResult) -> dict[str, Any]:
    """Without data when the operation never began."""
    body: dict[str, Any] = {}
    if result.errors:
        body["errors"] = [formatted(error) for error in result.errors]
    if result.data is not None or any(error.path for error in result.errors or ()):
        body["data"] = result.data
    return body


def _refusal(refused: HttpRefusal, media_type: str) -> Response:
    error = {"message": refused.message, "extensions": refused.extensions}
    kind = PLAIN_JSON if media_type == EVENT_STREAM else media_type
    _count({"errors": [error]})
    return _json({"errors": [error]}, refused.status, kind, refused.headers)


def _count(body: Mapping[str, Any]) -> None:
    """The answer by its outcome, and its errors by their codes."""
    count("shop_graphql_requests_total", "REFUSED" if "data" not in body else "ERRORS" if "errors" in body else "OK")
    codes = [error["extensions"]["code"] for error in body.get("errors", ())]
    for code in codes:
        count("shop_errors_total", "graphql", code)
    if codes:
        annotate(errors=sorted(set(codes)))


def _json(body: Any, status: int, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(dumped(body), status, {"Content-Type": f"{media_type}; charset=utf-8", **(headers or {})})
