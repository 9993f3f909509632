"""GraphQL over HTTP, after the specification of that name (graphql.github.io/graphql-over-http)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from inspect import isawaitable
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    OperationType,
    execute,
    get_operation_ast,
    parse,
    validate,
)
from starlette.requests import Request
from starlette.responses import Response

from shared.api.context import RequestContext
from shared.api.errors import formatted
from shared.api.limits import Limits, Meter, require_modest
from shared.api.schema import schema
from shared.domain.decoding import parse_json
from shared.domain.errors import Invalid

RESPONSE_JSON = "application/graphql-response+json"
PLAIN_JSON = "application/json"
MAX_QUERY = 50_000
"""Characters."""
MAX_TOKENS = 4_000
_KEEP_UP_TO = 4_000


class Refused(Exception):
    """The request is answered with `status` and never becomes an operation."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


@dataclass(frozen=True)
class Asked:
    query: str
    variables: dict[str, Any]
    operation_name: str | None


async def answer(request: Request, context: RequestContext, max_body: int, limits: Limits) -> Response:
    """Status 400 or above when there is no result at all; a result with errors in some fields is 200."""
    try:
        media_type = accepted(request.headers.get("accept", "*/*"))
    except Refused as refused:
        return _refusal(refused, PLAIN_JSON)
    try:
        asked = await _asked(request, max_body)
        document, faults = parsed(asked.query)
        if document is not None and request.method == "GET":
            _require_query(document, asked.operation_name)
        result = (
            ExecutionResult(None, list(faults))
            if document is None
            else await _execute(document, asked, context, limits)
        )
    except Refused as refused:
        return _refusal(refused, media_type)
    return _response(result, media_type)


def accepted(accept: str) -> str:
    """The best media type we can answer with. Who names none gets plain JSON, as clients always have."""
    ranges = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    for wanted in ranges:
        if wanted in (RESPONSE_JSON, PLAIN_JSON):
            return wanted
    if {"*/*", "application/*", ""} & set(ranges):
        return PLAIN_JSON
    raise Refused(406, f"this endpoint answers with {RESPONSE_JSON} or {PLAIN_JSON}")


async def _asked(request: Request, max_body: int) -> Asked:
    match request.method:
        case "GET":
            given = dict(request.query_params)
            return _decoded(given | {k: _parsed(given[k]) for k in ("variables", "extensions") if given.get(k)})
        case "POST":
            content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type != PLAIN_JSON:
                raise Refused(415, f"send the query as {PLAIN_JSON}")
            return _decoded(_parsed(await _body(request, max_body)))
        case _:
            raise Refused(405, "use POST, or GET for queries", {"Allow": "GET, POST"})


async def _body(request: Request, max_body: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_body:
            raise Refused(413, f"the body is larger than {max_body} bytes")
    return bytes(body)


def _parsed(text: str | bytes) -> Any:
    try:
        return parse_json(text)
    except Invalid as error:
        raise Refused(400, error.message) from error


def _decoded(given: Any) -> Asked:
    if not isinstance(given, dict):
        raise Refused(400, "send one JSON object with `query`, and `variables` and `operationName` as needed")
    query, variables, name = given.get("query"), given.get("variables"), given.get("operationName")
    if not isinstance(query, str) or not query:
        raise Refused(400, "`query` must be a string")
    if not isinstance(variables, dict | None):
        raise Refused(400, "`variables` must be an object")
    if not isinstance(name, str | None):
        raise Refused(400, "`operationName` must be a string")
    if not isinstance(given.get("extensions"), dict | None):
        raise Refused(400, "`extensions` must be an object")
    return Asked(query, variables or {}, name or None)


def parsed(query: str) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    """The validated document, or what is wrong with it. Short ones are kept: a document takes 400 times its text."""
    if len(query) > MAX_QUERY:
        return None, (GraphQLError(f"the query is longer than {MAX_QUERY} characters; use variables"),)
    return _kept(query) if len(query) <= _KEEP_UP_TO else _validated(query)


@lru_cache(maxsize=200)
def _kept(query: str) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    return _validated(query)


def _validated(query: str) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    try:
        document = parse(query, max_tokens=MAX_TOKENS)
    except GraphQLError as error:
        return None, (error,)
    except RecursionError:
        return None, (GraphQLError("the query is nested too deeply"),)
    try:
        require_modest(document)
    except GraphQLError as error:
        return None, (error,)
    faults = validate(schema(), document, max_errors=20)
    return (None, tuple(faults)) if faults else (document, ())


def _require_query(document: DocumentNode, operation_name: str | None) -> None:
    operation = get_operation_ast(document, operation_name)
    if operation is not None and operation.operation is not OperationType.QUERY:
        raise Refused(405, "GET is for queries; POST anything else", {"Allow": "POST"})


async def _execute(document: DocumentNode, asked: Asked, context: RequestContext, limits: Limits) -> ExecutionResult:
    operation = get_operation_ast(document, asked.operation_name)
    if operation is not None:
        try:
            limits.refuse(Meter(schema(), document, asked.variables).operation(operation))
        except GraphQLError as error:
            return ExecutionResult(None, [error])
    result = execute(
        schema(),
        document,
        context_value=context,
        variable_values=asked.variables,
        operation_name=asked.operation_name,
    )
    return await result if isawaitable(result) else result


def _response(result: ExecutionResult, media_type: str) -> Response:
    body: dict[str, Any] = {}
    if result.errors:
        body["errors"] = [formatted(error) for error in result.errors]
    without_result = result.data is None and not any(error.path for error in result.errors or ())
    if not without_result:
        body["data"] = result.data
    status = 400 if without_result and media_type == RESPONSE_JSON else 200
    return _json(body, status, media_type)


def _refusal(refused: Refused, media_type: str) -> Response:
    error = {"message": refused.message, "extensions": {"code": "INVALID_INPUT"}}
    return _json({"errors": [error]}, refused.status, media_type, refused.headers)


def _json(body: Any, status: int, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return Response(content, status, {"Content-Type": f"{media_type}; charset=utf-8", **(headers or {})})
