"""What a client reads about a wrong input is in our words, one wording per fault: for every input
of the schema."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import graphql
import pytest
from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLList, GraphQLNonNull, is_required_input_field
from uuid_utils.compat import uuid7

from shared.api.schema import schema
from tests.shop_in_memory import Json, ShopInMemory
from tests.streams import with_settings

GOT = r'; got ("[^\n]*"|-?[\d.]+(E[+-]?\d+)?(\.\.\.)?|true|false|\[.*|\{.*|a value too large to show)$'
PATTERNS = [
    r"is required$",
    r"must not be null$",
    r"is not a field of \w+; its fields are \w+(, \w+)*$",
    r"must be a string" + GOT,
    r"must be true or false" + GOT,
    r"must be an object" + GOT,
    r"must be a whole number( of at most 53 bits)?" + GOT,
    r'must be a number such as "12.50"' + GOT,
    r"must be a time of RFC 3339 such as 2026-04-01T09:00:00Z" + GOT,
    r"must be a UUID such as 0190b1b6-7c5e-7000-8000-000000000000" + GOT,
    r"must be a trace id: 32 hexadecimal digits, as in a traceparent" + GOT,
    r"must be one of [\w.-]+(, [\w.-]+)*" + GOT,
    r"must be an ISO 4217 code such as JPY or USD" + GOT,
    r"must be the cursor of an entry of this list, without afterTimestamp" + GOT,
    r"must be the cursor of an edge of \w+, sorted by \w+" + GOT,
    r"must be 0 or the version of an event; got -?\d+$",
    r"must be between -?[\d,]+ and [\d,]+; got -?[\d.]+(E[+-]?\d+)?(\.\.\.)?$",
    r"must have (at most [\d,]+|[\d,]+ to [\d,]+) (characters|items); got [\d,]+$",
    r"must not contain control characters(; got U\+[0-9A-F]{4})?$",
    r"must not contain half of a surrogate pair$",
    r"must not contain controls of the writing direction \(U\+061C, U\+200E, U\+202A to U\+202E, \.\.\.\)$",
    r"must not begin or end with an invisible character \(U\+FEFF, U\+200B, \.\.\.\)$",
    r"must not begin or end with a space$",
    r"must contain a visible character$",
    r"must have at most 10000 characters; got \d+$",
    r"must be a day such as 2026-04-01; got ",
]
"""The closed list of what can be wrong with one value. The path of the value comes before it."""
SENTENCES = [
    r"no (projection|service) is called .*",
    r"\w+ (\S+ )?[0-9a-f-]{36} (does not exist|is no longer sold)",
    r"event -?\d+ does not exist",
    r"there is (no (dead letter|saga)|neither a saga nor an order) .*",
    r"a string must have at most \d+ characters; got \d+",
    r"(the )?product is called .*",
    r"the price is .*",
    r"orders of one user are for that user and admins only: .*",
    r'eventType ".*" is no event of this shop',
    r"no aggregate has the id .*",
    r"\w{3} allows \d decimals; got .*",
    r"projection \w+ has no .*",
    r"pass \w+ or \w+.*, not both.*",
    r"filter\.userId must be omitted here, or the same as userId",
]
"""What the shop says about a good value that names nothing, or breaks a rule."""
FOREIGN = re.compile(
    r"pydantic|Input should|Expected value|Variable '|None|instance|codec|dataclass|Traceback|invalid literal"
    r"|Error\b|NoneType|<class|not a valid|Field required|Unexpected keyword|'\w*' is not|\bdict\b|\bstr\b"
)
TEXTS: Json = {
    "empty": "",
    "too long": "x" * 9_000,
    "far too long": "x" * 20_000,
    "a NUL": "a\0b",
    "half of a surrogate pair": "a\ud83c",
    "a line break": "a\nb",
    "a bidirectional control": "a\u202eb",
    "a byte order mark": "\ufeffab",
    "only spaces": "   ",
    "not a UUID": "p",
    "not a number": "NaN",
    "a week date": "2026-W14-3T09:00:00Z",
    "a date without a zone": "2026-04-01T09:00:00",
    "another word": "SIDEWAYS",
}
OTHERS: Json = {
    "null": None,
    "zero": 0,
    "negative": -1,
    "large": 10**15,
    "beyond 53 bits": 2**60,
    "beyond 64 bits": 10**400,
    "a fraction": 1.5,
    "a boolean": True,
    "a list": ["a", "b"],
    "an object": {"a": 1},
    "an empty list": [],
}
FAULTS = {**TEXTS, **OTHERS}


@dataclass(frozen=True)
class Input:
    """An argument of a root field, or a field within it. `path`: where it is."""

    operation: str
    field: str
    path: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"{self.field}.{'.'.join(map(str, self.path))}"


def valid(kind: Any) -> Any:
    match kind:
        case GraphQLNonNull():
            return valid(kind.of_type)
        case GraphQLList():
            return [valid(kind.of_type)]
        case GraphQLInputObjectType():
            optional = not kind.name.endswith("Filter")  # some of a filter's fields exclude each other
            given = {name: field for name, field in kind.fields.items() if optional or is_required_input_field(field)}
            return {name: valid(field.type) for name, field in given.items()}
        case GraphQLEnumType():
            return next(iter(kind.values))
        case named:
            values = {
                "Int": 1,
                "Long": 1,
                "Decimal": "1",
                "Date": "2026-01-01",
                "DateTime": "2026-01-01T00:00:00Z",
                "Boolean": True,
            }
            return values.get(str(named), str(uuid7()))


def paths(kind: Any) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of the value itself and of everything within it."""
    yield ()
    match kind:
        case GraphQLNonNull():
            yield from [path for path in paths(kind.of_type) if path]
        case GraphQLList():
            yield from ((0, *path) for path in paths(kind.of_type))
        case GraphQLInputObjectType():
            yield from ((name, *path) for name, field in kind.fields.items() for path in paths(field.type))
        case _:
            return


