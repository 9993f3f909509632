"""The schema's own scalars: exact decimals and UTC times."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from graphql import (
    FloatValueNode,
    GraphQLError,
    GraphQLScalarType,
    GraphQLSchema,
    IntValueNode,
    StringValueNode,
    ValueNode,
)

_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)


def decimal_out(value: Any) -> str:
    return format(Decimal(value), "f")


def decimal_in(value: Any) -> Decimal:
    """From a string, an integer, or a JSON number that was parsed as a Decimal."""
    text = str(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""
    if not _NUMBER.fullmatch(text):
        raise GraphQLError(f'Decimal must be a number such as "12.50", not {value!r:.50}')
    return Decimal(text)


def decimal_literal(node: ValueNode) -> Decimal:
    if not isinstance(node, StringValueNode | IntValueNode | FloatValueNode):
        raise GraphQLError("Decimal must be a number or a string", node)
    return decimal_in(node.value)


def datetime_out(value: Any) -> str:
    """From a datetime or its ISO 8601 form."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def bind_scalars(schema: GraphQLSchema) -> None:
    decimal, moment = schema.type_map["Decimal"], schema.type_map["DateTime"]
    assert isinstance(decimal, GraphQLScalarType) and isinstance(moment, GraphQLScalarType)
    decimal.coerce_output_value = decimal_out
    decimal.coerce_input_value = decimal_in
    decimal.coerce_input_literal = decimal_literal
    moment.coerce_output_value = datetime_out
