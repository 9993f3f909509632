"""Serve GraphQL over HTTP (graphql.github.io/graphql-over-http) and over server-sent events
(the protocol of graphql-sse, distinct connections)."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, aclosing
from typing import Any

from graphql import (
    ExecutionResult,
    GraphQLError,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
)
from starlette.requests import Request
from starlette.responses import Response

from shared.api.consistency import consistency_extensions
from shared.api.context import RequestContext
from shared.api.operation import Document, GraphQLRequest, Results, execute, format_error, parse_document, subscribe
from shared.api.persisted import persisted_queries, with_text
from shared.api.refusals import HttpRefusal, RetryLater
from shared.api.sse import COMPLETE, EVENT_STREAM, STREAM_HEADERS, EventStream, Frame, encode_event, to_json
from shared.auth.permissions import DEVELOPER, Actor
from shared.domain.errors import TimedOut
from shared.event_store.tail import TooSlow
from shared.monitoring.metrics import count
from shared.observability.context import annotate, describe
from shared.observability.error_codes import gravity
from shared.resilience.calls import OutOfTime, time_left
from shared.runtime.decode import parse_json
from shared.runtime.engines import Engines

RESPONSE_JSON = "application/graphql-response+json"
PLAIN_JSON = "application/json"

_BODY_SECONDS = 10.0
_MAX_BYTES_READ = 32_000_000  # of one request, which is Cloud Run's own limit


def refuse(refusal: HttpRefusal, request: Request | None = None) -> Response:
    """Return the refusal as JSON, in the JSON media type that the request accepts."""
    error = {"message": refusal.message, "extensions": refusal.extensions}
    media_type = RESPONSE_JSON if request and _media_type(request) == RESPONSE_JSON else PLAIN_JSON
    _count({"errors": [error]})
    return _json({"errors": [error]}, refusal.status, media_type, refusal.headers)


def accepted_media_type(request: Request) -> str:
    """Return the media type in which to answer. Raise HttpRefusal when this endpoint has none that
    the request accepts."""
    accepted = _media_type(request)
    if accepted is None:
        raise HttpRefusal(406, f"this endpoint answers with {RESPONSE_JSON}, {PLAIN_JSON} or {EVENT_STREAM}")
    return accepted


def _media_type(request: Request) -> str | None:
    """Return the first accepted media type that we have; plain JSON when the client names none."""
    ranges = _accepted(request)
    for wanted in ranges:
        if wanted in (RESPONSE_JSON, PLAIN_JSON, EVENT_STREAM):
            return wanted
    return PLAIN_JSON if {"*/*", "application/*", ""} & set(ranges) else None


def _accepted(request: Request) -> list[str]:
    return [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "*/*").split(",")]


async def execute_request(request: Request, media_type: str, context: RequestContext) -> Response:
    """Execute the operation of a request, and answer in the media type. Raises HttpRefusal or
    Invalid without an operation.

    The status is 200, also when fields have errors; 400 when there is no result at all and the
    client accepts RESPONSE_JSON.
    """
    settings = context.engines.settings
    try:
        graphql_request = await _decode(request, context.engines)
        document, errors = await parse_document(graphql_request.query, settings)
    except GraphQLError as error:
        return _response(_body(ExecutionResult(None, [error]), {}), media_type, {})
    except TimedOut:
        raise RetryLater(503, "the query could not be checked in time; try again in a moment", 1, "TIMEOUT") from None
    if document is None:
        result = ExecutionResult(None, list(errors))
    else:
        operation = get_operation_ast(document.node, graphql_request.operation_name)
        _annotate(operation)
        if operation and operation.operation is OperationType.SUBSCRIPTION:
            return await _subscription(request, document, graphql_request, context)
        if request.method == "GET" and operation and operation.operation is not OperationType.QUERY:
            raise HttpRefusal(405, "GET is for queries; POST anything else", {"Allow": "POST"})
        result = await execute(document, graphql_request, context)
    consistency = consistency_extensions(context.queries, context.written)
    extensions = about(context.actor) | ({"consistency": consistency} if consistency else {})
    headers = {"Consistency": consistency["token"]} if "token" in consistency else {}
    return _response(_body(result, extensions), media_type, headers)


def about(actor: Actor) -> dict[str, Any]:
    """Return what an answer's extensions say about the caller: why their token is not valid, if it
    is not."""
    return {"authentication": {"code": "UNAUTHENTICATED", "message": actor.problem}} if actor.problem else {}


def _annotate(operation: OperationDefinitionNode | None) -> None:
    """Name the operation in the log and in the trace."""
    if operation:
        kind, name = operation.operation.value, operation.name.value[:100] if operation.name else None
        annotate(operation=kind, **({"name": name} if name else {}))
        describe({"graphql.operation.type": kind, **({"graphql.operation.name": name} if name else {})})


async def _subscription(
    request: Request, document: Document, graphql_request: GraphQLRequest, context: RequestContext
) -> Response:
    with ExitStack() as stack:
        stack.callback(_reserve_subscription(request, context))
        results = await subscribe(document, graphql_request, context)
        if isinstance(results, ExecutionResult):
            count("shop_subscriptions_total", "REFUSED")
            return _response(_body(results, about(context.actor)), EVENT_STREAM, {})
        frames, expires = _frames(results, about(context.actor)), context.actor.expires
        return EventStream(frames, context.engines.settings, expires, stack.pop_all().close)


def _reserve_subscription(request: Request, context: RequestContext) -> Callable[[], None]:
    """Take one of the client's subscriptions; return how to release it. Raises HttpRefusal."""
    if refusal := _subscription_refusal(request, context):
        count("shop_subscriptions_total", "REFUSED")
        raise refusal
    return context.engines.subscription_quota.take(context.client)