def root(operation: str) -> Any:
    return cast(Any, schema().get_root_type(graphql.OperationType(operation)))


def inputs() -> list[Input]:
    return [
        Input(operation.value, name, (argument_name, *path))
        for operation in graphql.OperationType
        for name, field in root(operation.value).fields.items()
        for argument_name, argument in field.args.items()
        for path in paths(argument.type)
    ]


MISSING = object()


def changed(value: Any, path: tuple[str | int, ...], to: Any) -> Any:
    if not path:
        return to
    first, rest = path[0], path[1:]
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if to is MISSING and not rest:
        copy.pop(first, None) if isinstance(copy, dict) else copy.pop(cast(int, first))
    else:
        copy[first] = changed(copy[first] if isinstance(first, int) or first in copy else {}, rest, to)
    return copy


def request(place: Input, to: Any) -> Json:
    arguments = root(place.operation).fields[place.field].args
    needed = {
        name: argument
        for name, argument in arguments.items()
        if name == place.path[0] or graphql.is_required_argument(argument)
    }
    kind = root(place.operation).fields[place.field].type
    leaf = " { __typename }" if graphql.is_composite_type(graphql.get_named_type(kind)) else ""
    declared = ", ".join(f"${name}: {argument.type}" for name, argument in needed.items())
    given = ", ".join(f"{name}: ${name}" for name in needed)
    variables = changed({name: valid(argument.type) for name, argument in needed.items()}, place.path, to)
    return {
        "query": f"{place.operation} ({declared}) {{ {place.field}({given}){leaf} }}",
        "variables": variables,
    }


def errors(shop: ShopInMemory, body: Json) -> list[Json]:
    """Return the errors of an answer, of which a subscription without any is cut off after its
    first bytes."""
    subscription = body["query"].startswith("subscription")
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if subscription else "application/json",
    }
    text = shop.http("POST", content=json.dumps(body), headers=headers).text
    if subscription:
        data = re.search(r"^event: next\ndata: (.*)$", text, re.MULTILINE)
        return cast(list[Json], json.loads(data[1]).get("errors", [])) if data else []
    return cast(list[Json], json.loads(text).get("errors", []))


def assert_ours(error: Json, place: object) -> None:
    message, field = error["message"], error["extensions"].get("field")
    assert not FOREIGN.search(message), (place, message)
    if any(re.fullmatch(sentence, message, re.DOTALL) for sentence in SENTENCES):
        return
    assert field, (place, error)
    path = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", ".".join(map(str, field)))
    assert message.startswith(f"{path} "), (place, error)
    words = message.removeprefix(f"{path} ")
    assert any(re.match(pattern, words, re.DOTALL) for pattern in PATTERNS), (place, error)


ALWAYS_WRONG = (
    "an object",
    "a NUL",
    "half of a surrogate pair",
    "a bidirectional control",
    "a byte order mark",
    "too long",
)
"""Faults of a text in a new name. Others, for example an unknown user's id, are values like any
other."""


@pytest.mark.parametrize("place", inputs(), ids=str)
def test_every_fault_is_in_our_words(shop: ShopInMemory, place: Input) -> None:
    with_settings(shop, subscription_max_seconds=0.01)
    for name, value in {**FAULTS, "missing": MISSING}.items():
        found = errors(shop, request(place, value))
        for error in found:
            assert_ours(error, (str(place), name))
        if name == "an object" or (name in ALWAYS_WRONG and place.path[-1] == "name"):
            assert found, (str(place), name)


