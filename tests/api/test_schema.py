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

from shared.api import schema as binding
from shared.api.schema import RESOLVERS, UnboundField, schema, snake_case
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


@pytest.mark.parametrize(
    ("type_name", "field"),
    [
        ("Query", "surprise: String"),
        ("Mutation", "surprise: String"),
        ("Category", "surprise: String"),
        ("Product", "surprise(limit: Int): [Product!]"),
        ("Order", "surprise: String"),
        ("OrderItem", "surprise: String"),
        ("OrderResult", "surprise: String"),
        ("DeleteResult", "surprise: String"),
        ("SagaDetail", "surprise: String"),
        ("DeadLetter", "surprise: String"),
    ],
)
def test_a_field_without_a_resolver_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_name: str, field: str
) -> None:
    extended(tmp_path, monkeypatch, f"extend type {type_name} {{ {field} }}")
    with pytest.raises(UnboundField, match=rf"{type_name}\.surprise"):
        schema.__wrapped__()


def test_a_type_without_resolvers_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extended(tmp_path, monkeypatch, "type Surprise { name: String }")
    with pytest.raises(UnboundField, match=r"Surprise\.name"):
        schema.__wrapped__()


def extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    (tmp_path / "schema.graphql").write_text((ROOT / "schema.graphql").read_text() + "\n" + more)
    monkeypatch.setattr(binding, "ROOT", tmp_path)


@pytest.mark.parametrize("type_name", ["Query", "Mutation", "Order", "OrderItem", "Surprise"])
def test_a_resolver_without_a_field_is_found(monkeypatch: pytest.MonkeyPatch, type_name: str) -> None:
    more = {**RESOLVERS.get(type_name, {}), "surprise": lambda *_: None}
    monkeypatch.setattr(binding, "RESOLVERS", {**RESOLVERS, type_name: more})
    with pytest.raises(UnboundField, match=r"(?i)surprise"):
        schema.__wrapped__()


@pytest.mark.parametrize(
    ("name", "snake"), [("id", "id"), ("categoryId", "category_id"), ("stockQuantity", "stock_quantity")]
)
def test_fields_are_named_in_camel_case_and_documents_in_snake_case(name: str, snake: str) -> None:
    assert snake_case(name) == snake
