"""A linter of schema.graphql: everything has a description that says more than its name, and names
follow the rules.

It is made here, over graphql-core's syntax tree, because graphql-schema-linter and @graphql-eslint
know neither the description of `schema` itself, nor @specifiedBy, nor nulls within lists, and would
need npm's registry in each run.
"""

import re
from collections.abc import Iterator

import pytest
from graphql import parse
from graphql.language import ast

from shared.config.manifest import ROOT

SCHEMA = (ROOT / "schema.graphql").read_text()
Described = (
    ast.SchemaDefinitionNode
    | ast.TypeDefinitionNode
    | ast.DirectiveDefinitionNode
    | ast.FieldDefinitionNode
    | ast.InputValueDefinitionNode
    | ast.EnumValueDefinitionNode
)
Element = tuple[str, Described]
"""A part of the schema and its coordinate, for example `Query.product(id)`."""

CAMEL, PASCAL, CAPITALS = r"[a-z][a-zA-Z0-9]*", r"[A-Z][a-zA-Z0-9]*", r"[A-Z][A-Z0-9_]*"
FILLERS = "a an the of this that its it is are in on for to by with and or one each"


def elements(sdl: str) -> Iterator[Element]:
    """Yield everything that can have a description."""
    for definition in parse(sdl).definitions:
        if isinstance(definition, ast.SchemaDefinitionNode):
            yield "schema", definition
        if isinstance(definition, ast.TypeDefinitionNode | ast.DirectiveDefinitionNode):
            yield from _within(definition.name.value, definition)


def _within(name: str, element: Described) -> Iterator[Element]:
    yield name, element
    for argument in getattr(element, "arguments", None) or ():
        yield from _within(f"{name}({argument.name.value})", argument)
    for inner in (*(getattr(element, "fields", None) or ()), *(getattr(element, "values", None) or ())):
        yield from _within(f"{name}.{inner.name.value}", inner)


def faults(sdl: str) -> list[str]:
    """Return what is wrong, each with its line and what to do."""
    found = [
        f"line {node.loc.start_token.line if node.loc else 0}: {name} {fault}"
        for name, node in elements(sdl)
        for fault in (
            *_of_description(name, node.description),
            *_of_name(name, node),
            *_of_lists(node),
            *_of_directives(node),
        )
    ]
    has_schema = any(name == "schema" for name, _ in elements(sdl))
    return found + ([] if has_schema else ["line 1: schema needs a definition with a description"])


def _of_description(name: str, description: ast.StringValueNode | None) -> Iterator[str]:
    text = description.value.strip() if description else ""
    if not text:
        yield "needs a description: its shape, unit, default, null and errors, as far as its type does not say them"
    elif not re.match(r"[A-Z0-9`]", text) or text[-1] not in ".:":
        yield "must begin with a capital letter or `code` and end with a full stop"
    elif _words(text) <= _words(f"{FILLERS} {name}"):
        yield f"must say more than its name; got {text!r}"
    elif longest := [line for line in text.splitlines() if len(line) > 125]:
        yield f"must wrap at 110 characters; got {len(longest[0])}"


def _words(text: str) -> set[str]:
    """Return the words of a description or of a name in camel case, in the singular."""
    apart = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text).lower()
    return {word.removesuffix("s") for word in re.findall(r"[a-z0-9]+", apart)}


def _of_name(name: str, node: Described) -> Iterator[str]:
    own = re.split(r"[.(]", name.removesuffix(")"))[-1]
    if isinstance(node, ast.TypeDefinitionNode):
        if not re.fullmatch(PASCAL, own):
            yield "must be named in PascalCase"
        if isinstance(node, ast.InputObjectTypeDefinitionNode) and not own.endswith("Input"):
            yield "is an input: its name must end with Input"
    elif isinstance(node, ast.EnumValueDefinitionNode):
        if not re.fullmatch(CAPITALS, own):
            yield "must be named in CAPITAL_LETTERS"
    elif own != "schema" and not re.fullmatch(CAMEL, own) and not _is_deprecated(node):
        yield "must be named in camelCase, or be deprecated"


