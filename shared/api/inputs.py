"""Find what is wrong with the inputs of an operation, literals and variables, and say it in our
words."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard
from uuid import UUID

import graphql
from graphql import GraphQLArgument, GraphQLError, GraphQLInputType, GraphQLSchema, ValidationRule
from graphql.language import ast

from shared.api.scalars import exact
from shared.domain.errors import Invalid, Path
from shared.domain.faults import NULL, OBJECT, REQUIRED, UUID_FORM, at, must_be, one_of, unknown

Fault = tuple[Path, str]
"""The path of a value and what is wrong with it."""


def faults(value: Any, kind: GraphQLInputType, path: Path, names: bool = True) -> Iterator[Fault]:
    """Yield what is wrong with a value of a variable, or with a literal. `names`: name what is
    allowed instead."""
    if isinstance(value, ast.VariableNode):
        return
    is_null = value is None or isinstance(value, ast.NullValueNode)
    match kind:
        case graphql.GraphQLNonNull():
            yield from [(path, NULL)] if is_null else faults(value, kind.of_type, path, names)
        case _ if is_null:
            return
        case graphql.GraphQLList():
            items = value.values if isinstance(value, ast.ListValueNode) else value
            many = isinstance(items, list | tuple)
            for index, item in enumerate(items if many else [value]):
                yield from faults(item, kind.of_type, (*path, index) if many else path, names)
        case graphql.GraphQLInputObjectType():
            yield from _of_object(value, kind, path, names)
        case _:
            yield from [(path, fault) for fault in _of_leaf(value, kind, names)]


def _of_object(value: Any, kind: graphql.GraphQLInputObjectType, path: Path, names: bool) -> Iterator[Fault]:
    if isinstance(value, ast.ObjectValueNode):
        value = {field.name.value: field.value for field in value.fields}
    if not isinstance(value, dict):
        yield path, must_be(OBJECT, _plain(value))
        return
    for name, field in kind.fields.items():
        if name in value:
            yield from faults(value[name], field.type, (*path, name), names)
        elif graphql.is_required_input_field(field):
            yield (*path, name), REQUIRED
    for name in value.keys() - kind.fields.keys():
        yield (*path, name), unknown(kind.name, kind.fields if names else ())


def _of_leaf(value: Any, kind: Any, names: bool) -> Iterator[str]:
    """Yield at most one fault."""
    if isinstance(kind, graphql.GraphQLEnumType):
        given, right = _plain(value), ast.EnumValueNode if isinstance(value, ast.ValueNode) else str
        if not isinstance(value, right) or given not in kind.values:
            yield one_of(kind.values, given) if names else f"is not a value of {kind.name}"
        return
    try:
        if isinstance(value, ast.ValueNode) and kind.coerce_input_literal:
            kind.coerce_input_literal(value)
        else:
            kind.coerce_input_value(_plain(value))
    except GraphQLError as error:
        yield error.message


def _plain(value: Any) -> Any:
    return exact(value) if isinstance(value, ast.ValueNode) else value


def uuid(text: str, *argument: str) -> str:
    """Return the id in its canonical form. `argument`: its path. Raise Invalid."""
    try:
        return str(UUID(text))
    except ValueError:
        raise Invalid(at(argument, must_be(UUID_FORM, text)), argument) from None


class Inputs(ValidationRule):
    """Replaces graphql-core's rules for the values, the names and the presence of arguments: one
    wording per fault."""

    REPLACED = (graphql.ValuesOfCorrectTypeRule, graphql.KnownArgumentNamesRule, graphql.ProvidedRequiredArgumentsRule)

    def enter_field(self, node: ast.FieldNode, *_: Any) -> None:
        if field := self.context.get_field_def():
            self._check(node, field.args, f"argument of {node.name.value}")

    def enter_directive(self, node: ast.DirectiveNode, *_: Any) -> None:
        if directive := self.context.get_directive():
            self._check(node, directive.args, f"argument of @{node.name.value}")

    def enter_variable_definition(self, node: ast.VariableDefinitionNode, *_: Any) -> None:
        kind = graphql.type_from_ast(self.context.schema, node.type)
        if node.default_value and _is_input(kind):
            self._report(faults(node.default_value, kind, (node.variable.name.value,), self._names), node.default_value)

    @property
    def _names(self) -> bool:
        return not self.context.hide_suggestions

    def _check(
        self, node: ast.FieldNode | ast.DirectiveNode, expected: Mapping[str, GraphQLArgument], what: str
    ) -> None:
        given = {argument.name.value: argument for argument in node.arguments or ()}
        missing = [name for name, one in expected.items() if graphql.is_required_argument(one) and name not in given]
        self._report(iter([((name,), REQUIRED) for name in missing]), node)
        for name, argument in given.items():
            if name in expected:
                self._report(faults(argument.value, expected[name].type, (name,), self._names), argument.value)
            else:
                known = f"; its arguments are {', '.join(expected)}" if expected and self._names else ""
                self._report(iter([((name,), f"is not an {what}{known}")]), argument)

    def _report(self, found: Iterator[Fault], node: ast.Node) -> None:
        for fault in found:
            self.report_error(error_of(fault, node))


def error_of(fault: Fault, node: ast.Node) -> GraphQLError:
    path, words = fault
    return GraphQLError(at(path, words), node, extensions={"field": [*path]})


def faults_of_variables(
    schema: GraphQLSchema, operation: ast.OperationDefinitionNode, given: Mapping[str, Any], names: bool
) -> Iterator[GraphQLError]:
    """Yield what is wrong with the values of the operation's variables; the path begins with the
    variable's name."""
    for node in operation.variable_definitions or ():
        name, kind = node.variable.name.value, graphql.type_from_ast(schema, node.type)
        assert _is_input(kind)  # the document is valid
        if name in given:
            yield from (error_of(fault, node) for fault in faults(given[name], kind, (name,), names))
        elif graphql.is_non_null_type(kind) and not node.default_value:
            yield error_of(((name,), REQUIRED), node)


def _is_input(kind: Any) -> TypeGuard[GraphQLInputType]:
    return graphql.is_input_type(kind)


_TRACE_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


def trace_id(text: str | None) -> str | None:
    """Return the id of a trace in small letters; None for none. Raise Invalid."""
    if text is not None and not _TRACE_ID.fullmatch(text.lower()):
        wanted = "a trace id: 32 hexadecimal digits, as in a traceparent"
        raise Invalid(at(("filter", "traceId"), must_be(wanted, text)), ("filter", "traceId"))
    return text and text.lower()
