"""Bind schema.graphql to its resolvers and its scalars."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Any

from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
)
from graphql.error import located_error
from pydantic.alias_generators import to_snake

from shared.api import connections
from shared.api.context import Info, LiveField, Resolver, Resolvers, SourceEvent
from shared.api.nulls import take_nulls_as_defaults
from shared.api.resolvers import (
    categories,
    causation,
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
    persons,
    products,
    projections,
    rebuilds,
    sagas,
    sales,
    statistics,
    stuck,
    viewer,
)
from shared.api.scalars import bind_scalars
from shared.config.manifest import ROOT
from shared.monitoring.recorder import watched

MODULES = (
    categories,
    products,
    orders,
    persons,
    sales,
    viewer,
    events,
    event_history,
    causation,
    sagas,
    messages,
    operators,
    dead_letters,
    executions,
    faults,
    projections,
    rebuilds,
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
    """Return the schema of the text, which is valid, with these resolvers. Raises UnboundField."""
    schema = build_schema(sdl, assume_valid=True, assume_valid_sdl=True, no_location=True)
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
    """Read the field from its parent, a dict or a dataclass. Charge for a list that is longer than
    was assumed."""

    def resolve(parent: Any, info: Info) -> Any:
        found = parent.get(key) if isinstance(parent, Mapping) else getattr(parent, key)
        if isinstance(found, list | tuple):
            info.context.loaders.budget.charge_list(info.field_nodes, len(found))
        return found

    return resolve


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