def _is_deprecated(node: Described) -> bool:
    return any(directive.name.value == "deprecated" for directive in getattr(node, "directives", None) or ())


def _of_lists(node: Described) -> Iterator[str]:
    """A list that may hold nulls makes every client check each entry."""
    kind = getattr(node, "type", None)
    while kind is not None:
        kind = kind.type if isinstance(kind, ast.NonNullTypeNode) else kind
        inner = kind.type if isinstance(kind, ast.ListTypeNode) else None
        if inner and not isinstance(inner, ast.NonNullTypeNode):
            yield "is a list whose entries may be null: write [Type!]"
        kind = inner


def _of_directives(node: Described) -> Iterator[str]:
    given = {one.name.value: one.arguments for one in getattr(node, "directives", None) or ()}
    if isinstance(node, ast.ScalarTypeDefinitionNode) and not given.get("specifiedBy"):
        yield "is a scalar: add @specifiedBy(url:) of the specification of its format"
    if "deprecated" in given and not given["deprecated"]:
        yield "is deprecated: add the reason, which names what to use instead"


def test_the_schema_has_no_fault() -> None:
    found = faults(SCHEMA)
    assert not found, "\n".join(["schema.graphql:", *found])


VALID = '''
"""The API of a shop. Sign-in: a token."""
schema { query: Query }
"Reads the shop's state."
type Query {
  "The shop's name, as printed on invoices."
  name(
    "A BCP 47 tag; by default ja."
    language: String
  ): [String!]!
}
"An instant in UTC."
scalar Moment @specifiedBy(url: "https://www.rfc-editor.org/rfc/rfc3339")
"Where a parcel is."
enum Place {
  "A carrier has it."
  ON_THE_WAY
}
"What a client sends."
input ParcelInput {
  "Grams, 1 to 20000."
  weight: Int!
}
"Marks personal data."
directive @personal(
  "Who else may see it."
  reader: String
) on FIELD_DEFINITION
'''


def test_a_good_schema_has_no_fault() -> None:
    assert faults(VALID) == []


@pytest.mark.parametrize("text", re.findall(r'^ *"[^"].*\n', VALID, re.MULTILINE))
def test_each_missing_description_is_found(text: str) -> None:
    assert "needs a description" in "".join(faults(VALID.replace(text, "")))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"""The API of a shop. Sign-in: a token."""', "", "line 3: schema needs a description"),
        ('"""The API of a shop. Sign-in: a token."""\nschema { query: Query }', "", "schema needs a definition"),
        ("The shop's name, as printed on invoices.", "The name of the query.", "Query.name must say more"),
        ("Grams, 1 to 20000.", "The weight.", "ParcelInput.weight must say more"),
        ("Grams, 1 to 20000.", "grams", "must begin with a capital"),
        ("Grams, 1 to 20000.", "G" * 130 + ".", "must wrap"),
        ('@specifiedBy(url: "https://www.rfc-editor.org/rfc/rfc3339")', "", "Moment is a scalar"),
        ("[String!]!", "[String]!", "Query.name is a list whose entries may be null"),
        ("[String!]!", "[[String]!]!", "Query.name is a list whose entries may be null"),
        ("language:", "the_language:", "Query.name(the_language) must be named in camelCase"),
        ("ON_THE_WAY", "onTheWay", "Place.onTheWay must be named in CAPITAL_LETTERS"),
        ("input ParcelInput", "input Parcel", "Parcel is an input"),
        ("enum Place", "enum place", "place must be named in PascalCase"),
        ("weight: Int!", "weight: Int @deprecated", "ParcelInput.weight is deprecated"),
    ],
)
def test_each_fault_is_found(old: str, new: str, fault: str) -> None:
    assert old in VALID
    assert fault in "\n".join(faults(VALID.replace(old, new)))


def test_a_deprecated_alias_may_have_another_spelling() -> None:
    alias = 'weight_g: Int @deprecated(reason: "Use weight.")'
    assert faults(VALID.replace("weight: Int!", alias)) == []
