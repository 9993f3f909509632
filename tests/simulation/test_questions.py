"""The questions that strangers ask are made from the schema, and the shop takes all of them."""

import re

import pytest
from graphql import get_named_type, is_leaf_type, parse, validate

from shared.api.schema import schema
from tests.simulation.follower import DASHBOARD, FOLLOWED
from tests.simulation.graphql import PERSONAL
from tests.simulation.questions import questions


@pytest.mark.parametrize("operation", ["query", "mutation", "subscription"])
def test_every_root_field_is_asked_for_as_the_schema_wants_it(operation: str) -> None:
    asked = questions(operation)
    assert {one.field for one in asked} == set(getattr(schema(), f"{operation}_type").fields)
    assert [one.field for one in asked if validate(schema(), parse(one.text))] == []


def test_every_subscription_is_followed() -> None:
    assert {one.field for one in questions("subscription")} == {*FOLLOWED, DASHBOARD}


def test_every_field_of_an_event_an_order_and_a_letter_is_asked_for() -> None:
    everything = " ".join(one.text for one in questions("query"))
    for name in ("Event", "Order", "DeadLetterEntry", "SagaDetail", "PubsubMessage"):
        fields = schema().type_map[name].fields  # type: ignore[attr-defined]
        leaves = [field for field, one in fields.items() if is_leaf_type(get_named_type(one.type))]
        assert [field for field in leaves if not re.search(rf"\b{field}\b", everything)] == []


def test_arguments_are_named_things_or_simple_values() -> None:
    known = {"id": "1", "category.id": "2", "userId": "customer 0"}
    values = {one.field: one.variables(known) for one in [*questions("query"), *questions("mutation")]}
    assert (values["order"], values["category"], values["userOrders"]) == (
        {"id": "1"},
        {"id": "2"},
        {"userId": "customer 0"},
    )
    assert values["createCategory"] == {"input": {"name": "Tea"}}


@pytest.mark.parametrize(
    "text", ['{"userId": "customer 0"}', '{"by": "ann"}', "ref-019b76da", "customer 1@example.com"]
)
def test_names_and_references_are_personal(text: str) -> None:
    assert PERSONAL.search(text)


def test_names_of_functions_are_not_personal() -> None:
    assert not PERSONAL.search("notify_customer CustomerNotified announcement href-")
