"""Let null for an argument or an input field with a default mean the default, as leaving it out
does."""

from collections.abc import Callable, Mapping
from typing import Any

from graphql import GraphQLArgument, GraphQLInputField, GraphQLInputObjectType, GraphQLObjectType, GraphQLSchema
from graphql import Undefined as NoDefault
from graphql.utilities.coerce_input_value import coerce_default_value

Values = dict[str, Any]


def take_nulls_as_defaults(schema: GraphQLSchema) -> None:
    """Replace nulls before a resolver sees them. Without a default, null stays null: it clears a
    description."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLInputObjectType) and (defaults := _defaults(kind.fields)):
            kind.out_type = _filling(defaults)  # type: ignore[assignment, method-assign]
        elif isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
            for field in kind.fields.values():
                if defaults := _defaults(field.args):
                    field.resolve = _calling(field.resolve, defaults)
                    field.subscribe = _calling(field.subscribe, defaults)


def _defaults(inputs: Mapping[str, GraphQLArgument] | Mapping[str, GraphQLInputField]) -> Values:
    coerced = {name: coerce_default_value(one) for name, one in inputs.items()}
    return {name: value for name, value in coerced.items() if value is not NoDefault}


def _filling(defaults: Values) -> Callable[[Values], Values]:
    return lambda given: given | {name: value for name, value in defaults.items() if given.get(name) is None}


def _calling(resolve: Callable[..., Any] | None, defaults: Values) -> Callable[..., Any] | None:
    fill = _filling(defaults)
    return resolve and (lambda *parent_and_info, **given: resolve(*parent_and_info, **fill(given)))