def _subscription_refusal(request: Request, context: RequestContext) -> HttpRefusal | None:
    """Return why the client may not subscribe. The developer has no quota of their own: on a
    developer's machine all clients that don't sign in count as one."""
    quota = context.engines.subscription_quota
    if EVENT_STREAM not in _accepted(request):
        return HttpRefusal(406, f"a subscription is answered as {EVENT_STREAM}: send the header Accept: {EVENT_STREAM}")
    settings = context.engines.settings
    if quota.full or (context.actor.uid is None and quota.open_by("address ") >= settings.max_subscribers_anonymous):
        return RetryLater(503, "there are too many subscribers; try again in 5 seconds", 5)
    if quota.exhausted_by(context.client) and context.actor != DEVELOPER:
        most = settings.max_subscriptions_per_client
        return RetryLater(429, f"you have {most} subscriptions open, which is the limit; end one of them first", 5)
    return None


async def _frames(results: Results, extensions: Mapping[str, Any]) -> AsyncGenerator[Frame]:
    async with aclosing(results):
        async for resume_point, result in results:
            chunk = encode_event(_body(result, extensions) if result else None, resume_point)
            yield Frame(chunk) if resume_point else Frame(chunk, "SLOW" if _is_too_slow(result) else "FAILED")


def _is_too_slow(result: ExecutionResult | None) -> bool:
    return any(isinstance(error.original_error, TooSlow) for error in (result and result.errors) or ())


async def _decode(request: Request, engines: Engines) -> GraphQLRequest:
    """Raise HttpRefusal or Invalid for a malformed request, GraphQLError for a persisted query that
    is not known."""
    match request.method:
        case "GET":
            fields = dict(request.query_params)
            parsed = {name: parse_json(fields[name], name) for name in ("variables", "extensions") if fields.get(name)}
            return _graphql_request(fields | parsed, engines)
        case "POST":
            content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type != PLAIN_JSON:
                raise HttpRefusal(415, f"send the query as {PLAIN_JSON}")
            body = await _read_body(request, engines.settings.max_body_bytes)
            return _graphql_request(parse_json(body), engines)
        case _:
            raise HttpRefusal(405, "use POST, or GET for queries", {"Allow": "GET, POST"})


async def _read_body(request: Request, max_body: int) -> bytes:
    """Read a too large body, too, within bounds: a client may see our answer only after sending."""
    body, read = bytearray(), 0
    try:
        async with asyncio.timeout(time_left(_BODY_SECONDS)):
            async for chunk in request.stream():
                read += len(chunk)
                if read > _MAX_BYTES_READ:
                    break
                if read <= max_body:
                    body += chunk
    except (TimeoutError, OutOfTime):
        raise HttpRefusal(408, "the body did not arrive in time", {"Connection": "close"}, "TIMEOUT") from None
    if read > max_body:
        raise HttpRefusal(413, f"the body is larger than {max_body} bytes")
    return bytes(body)


def _graphql_request(fields: Any, engines: Engines) -> GraphQLRequest:
    if isinstance(fields, list):
        raise HttpRefusal(400, "a list of requests (a batch) is not supported; send one JSON object for each request")
    if not isinstance(fields, dict):
        raise HttpRefusal(400, "send one JSON object with `query`, and `variables` and `operationName` as needed")
    fields = with_text(fields, persisted_queries(engines))
    query, variables, name = fields.get("query"), fields.get("variables"), fields.get("operationName")
    if not isinstance(query, str) or not query:
        raise HttpRefusal(400, "`query` must be a string")
    for key, kind, form in (
        ("variables", dict, "an object"),
        ("extensions", dict, "an object"),
        ("operationName", str, "a string"),
    ):
        if not isinstance(fields.get(key), kind | None):
            raise HttpRefusal(400, f"`{key}` must be {form}")
    return GraphQLRequest(query, variables or {}, name or None)


def _response(body: dict[str, Any], media_type: str, headers: Mapping[str, str]) -> Response:
    _count(body)
    if media_type == EVENT_STREAM:
        return Response(encode_event(body) + COMPLETE, 200, {**STREAM_HEADERS, **headers})
    return _json(body, 400 if "data" not in body and media_type == RESPONSE_JSON else 200, media_type, headers)


def _body(result: ExecutionResult, extensions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result as JSON; without `data` when the operation did not begin."""
    body: dict[str, Any] = {}
    if result.errors:
        body["errors"] = [format_error(error) for error in result.errors]
    if result.data is not None or any(error.path for error in result.errors or ()):
        body["data"] = result.data
    return body | ({"extensions": extensions} if extensions else {})


def _count(body: Mapping[str, Any]) -> None:
    """Count the answer by its outcome and its errors by their codes."""
    outcome = "REFUSED" if "data" not in body else "ERRORS" if "errors" in body else "OK"
    count("shop_graphql_requests_total", outcome)
    annotate(outcome=outcome)
    codes = [error["extensions"]["code"] for error in body.get("errors", ())]
    for code in codes:
        count("shop_errors_total", "graphql", code)
    if codes:
        annotate(errors=sorted(set(codes)), code=min(codes, key=gravity))


def _json(body: Any, status: int, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(to_json(body), status, {"Content-Type": f"{media_type}; charset=utf-8", **(headers or {})})
