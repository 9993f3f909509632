"""One GraphQL operation: parsed and validated, refused or executed, its errors told without what happened inside."""

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
    execute,
    get_operation_ast,
    get_variable_values,
    parse,
    specified_rules,
    validate,
)
from graphql.execution import Executor, create_source_event_stream, execute_subscription_event

from shared.api.context import Loaders, RequestContext, ResumePoint, SourceEvent
from shared.api.limits import Meter, require_affordable, require_modest
from shared.api.schema import schema
from shared.config.settings import Settings
from shared.domain.errors import ShopError, Unavailable
from shared.observability.context import classify

_KEEP_UP_TO = 4_000

_log = structlog.get_logger()


@dataclass(frozen=True)
class GraphQLRequest:
    query: str
    variables: dict[str, Any]
    operation_name: str | None


def parsed(query: str, settings: Settings) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    """The validated document, or what is wrong with it. Short ones are kept: a document takes 400 times its text."""
    longest = settings.max_query_characters
    if len(query) > longest:
        return None, (GraphQLError(f"the query is longer than {longest} characters; use variables"),)
    return _kept(query, settings) if len(query) <= _KEEP_UP_TO else _validated(query, settings)


@lru_cache(maxsize=200)
def _kept(query: str, settings: Settings) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    return _validated(query, settings)


def _validated(query: str, settings: Settings) -> tuple[DocumentNode | None, tuple[GraphQLError, ...]]:
    rules = specified_rules if settings.introspection else [*specified_rules, NoSchemaIntrospectionCustomRule]
    try:
        document = parse(query, max_tokens=settings.max_query_tokens)
        require_modest(document, settings)
        faults = validate(schema(), document, rules, max_errors=20, hide_suggestions=not settings.introspection)
    except GraphQLError as error:
        return None, (error,)
    except RecursionError:
        return None, (GraphQLError("the query is nested too deeply"),)
    return (None, tuple(faults)) if faults else (document, ())


async def carried_out(document: DocumentNode, asked: GraphQLRequest, context: RequestContext) -> ExecutionResult:
    """The result of the operation, unless it would cost more than it may."""
    settings = context.engines.settings
    if too_much := _too_much(document, asked, settings):
        return ExecutionResult(None, [too_much])
    result = execute(
        schema(),
        document,
        context_value=context,
        variable_values=asked.variables,
        operation_name=asked.operation_name,
        hide_suggestions=not settings.introspection,
    )
    return await result if isawaitable(result) else result


def _too_much(document: DocumentNode, asked: GraphQLRequest, settings: Settings) -> GraphQLError | None:
    operation = get_operation_ast(document, asked.operation_name)
    if operation is None:
        return None
    variables = get_variable_values(schema(), operation.variable_definitions or (), asked.variables)
    if isinstance(variables, list):
        return None  # nothing will run, and the executor says what is wrong with them
    try:
        measured = Meter(schema(), document, variables.coerced, settings).operation(operation)
        require_affordable(measured, settings)
    except GraphQLError as error:
        return error
    return None


Results = AsyncGenerator[tuple[ResumePoint | None, ExecutionResult | None]]
"""Of a subscription, each with the place after which to go on, where there is one. A place may come without a result."""


async def subscribed(
    document: DocumentNode, asked: GraphQLRequest, context: RequestContext
) -> ExecutionResult | Results:
    """The results of a subscription as they come, or why there will be none."""
    settings = context.engines.settings
    if too_much := _too_much(document, asked, settings):
        return ExecutionResult(None, [too_much])
    executor = Executor.build(
        schema(),
        document,
        context_value=context,
        raw_variable_values=asked.variables,
        operation_name=asked.operation_name,
        hide_suggestions=not settings.introspection,
    )
    if isinstance(executor, list):
        return ExecutionResult(None, executor)
    source = create_source_event_stream(executor)
    found = await source if isawaitable(source) else source
    return found if isinstance(found, ExecutionResult) else _results(executor, cast(AsyncGenerator[SourceEvent], found))


async def _results(executor: Executor[Any], source: AsyncGenerator[SourceEvent]) -> Results:
    """Each event is a request of its own: what is loaded for it is no older than it is."""
    request: RequestContext = executor.context_value
    try:
        async with aclosing(source):
            async for place, value in source:
                one = executor.build_per_event_executor(value)
                one.context_value = replace(request, loaders=Loaders(request.queries))
                result = execute_subscription_event(one) if value is not None else None
                yield place, await result if isawaitable(result) else result
    except GraphQLError as error:
        yield None, ExecutionResult(None, [error])


def formatted(error: GraphQLError) -> dict[str, Any]:
    """An error without a path is about the request itself: syntax, validation, variables."""
    plain = dict(error.formatted)
    original = error.original_error
    if (
        error.path is None and original is not None and not isinstance(original, GraphQLError)
    ):  # such as an integer of thousands of digits
        return plain | {
            "message": "the query holds a value that can't be read",
            "extensions": {"code": "INVALID_INPUT"},
        }
    if original is None or isinstance(original, GraphQLError):
        code_and_field = {"code": "INVALID_INPUT"} | _in_a_variable(error.message)
        return plain | {"extensions": code_and_field | dict(error.extensions or {})}
    _, code = classify(original)
    if not isinstance(original, ShopError):
        _log.error("failed", path=error.path, exc_info=original)
        return plain | {"message": "something went wrong on our side", "extensions": {"code": code}}
    field = {"field": list(original.field)} if original.field else {}
    wait = {"retryAfter": original.retry_after} if isinstance(original, Unavailable) else {}
    return plain | {"message": original.message, "extensions": {"code": code} | field | wait}


_VARIABLE = re.compile(r"Variable '\$(\w+)' has invalid value(?: at ((?:\.\w+|\[\d+\])+))?: ")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


def _in_a_variable(message: str) -> dict[str, Any]:
    """Where the fault lies in the variables: graphql-core says it in words only."""
    found = _VARIABLE.match(message)
    if found is None:
        return {}
    steps = (name or int(index) for name, index in _STEP.findall(found[2] or ""))
    return {"field": [found[1], *steps]}