@pytest.mark.parametrize("place", [place for place in inputs() if len(place.path) == 1], ids=str)
def test_a_literal_is_refused_in_the_words_for_a_variable(shop: ShopInMemory, place: Input) -> None:
    with_settings(shop, subscription_max_seconds=0.01)
    arguments = root(place.operation).fields[place.field].args
    for value in ("1.5", '"p"', "true", "{a: 1}", "[1, 2]", "null", "NAME", "12345678901234567890"):
        literals = {place.path[0]: value}
        others = {
            name: one for name, one in arguments.items() if graphql.is_required_argument(one) and name not in literals
        }
        declared = f"({', '.join(f'${name}: {one.type}' for name, one in others.items())})" if others else ""
        given = ", ".join([f"{place.path[0]}: {value}", *(f"{name}: ${name}" for name in others)])
        kind = root(place.operation).fields[place.field].type
        leaf = " { __typename }" if graphql.is_composite_type(graphql.get_named_type(kind)) else ""
        query = f"{place.operation} {declared} {{ {place.field}({given}){leaf} }}"
        for error in errors(
            shop, {"query": query, "variables": {name: valid(one.type) for name, one in others.items()}}
        ):
            assert_ours(error, (str(place), value))


@pytest.mark.parametrize(
    ("query", "message", "field"),
    [
        ("{ category { id } }", "id is required", ["id"]),
        (
            '{ category(id: "x", name: 1) { id } }',
            "name is not an argument of category; its arguments are id, asOf",
            ["name"],
        ),
        ("{ categories(sortOrder: UP) { id } }", 'sortOrder must be one of ASC, DESC; got "UP"', ["sortOrder"]),
        ('{ categories(sortOrder: "ASC") { id } }', 'sortOrder must be one of ASC, DESC; got "ASC"', ["sortOrder"]),
        (
            "query ($limit: Int = 1.5) { categories(limit: $limit) { id } }",
            "limit must be a whole number; got 1.5",
            ["limit"],
        ),
        ("{ __typename @skip }", "if is required", ["if"]),
        ("{ __typename @skip(if: 1) }", "if must be true or false; got 1", ["if"]),
        ("query ($id: ID!) { category(id: $id) { id } }", "id is required", ["id"]),
        ("{ category(", "the query can't be parsed at line 1, column 12: expected Name, found <EOF>", None),
        ("{ category ]", "the query can't be parsed at line 1, column 12: expected Name, found ']'", None),
        ('{ category(id: "', "the query can't be parsed at line 1, column 17: unterminated string", None),
    ],
)
def test_a_fault_of_the_document(shop: ShopInMemory, query: str, message: str, field: list[str] | None) -> None:
    (error,) = shop.graphql(query)["errors"]
    assert (error["message"], error["extensions"]) == (
        message,
        {"code": "INVALID_INPUT"} | ({"field": field} if field else {}),
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not JSON: see line 1, column 2"),
        (b"{'query': 1}", "the body is not JSON: see line 1, column 2"),
        (b'{"query": "\xff"}', "the body is not JSON: byte 12 is not UTF-8"),
        (b"[" * 100_000, "the body is not JSON: it is nested too deeply"),
        (b'{"query": NaN}', "the body is not JSON: NaN is not a number"),
        (b"9" * 5_000, f"the body is not JSON: {'9' * 50} has too many digits for a number"),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("function", ["graphql", "create_category"])
def test_a_body_that_is_not_json(shop: ShopInMemory, function: str, body: bytes, message: str) -> None:
    headers = {"Content-Type": "application/json"}
    if function == "graphql":
        assert shop.http("POST", content=body, headers=headers).json()["errors"][0]["message"] == message
    else:
        assert shop.call(function, body, headers=headers).json()["message"] == message


def test_the_variables_of_a_url_are_named(shop: ShopInMemory) -> None:
    answer = shop.http("GET", params={"query": "{ __typename }", "variables": "{"})
    assert answer.json()["errors"][0]["message"] == "variables is not JSON: see line 1, column 2"


def test_no_name_is_suggested_without_introspection(shop: ShopInMemory) -> None:
    with_settings(shop, introspection=False)
    queries = ["{ category(name: 1, id: 1) { id } }", "{ categories(sortOrder: UP) { id } }"]
    queries += ['mutation { createCategory(input: {name: "a", colour: 1}) { id } }']
    found = [shop.graphql(query)["errors"][0]["message"] for query in queries]
    assert found == [
        "name is not an argument of category",
        "sortOrder is not a value of SortOrder",
        "input.colour is not a field of CreateCategoryInput",
    ]
