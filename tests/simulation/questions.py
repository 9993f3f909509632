"""Everything that the schema lets a client ask, made from the schema, so that a new field is asked
for by itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)

from shared.api.schema import schema

_LEVELS = 3
"""Fields of fields of fields: from a list of orders through their lines to the products."""
_FEW = {"limit": 1, "first": 1}
"""Lists are short, so that no question costs too much."""
_OF_ONE = {("Order", "timeline"), ("Order", "whatHappensNow")}
"""Fields that the shop refuses to answer for each entry of a list."""
_VALUES = {"String": "Tea", "Int": 1, "Long": 1, "Decimal": "1", "Boolean": True, "JSON": {}, "Date": "2026-01-01"}
_MOMENT = "2026-01-01T00:00:10Z"


@dataclass(frozen=True)
class Question:
    """One root field with all fields below it. `needs`: its required arguments, by name."""

    field: str
    text: str
    needs: Mapping[str, GraphQLInputType]

    def variables(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return a value for each required argument. `known`: values by the names of arguments, at
        any depth; `id` of a field may be named `<field>.id`."""
        about = {**known, "id": known.get(f"{self.field}.id", known.get("id"))}
        return {name: _value(name, kind, about) for name, kind in self.needs.items()}


@cache
def questions(operation: str) -> Sequence[Question]:
    """Return the questions for each root field of `query`, `mutation` or `subscription`. A field of
    an interface has one for each of its types."""
    root = getattr(schema(), f"{operation}_type")
    return [question for name, field in root.fields.items() for question in _questions(operation, name, field)]


def _questions(operation: str, name: str, field: GraphQLField) -> Iterator[Question]:
    needs = {argument: one.type for argument, one in field.args.items() if is_required_argument(one)}
    declared = ", ".join(f"${argument}: {kind}" for argument, kind in needs.items())
    given = [f"{argument}: ${argument}" for argument in needs] + _few(field.args, needs)
    head = f"{operation}{_in_brackets([declared] if declared else [])} {{ {name}{_in_brackets(given)}"
    of_list = isinstance(get_nullable_type(field.type), GraphQLList)
    for selection in _selections(get_named_type(field.type), _LEVELS - of_list):
        yield Question(name, f"{head}{selection} }}", needs)


def _few(arguments: Mapping[str, GraphQLArgument], given: Mapping[str, object] = {}) -> list[str]:
    return [f"{name}: {value}" for name, value in _FEW.items() if name in arguments and name not in given]


def _in_brackets(parts: Sequence[str]) -> str:
    return f"({', '.join(parts)})" if parts else ""


def _selections(kind: GraphQLNamedType, levels: int) -> Iterator[str]:
    """Yield the selection of all fields down to so many levels; one for each type of an interface
    or a union."""
    if is_leaf_type(kind):
        yield ""
    elif isinstance(kind, GraphQLObjectType):
        yield f" {{ {' '.join(_fields(kind, levels))} }}"
    elif is_abstract_type(kind):
        for one in schema().get_possible_types(kind):
            yield f" {{ ... on {one.name} {{ {' '.join(_fields(one, levels))} }} }}"


def _fields(kind: GraphQLObjectType, levels: int) -> Iterator[str]:
    yield "__typename"
    for name, field in kind.fields.items():
        named = get_named_type(field.type)
        if levels < _LEVELS and (kind.name, name) in _OF_ONE:
            continue
        if (levels > 1 or is_leaf_type(named)) and not any(map(is_required_argument, field.args.values())):
            (selection,) = _selections(named, levels - 1)  # no field below a root field is of several types
            yield f"{name}{_in_brackets(_few(field.args))}{selection}"


def _value(name: str, kind: GraphQLInputType, known: Mapping[str, Any]) -> Any:
    if isinstance(kind, GraphQLNonNull):
        return _value(name, kind.of_type, known)
    if isinstance(kind, GraphQLList):
        return [_value(name, kind.of_type, known)]
    if known.get(name) is not None:
        return known[name]
    if isinstance(kind, GraphQLInputObjectType):
        fields = {field: one.type for field, one in kind.fields.items() if is_required_input_field(one)}
        return {field: _value(field, one, known) for field, one in fields.items()}
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    assert isinstance(kind, GraphQLScalarType)
    return _MOMENT if kind.name == "DateTime" else known["id"] if kind.name == "ID" else _VALUES[kind.name]
