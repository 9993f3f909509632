"""Parse, validate and execute one GraphQL operation, and format its errors without internals."""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from inspect import isawaitable
from itertools import islice
from typing import Any, cast

import graphql
import structlog
from graphql import DocumentNode, ExecutionResult, GraphQLError, OperationDefinitionNode, execution

from shared.api.context import RequestContext, ResumePoint, SourceEvent
from shared.api.inputs import Inputs, faults_of_variables
from shared.api.limits import Measured, Meter, in_thread
from shared.api.loaders import Loaders
from shared.api.older_clients import with_current_types
from shared.api.schema import schema
from shared.config.settings import Settings
from shared.domain.errors import ShopError, TimedOut, Unavailable
from shared.observability.error_codes import status_and_code

_MAX_CACHED_CHARACTERS = 2_000  # a parsed document takes over 100 times the memory of its text
_MAX_MEASURED = 20  # kept of one document, for different numbers in its variables
_MAX_ERRORS = 20  # in one answer; each quotes the value around it, so the time for all of them grows quadratically

_log = structlog.get_logger()


@dataclass(frozen=True)
class GraphQLRequest:
    query: str
    variables: dict[str, Any]
    operation_name: str | None


@dataclass(frozen=True, eq=False)
class Document:
    """A valid document. `measured`: its operations, by what their cost depends on."""

    node: DocumentNode
    measured: dict[object, Measured] = field(default_factory=dict)

    def measure(self, operation: OperationDefinitionNode, variables: Mapping[str, Any], settings: Settings) -> Measured:
        """Measure one of the operations, or return what the same numbers gave before."""
        key = id(operation), *((name, value) for name, value in variables.items() if isinstance(value, int))
        if key not in self.measured:
            if len(self.measured) >= _MAX_MEASURED:
                self.measured.clear()
            self.measured[key] = Meter(schema(), self.node, variables, settings).operation(operation)
        return self.measured[key]


Parsed = tuple[Document | None, tuple[GraphQLError, ...]]
"""A valid document, or None and what is wrong with it."""


async def parse_document(query: str, settings: Settings) -> Parsed:
    """Parse and validate a query. Short ones are cached, long ones delay no other client. Raise
    TimedOut."""
    longest = settings.max_query_characters
    if len(query) > longest:
        return None, (GraphQLError(f"the query is longer than {longest} characters; use variables"),)
    if len(query) <= _MAX_CACHED_CHARACTERS:
        return _cached(query, settings)
    return await in_thread("documents", _validated, query, settings)


def _validated(query: str, settings: Settings) -> Parsed:
    standard = [rule for rule in graphql.specified_rules if rule not in Inputs.REPLACED]
    rules = [*standard, Inputs, *([] if settings.introspection else [graphql.NoSchemaIntrospectionCustomRule])]
    try:
        document = graphql.parse(query, max_tokens=settings.max_query_tokens)
        require_validatable(document, settings)
        document = with_current_types(document)
        hidden = not settings.introspection
        errors = graphql.validate(schema(), document, rules, max_errors=_MAX_ERRORS, hide_suggestions=hidden)
    except graphql.GraphQLSyntaxError as error:
        return None, (_syntax_error(error),)
    except GraphQLError as error:
        return None, (error,)
    except RecursionError:
        return None, (GraphQLError("the query is nested too deeply"),)
    return (None, tuple(errors)) if errors else (Document(document), ())


def _syntax_error(error: graphql.GraphQLSyntaxError) -> GraphQLError:
    """Return the error with its place in the message, which some clients show alone."""
    fault, (place, *_) = error.message.removeprefix("Syntax Error: ").rstrip("."), error.locations or (None,)
    where = f" at line {place.line}, column {place.column}" if place else ""
    message = f"the query can't be parsed{where}: {fault[:1].lower()}{fault[1:]}"
    return GraphQLError(message, error.nodes, error.source, error.positions)


_cached = lru_cache(maxsize=100)(_validated)


Prepared = execution.Executor[Any] | ExecutionResult
"""What executes an operation, or the errors that prevent it."""


async def execute(document: Document, request: GraphQLRequest, context: RequestContext) -> ExecutionResult:
    """Execute a query or mutation, unless it exceeds a limit."""
    executor = _prepare(document, request, context)
    result = executor if isinstance(executor, ExecutionResult) else execution.execute_root_selection_set(executor)
    return await result if isawaitable(result) else result


def _prepare(document: Document, request: GraphQLRequest, context: RequestContext) -> Prepared:
    settings = context.engines.settings
    try:
        require_readable(request.variables, settings)
        if operation := graphql.get_operation_ast(document.node, request.operation_name):
            variables = _variables(operation, request)
            if isinstance(variables, list):
                ours = faults_of_variables(schema(), operation, request.variables, settings.introspection)
                return ExecutionResult(None, [*islice(ours, _MAX_ERRORS)] or variables)
            context.loaders.budget.charge(document.measure(operation, variables, settings), settings)
    except GraphQLError as error:
        return ExecutionResult(None, [error])
    executor = execution.Executor.build(
        schema(),
        document.node,
        context_value=context,
        raw_variable_values=request.variables,
        operation_name=request.operation_name,
        hide_suggestions=not settings.introspection,
    )
    return ExecutionResult(None, executor) if isinstance(executor, list) else executor


