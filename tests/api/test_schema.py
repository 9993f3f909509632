"""schema.graphql keeps what clients already call, and every field of it has a resolver."""

from pathlib import Path

import pytest
from graphql import (
    DangerousChangeType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    find_breaking_changes,
    find_dangerous_changes,
    validate_schema,
)

from shared.api.schema import UnboundField, bound, merged, resolvers, schema
from shared.config.manifest import ROOT

CONTRACT = Path(__file__).with_name("contract.graphql")


def contract() -> GraphQLSchema:
    return build_schema(CONTRACT.read_text())


def ours() -> GraphQLSchema:
    return build_schema((ROOT / "schema.graphql").read_text())


def test_the_schema_is_valid() -> None:
    assert validate_schema(ours()) == []


def test_nothing_of_the_contract_breaks() -> None:
    assert [change.description for change in find_breaking_changes(contract(), ours())] == []


def test_the_contract_changes_only_by_what_is_optional() -> None:
    """No default is another one, no enum has a value that a client doesn't know."""
    changes = find_dangerous_changes(contract(), ours())
    allowed = {DangerousChangeType.OPTIONAL_ARG_ADDED, DangerousChangeType.OPTIONAL_INPUT_FIELD_ADDED}
    assert [change.description for change in changes if change.type not in allowed] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("price: Decimal! currency", "price: Decimal currency"),
        ("price: Decimal! currency", "currency"),
        ("input UpdateProductInput { name: String ", "input UpdateProductInput { name: String! "),
        ("SHIPPED CONFIRMED", "CONFIRMED"),
        ("deleteProduct(id: ID!)", "deleteProduct(id: ID!, reason: String!)"),
    ],
)
def test_the_comparison_finds_what_breaks_clients(old: str, new: str) -> None:
    text = CONTRACT.read_text()
    assert old in text
    assert find_breaking_changes(contract(), build_schema(text.replace(old, new, 1)))


def test_every_field_is_bound() -> None:
    for name, kind in schema().type_map.items():
        if isinstance(kind, GraphQLObjectType) and not name.startswith("__"):
            for field_name, field in kind.fields.items():
                assert field.resolve is not None, f"{name}.{field_name}"


@pytest.mark.parametrize("type_name", ["Query", "Mutation", "Subscription"])
def test_a_root_field_without_a_resolver_is_found(type_name: str) -> None:
    text = f"{(ROOT / 'schema.graphql').read_text()} extend type {type_name} {{ surprise: String }}"
    with pytest.raises(UnboundField, match=rf"{type_name}\.surprise"):
        bound(text, resolvers())


@pytest.mark.parametrize("type_name", ["Query", "Mutation", "Order", "OrderItem", "Surprise"])
def test_a_resolver_without_a_field_is_found(type_name: str) -> None:
    more = {type_name: {"surprise": lambda *_: None}}
    with pytest.raises(UnboundField, match=r"(?i)surprise"):
        bound((ROOT / "schema.graphql").read_text(), merged([resolvers(), more]))


def test_a_field_with_two_resolvers_is_found() -> None:
    again = {"Query": {"product": lambda *_: None}}
    with pytest.raises(UnboundField, match=r"Query\.product"):
        merged([resolvers(), again])
