"""Bind schema.graphql to its resolvers and its scalars: exact decimals and times in UTC."""

import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from graphql import (
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    build_schema,
)
from graphql.error import located_error
from graphql.language import ast
from pydantic.alias_generators import to_snake

from shared.api import connections
from shared.api.context import Info, LiveField, Resolver, Resolvers, SourceEvent
from shared.api.nulls import take_nulls_as_defaults
from shared.api.resolvers import (
    categories,
    dead_letters,
    event_history,
    events,
    executions,
    faults,
    health,
    memory,
    messages,
    operators,
    orders,
    products,
    projections,
    sagas,
    statistics,
    stuck,
    viewer,
)
from shared.config.manifest import ROOT
from shared.monitoring.recorder import watched

MODULES = (
    categories,
    products,
    orders,
    viewer,
    events,
    event_history,
    sagas,
    messages,
    operators,
    dead_letters,
    executions,
    faults,
    projections,
    health,
    statistics,
    memory,
    stuck,
    connections,
)
"""Every module of resolvers/, and the connections. Each has a table RESOLVERS."""

_ROOT_TYPES = ("Query", "Mutation", "Subscription")


class UnboundField(Exception):
    """A root field has no resolver, a resolver has no field, or a field has two resolvers."""


@lru_cache
def schema() -> GraphQLSchema:
    """Return schema.graphql with its resolvers. Raises UnboundField."""
    return bound((ROOT / "schema.graphql").read_text(), resolvers())


def resolvers() -> Resolvers:
    """Return the resolvers of all modules. Raises UnboundField."""
    return merged([module.RESOLVERS for module in MODULES])


def merged(tables: Sequence[Resolvers]) -> Resolvers:
    """Return one table for all. Raises UnboundField for a field that two tables resolve."""
    merged: dict[str, dict[str, Resolver | LiveField]] = {}
    for table in tables:
        for type_name, fields in table.items():
            known = merged.setdefault(type_name, {})
            if twice := known.keys() & fields.keys():
                raise UnboundField(f"two modules resolve {_names(type_name, twice)}")
            known |= fields
    return merged


def bound(sdl: str, resolvers: Resolvers) -> GraphQLSchema:
    """Return the schema of the text with these resolvers. Raises UnboundField."""
    schema = build_schema(sdl)
    bind_scalars(schema)
    if unknown := set(resolvers) - set(schema.type_map):
        raise UnboundField(f"the schema has no type {', '.join(sorted(unknown))}")
    for name, kind in schema.type_map.items():
        if isinstance(kind, GraphQLObjectType) and not name.startswith("__"):
            _bind(kind, resolvers.get(name, {}), name in _ROOT_TYPES)
        elif isinstance(kind, GraphQLInterfaceType):
            kind.resolve_type = viewer.kind_of
    take_nulls_as_defaults(schema)
    return schema


def _bind(kind: GraphQLObjectType, resolvers: Mapping[str, Resolver | LiveField], is_root: bool) -> None:
    if unknown := resolvers.keys() - kind.fields.keys():
        raise UnboundField(f"the schema has no field {_names(kind.name, unknown)}")
    if is_root and (missing := kind.fields.keys() - resolvers.keys()):
        raise UnboundField(f"nothing resolves {_names(kind.name, missing)}")
    for name, field in kind.fields.items():
        match resolvers.get(name):
            case LiveField() as subscription:
                field.subscribe, field.resolve = _located(subscription), subscription.resolve
            case None:
                field.resolve = _attribute(to_snake(name))
            case resolver:
                field.resolve = _recorded(name, resolver) if kind.name == "Query" else resolver


def _names(type_name: str, fields: Iterable[str]) -> str:
    return ", ".join(f"{type_name}.{field}" for field in sorted(fields))


def _attribute(key: str) -> Resolver:
    """Read the field from its parent: a dict, or a dataclass."""
    return lambda parent, _: parent.get(key) if isinstance(parent, Mapping) else getattr(parent, key)


def _recorded(name: str, resolve: Resolver) -> Resolver:
    """Record each call of a query in the history of executions."""

    async def recorded(root: Any, info: Info, /, **arguments: Any) -> Any:
        request = info.context
        with watched(request.engines.recorder, "query", name, request.context, arguments) as watch:
            result = await resolve(root, info, **arguments)
            found = result.edges if isinstance(result, connections.Connection) else result
            watch.results = len(found) if isinstance(found, list) else int(found is not None)
            return result

    return recorded


def _located(subscription: LiveField) -> Resolver:
    """Report an error that ends the events at the subscription's field."""

    async def subscribe(_: Any, info: Info, **arguments: Any) -> AsyncGenerator[SourceEvent]:
        return located(await subscription.subscribe(info, **arguments), info)

    async def located(events: AsyncGenerator[SourceEvent], info: Info) -> AsyncGenerator[SourceEvent]:
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
        except Exception as error:
            raise located_error(error, info.field_nodes, info.path.as_list()) from error

    return subscribe


_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)


def decimal_out(value: Any) -> str:
    return format(Decimal(value), "f")


def decimal_in(value: Any) -> Decimal:
    """From a string, an integer, or a JSON number that was parsed as a Decimal."""
    text = str(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""
    if not _NUMBER.fullmatch(text):
        raise GraphQLError(f'Decimal must be a number such as "12.50", not {value!r:.50}')
    return Decimal(text)


def decimal_literal(node: ast.ValueNode) -> Decimal:
    if not isinstance(node, ast.StringValueNode | ast.IntValueNode | ast.FloatValueNode):
        raise GraphQLError("Decimal must be a number or a string", node)
    return decimal_in(node.value)


def datetime_out(value: Any) -> str:
    """From a datetime or its ISO 8601 form."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def datetime_in(value: Any) -> datetime:
    """From RFC 3339 with a time zone."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise GraphQLError(f"DateTime must be RFC 3339 such as 2026-04-01T09:00:00Z, not {value!r:.50}")
    return moment.astimezone(UTC)


MAX_EXACT = 2**53 - 1  # the largest integer that every JSON reader keeps exact


def long_out(value: int) -> int | str:
    return value if abs(value) <= MAX_EXACT else str(value)


def int_in(value: Any) -> int:
    """From a whole number of up to 53 bits: GraphQL's 32 bits are too few for a position in the log.

    JSON has one kind of number, so 2.0 and 2e0 are 2, as the specification of GraphQL says."""
    number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if not number or abs(value) > MAX_EXACT or value != int(value):
        raise GraphQLError(f"Int must be a whole number of at most 53 bits, not {value!r:.50}")
    return int(value)


def int_literal(node: ast.ValueNode, _variables: Any = None) -> int:
    if not isinstance(node, ast.IntValueNode):
        raise GraphQLError("Int must be a whole number", node)
    return int_in(int(node.value))


_SCALARS: Mapping[str, tuple[Any, Any, Any]] = {
    "Decimal": (decimal_out, decimal_in, decimal_literal),
    "DateTime": (datetime_out, datetime_in, None),
    "Int": (long_out, int_in, int_literal),
    "Long": (long_out, int_in, int_literal),
}
"""How each scalar is written, read from a variable, and from a literal. `Int` belongs to graphql-core
and so to every schema of the process, of which the shop has one."""


def bind_scalars(schema: GraphQLSchema) -> None:
    for name, (out, variable, literal) in _SCALARS.items():
        scalar = schema.type_map[name]
        assert isinstance(scalar, GraphQLScalarType)
        scalar.coerce_output_value, scalar.coerce_input_value = out, variable
        scalar.coerce_input_literal = literal