def _variables(operation: OperationDefinitionNode, request: GraphQLRequest) -> list[GraphQLError] | Mapping[str, Any]:
    """Return the operation's variables with their defaults, or what is wrong with them."""
    if not operation.variable_definitions:
        return {}
    found = graphql.get_variable_values(schema(), operation.variable_definitions, request.variables, _MAX_ERRORS)
    return found if isinstance(found, list) else found.coerced


Results = AsyncGenerator[tuple[ResumePoint | None, ExecutionResult | None]]
"""A subscription's results with their resume points; a resume point may come without a result."""

Subscribed = ExecutionResult | Results


async def subscribe(document: Document, request: GraphQLRequest, context: RequestContext) -> Subscribed:
    """Return the results as they come, or one result with the errors that prevent them."""
    executor = _prepare(document, request, context)
    if isinstance(executor, ExecutionResult):
        return executor
    source = execution.create_source_event_stream(executor)
    events = await source if isawaitable(source) else source
    return (
        events if isinstance(events, ExecutionResult) else _results(executor, cast(AsyncGenerator[SourceEvent], events))
    )


async def _results(executor: execution.Executor[Any], events: AsyncGenerator[SourceEvent]) -> Results:
    """Execute each event with new loaders, so that nothing it loads is older than the event."""
    context: RequestContext = executor.context_value
    try:
        async with aclosing(events):
            async for resume_point, value in events:
                event_executor = executor.build_per_event_executor(value)
                event_executor.context_value = replace(context, loaders=Loaders(context.engines, context.queries))
                result = execution.execute_subscription_event(event_executor) if value is not None else None
                result = await result if isawaitable(result) else result
                errors = (result.errors if result and result.data is None else None) or ()
                if any(isinstance(error.original_error, Unavailable | TimedOut) for error in errors):
                    yield None, result  # without its id, so that the client gets it when it connects again
                    return
                yield resume_point, result
    except GraphQLError as error:
        yield None, ExecutionResult(None, [error])


def format_error(error: GraphQLError) -> dict[str, Any]:
    """Return the error as it is sent. An internal error is logged and sent without its message."""
    formatted = dict(error.formatted)
    original = error.original_error
    if original is None or isinstance(original, GraphQLError):
        return formatted | {"extensions": {"code": "INVALID_INPUT"} | dict(error.extensions or {})}
    if error.path is None:  # in the request itself, for example an integer of thousands of digits
        message = "the query contains a value that can't be read"
        return formatted | {"message": message, "extensions": {"code": "INVALID_INPUT"}}
    _, code = status_and_code(original)
    if not isinstance(original, ShopError):
        _log.error("failed", path=error.path, exc_info=original)
        return formatted | {"message": "something went wrong on our side", "extensions": {"code": code}}
    field = {"field": list(original.field)} if original.field else {}
    wait = {"retryAfter": original.retry_after} if isinstance(original, Unavailable) else {}
    return formatted | {"message": original.message, "extensions": {"code": code} | field | wait}


def require_validatable(document: DocumentNode, settings: Settings) -> None:
    """Raise GraphQLError for a document so large that validating it would delay other requests.

    Validation compares fields of the same name with each other, so its time grows quadratically.
    """
    counter = _Counter()
    graphql.visit(document, counter)
    _require_short(counter.longest, settings)
    for what, number, bound in (
        ("fields", counter.nodes["field"], settings.max_query_fields),
        ("fragments", counter.nodes["fragment_spread"], settings.max_query_fragments),
    ):
        if number > bound:
            raise GraphQLError(f"the query has {number} {what}; at most {bound} are allowed")


class _Counter(graphql.Visitor):
    """Counts the nodes of a document by their kind."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes = Counter[str]()
        self.longest = ""

    def enter(self, node: graphql.Node, *_: Any) -> None:
        self.nodes[node.kind] += 1
        if isinstance(node, graphql.StringValueNode):
            self.longest = max(self.longest, node.value, key=len)


def require_readable(variables: Mapping[str, Any], settings: Settings) -> None:
    """Raise GraphQLError for variables that would take long to read, however few of them are
    used."""
    pending: list[tuple[tuple[str | int, ...], Any]] = [((), variables)]
    values = 0
    while pending:
        path, value = pending.pop()
        values += 1
        if isinstance(value, str):
            _require_short(value, settings, path)
        elif isinstance(value, dict | list):
            if values + len(pending) + len(value) > settings.max_variable_values:
                raise GraphQLError(f"the variables hold more than {settings.max_variable_values} values")
            named = value.items() if isinstance(value, dict) else enumerate(value)
            pending += [((*path, name), inner) for name, inner in named]


def _require_short(text: str, settings: Settings, path: Sequence[str | int] = ()) -> None:
    longest = settings.max_string_characters
    if len(text) > longest:
        message = f"a string must have at most {longest} characters; got {len(text)}"
        raise GraphQLError(message, extensions={"field": [*path]} if path else None)
