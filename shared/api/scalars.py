"""The scalars: how each is written, read from a variable, and from a literal. Exact decimals and
times in UTC."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from graphql import GraphQLError, GraphQLScalarType, GraphQLSchema
from graphql.language import ast
from graphql.utilities import value_from_ast_untyped

from shared.domain.faults import BOOLEAN, DAY, HALF_A_PAIR, MOMENT, NUMBER, STRING, WHOLE_NUMBER, must_be

MAX_EXACT = 2**53 - 1  # the largest integer that every JSON reader keeps exact

_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:)(\d\d)(?:\.(\d+))?(?:[Zz]|([+-](?:[01]\d|2[0-3]):[0-5]\d))", re.ASCII
)


def string_in(value: Any) -> str:
    if not isinstance(value, str):
        raise GraphQLError(must_be(STRING, value))
    if _SURROGATE.search(value):
        raise GraphQLError(HALF_A_PAIR)
    return value


def id_in(value: Any) -> str:
    """From a string, or from an integer, as GraphQL's specification says."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else string_in(value)


def boolean_in(value: Any) -> bool:
    if not isinstance(value, bool):
        raise GraphQLError(must_be(BOOLEAN, value))
    return value


def decimal_out(value: Any) -> str:
    return format(Decimal(value), "f")


def decimal_in(value: Any) -> Decimal:
    """From a string, an integer, or a JSON number that was parsed as a Decimal."""
    text = str(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""
    if not _NUMBER.fullmatch(text):
        raise GraphQLError(must_be(NUMBER, value))
    return Decimal(text)


def date_in(value: Any) -> date:
    """From exactly the full-date of RFC 3339, in the years 1 to 9999."""
    try:
        return date.fromisoformat(value if _DAY.fullmatch(value) else "")
    except (TypeError, ValueError) as error:
        raise GraphQLError(must_be(DAY, value)) from error


def datetime_out(value: Any) -> str:
    """From a datetime or its ISO 8601 form."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def datetime_in(value: Any) -> datetime:
    """From exactly RFC 3339, in the years 1 to 9999.

    Digits beyond the sixth after the second are dropped. A leap second, which only the end of a
    month in UTC can have, is the first moment of the next minute, as in PostgreSQL.
    """
    found = _RFC_3339.fullmatch(value) if isinstance(value, str) else None
    try:
        moment = _moment(*found.groups()) if found else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise GraphQLError(must_be(MOMENT, value))
    return moment


def _moment(date: str, minute: str, second: str, fraction: str | None, offset: str | None) -> datetime:
    """Raise ValueError or OverflowError for a moment that does not exist."""
    is_leap = second == "60"
    text = f"{date}T{minute}{'59' if is_leap else second}.{(fraction or '0')[:6]:0<6}{offset or '+00:00'}"
    moment = datetime.fromisoformat(text).astimezone(UTC)
    if not is_leap:
        return moment
    after = moment.replace(microsecond=0) + timedelta(seconds=1)
    if (after.day, after.hour, after.minute) != (1, 0, 0):
        raise ValueError(second)
    return after


def long_out(value: int) -> int | str:
    return value if abs(value) <= MAX_EXACT else str(value)


def int_in(value: Any) -> int:
    """From a whole number of up to 53 bits: GraphQL's 32 bits are too few for a position in the
    log.

    JSON has one kind of number, so 2.0 and 2e0 are 2, as the specification of GraphQL says."""
    number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if number and abs(value) > MAX_EXACT:
        raise GraphQLError(must_be(f"{WHOLE_NUMBER} of at most 53 bits", value))
    if not number or value != int(value):
        raise GraphQLError(must_be(WHOLE_NUMBER, value))
    return int(value)


def _literal(coerce: Callable[[Any], Any], *kinds: type[ast.ValueNode]) -> Callable[..., Any]:
    """Return how to read a literal of these kinds; of others, say what is wrong as with a
    variable."""

    def read(node: ast.ValueNode, _variables: Any = None) -> Any:
        if isinstance(node, kinds):
            return coerce(exact(node))
        raise GraphQLError(must_be(_ALLOWED[coerce], exact(node)))

    return read


def exact(node: ast.ValueNode) -> Any:
    """Return a literal's value, numbers as exact as they are written."""
    if isinstance(node, ast.IntValueNode | ast.FloatValueNode):
        return Decimal(node.value) if isinstance(node, ast.FloatValueNode) or len(node.value) > 20 else int(node.value)
    return value_from_ast_untyped(node)


_ALLOWED: Mapping[Callable[[Any], Any], str] = {
    string_in: STRING,
    id_in: STRING,
    boolean_in: BOOLEAN,
    decimal_in: NUMBER,
    date_in: DAY,
    datetime_in: MOMENT,
    int_in: WHOLE_NUMBER,
}

_TEXT, _NUMBERS = ast.StringValueNode, (ast.IntValueNode, ast.FloatValueNode)
_INT = (long_out, int_in, _literal(int_in, ast.IntValueNode))

_SCALARS: Mapping[str, tuple[Any, Any, Any]] = {
    "String": (None, string_in, _literal(string_in, _TEXT)),
    "ID": (None, id_in, _literal(id_in, _TEXT, ast.IntValueNode)),
    "Boolean": (None, boolean_in, _literal(boolean_in, ast.BooleanValueNode)),
    "Decimal": (decimal_out, decimal_in, _literal(decimal_in, _TEXT, *_NUMBERS)),
    "Date": (str, date_in, _literal(date_in, _TEXT)),
    "DateTime": (datetime_out, datetime_in, _literal(datetime_in, _TEXT)),
    "Int": _INT,
    "Long": _INT,
}
"""How each scalar is written (None: as graphql-core does), read from a variable, and from a
literal. The first of them belong to graphql-core and so to every schema of the process, of which
the shop has one."""


def bind_scalars(schema: GraphQLSchema) -> None:
    for name, (out, variable, literal) in _SCALARS.items():
        scalar = schema.type_map[name]
        assert isinstance(scalar, GraphQLScalarType)
        scalar.coerce_output_value = out or scalar.coerce_output_value
        scalar.coerce_input_value, scalar.coerce_input_literal = variable, literal
