"""Parse, validate and execute one GraphQL operation, and format its errors without internals."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import lru_cache
from inspect import isawaitable
from typing import Any, cast

import structlog
from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    NoSchemaIntrospectionCustomRule,
    get_operation_ast,
    get_variable_values,
    parse,
    specified_rules,
    validate,
)
from graphql.execution import (
    Executor,
    create_source_event_stream,
    execute_root_selection_set,
    execute_subscription_event,
)

from shared.api.context import Loaders, RequestContext, ResumePoint, SourceEvent
from shared.api.limits import Meter, require_affordable, require_validatable
from shared.api.schema import schema
from shared.config.settings import Settings
from shared.domain.errors import ShopError, Unavailable
from shared.observability.context import classify

_MAX_CACHED_CHARACTERS = 2_000  # a parsed document takes over 100 times the memory of its text

_log = structlog.get_logger()


@dataclass(frozen=True)
class GraphQLRequest:
    query: str
    variables: dict[str, Any]
    operation_name: str | None


Parsed = tuple[DocumentNode | None, tuple[GraphQLError, ...]]
"""A valid document, or None and what is wrong with it."""


def parse_document(query: str, settings: Settings) -> Parsed:
    """Parse and validate a query. Short ones are cached."""
    longest = settings.max_query_characters
    if len(query) > longest:
        return None, (GraphQLError(f"the query is longer than {longest} characters; use variables"),)
    return _cached(query, settings) if len(query) <= _MAX_CACHED_CHARACTERS else _validated(query, settings)


def _validated(query: str, settings: Settings) -> Parsed:
    rules = specified_rules if settings.introspection else [*specified_rules, NoSchemaIntrospectionCustomRule]
    try:
        document = parse(query, max_tokens=settings.max_query_tokens)
        require_validatable(document, settings)
        errors = validate(schema(), document, rules, max_errors=20, hide_suggestions=not settings.introspection)
    except GraphQLError as error:
        return None, (error,)
    except RecursionError:
        return None, (GraphQLError("the query is nested too deeply"),)
    return (None, tuple(errors)) if errors else (document, ())


_cached = lru_cache(maxsize=100)(_validated)


async def execute_operation(
    document: DocumentNode, request: GraphQLRequest, context: RequestContext
) -> ExecutionResult:
    """Execute a query or mutation, unless it exceeds a limit."""
    executor = _executor(document, request, context)
    result = executor if isinstance(executor, ExecutionResult) else execute_root_selection_set(executor)
    return await result if isawaitable(result) else result


def _executor(
    document: DocumentNode, request: GraphQLRequest, context: RequestContext
) -> Executor[Any] | ExecutionResult:
    """Return an executor for the operation, or a result with the error or limit that prevents it."""
    settings = context.engines.settings
    if operation := get_operation_ast(document, request.operation_name):
        variables = get_variable_values(schema(), operation.variable_definitions or (), request.variables)
        if not isinstance(variables, list):  # a list of errors, which the executor reports, too
            try:
                require_affordable(
                    Meter(schema(), document, variables.coerced, settings).operation(operation), settings
                )
            except GraphQLError as error:
                return ExecutionResult(None, [error])
    executor = Executor.build(
        schema(),
        document,
        context_value=context,
        raw_variable_values=request.variables,
        operation_name=request.operation_name,
        hide_suggestions=not settings.introspection,
    )
    return ExecutionResult(None, executor) if isinstance(executor, list) else executor


Results = AsyncGenerator[tuple[ResumePoint | None, ExecutionResult | None]]
"""A subscription's results with their resume points; a resume point may come without a result."""


async def subscribe(
    document: DocumentNode, request: GraphQLRequest, context: RequestContext
) -> ExecutionResult | Results:
    """Return the results as they come, or one result with the errors that prevent them."""
    executor = _executor(document, request, context)
    if isinstance(executor, ExecutionResult):
        return executor
    source = create_source_event_stream(executor)
    events = await source if isawaitable(source) else source
    return (
        events if isinstance(events, ExecutionResult) else _results(executor, cast(AsyncGenerator[SourceEvent], events))
    )


async def _results(executor: Executor[Any], events: AsyncGenerator[SourceEvent]) -> Results:
    """Execute each event with new loaders, so that nothing it loads is older than the event."""
    context: RequestContext = executor.context_value
    try:
        async with aclosing(events):
            async for resume_point, value in events:
                event_executor = executor.build_per_event_executor(value)
                event_executor.context_value = replace(context, loaders=Loaders(context.queries))
                result = execute_subscription_event(event_executor) if value is not None else None
                yield resume_point, await result if isawaitable(result) else result
    except GraphQLError as error:
        yield None, ExecutionResult(None, [error])


def format_error(error: GraphQLError) -> dict[str, Any]:
    """Return the error as it is sent. An internal error is logged and sent without its message."""
    formatted = dict(error.formatted)
    original = error.original_error
    if original is None or isinstance(original, GraphQLError):
        code_and_field = {"code": "INVALID_INPUT"} | _variable_path(error.message)
        return formatted | {"extensions": code_and_field | dict(error.extensions or {})}
    if error.path is None:  # in the request itself, for example an integer of thousands of digits
        message = "the query contains a value that can't be read"
        return formatted | {"message": message, "extensions": {"code": "INVALID_INPUT"}}
    _, code = classify(original)
    if not isinstance(original, ShopError):
        _log.error("failed", path=error.path, exc_info=original)
        return formatted | {"message": "something went wrong on our side", "extensions": {"code": code}}
    field = {"field": list(original.field)} if original.field else {}
    wait = {"retryAfter": original.retry_after} if isinstance(original, Unavailable) else {}
    return formatted | {"message": original.message, "extensions": {"code": code} | field | wait}


_VARIABLE = re.compile(r"Variable '\$(\w+)' has invalid value(?: at ((?:\.\w+|\[\d+\])+))?: ")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


def _variable_path(message: str) -> dict[str, Any]:
    """Return the invalid variable's path as `field`; graphql-core has it in the message only."""
    match = _VARIABLE.match(message)
    if match is None:
        return {}
    steps = (name or int(index) for name, index in _STEP.findall(match[2] or ""))
    return {"field": [match[1], *steps]}
