"""schema.graphql keeps the contract with its clients, and every field of it resolves."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as default
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    DangerousChangeType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    find_breaking_changes,
    find_dangerous_changes,
    is_object_type,
    is_required_argument,
    validate_schema,
)
from pydantic.alias_generators import to_snake

from shared.api import operation
from shared.api.schema import UnboundField, bound, merged, resolvers, schema
from shared.config.manifest import ROOT
from shared.read_models.compare import difference_of
from shared.read_models.comparison import Comparison
from shared.read_models.generations import Generations, IncompleteStream, change_generations
from shared.read_models.partitions import Partition, Partitions
from shared.read_models.transitions import stopped
from shared.resilience import clock
from tests.callers import selection
from tests.shop_in_memory import ShopInMemory
from tests.streams import with_settings

CONTRACT = Path(__file__).with_name("contract.graphql")


def contract() -> GraphQLSchema:
    return build_schema(CONTRACT.read_text())


def ours() -> GraphQLSchema:
    return build_schema((ROOT / "schema.graphql").read_text())


def test_the_schema_is_valid() -> None:
    assert validate_schema(ours()) == []


STRICTER = "Field CreateOrderInput.items changed type from [OrderItemInput]! to [OrderItemInput!]!."
"""The one difference: no line of an order may be null. Null was refused before, too, only later."""


def test_nothing_of_the_contract_breaks() -> None:
    assert [change.description for change in find_breaking_changes(contract(), ours())] == [STRICTER]


def test_the_contract_changes_only_by_what_is_optional() -> None:
    """Defaults stay the same, and no enum has a value that a client does not know."""
    changes = find_dangerous_changes(contract(), ours())
    allowed = {
        DangerousChangeType.OPTIONAL_ARG_ADDED,
        DangerousChangeType.OPTIONAL_INPUT_FIELD_ADDED,
        DangerousChangeType.IMPLEMENTED_INTERFACE_ADDED,
    }
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


def object_types(schema: GraphQLSchema) -> list[GraphQLObjectType]:
    return [kind for name, kind in schema.type_map.items() if is_object_type(kind) and not name.startswith("__")]


def test_every_field_is_bound() -> None:
    for kind in object_types(schema()):
        for name, field in kind.fields.items():
            assert field.resolve is not None, f"{kind.name}.{name}"


@dataclass
class Parents:
    """Watches the parents of all fields that have no resolver. `unread`: fields that have not been
    read yet. `missing`: fields that a parent does not have."""

    unread: set[str] = default(default_factory=set)
    missing: set[str] = default(default_factory=set)

    def watch(self, schema: GraphQLSchema) -> None:
        for kind in object_types(schema):
            for name in kind.fields.keys() - resolvers().get(kind.name, {}).keys():
                kind.fields[name].resolve = self._watched(
                    f"{kind.name}.{name}", to_snake(name), kind.fields[name].resolve
                )
                self.unread.add(f"{kind.name}.{name}")

    def _watched(self, name: str, key: str, resolve: Any) -> Callable[..., Any]:
        def watched(parent: Any, info: Any, **arguments: Any) -> Any:
            self.unread.discard(name)
            if key not in parent if isinstance(parent, Mapping) else not hasattr(parent, key):
                self.missing.add(name)
                return None
            return resolve(parent, info, **arguments)

        return watched


def begin_rebuild(shop: ShopInMemory, order: str) -> None:
    """Keep a rebuild of the orders with an incomplete stream and a partition that differs."""
    models, stream = shop.engines.read_models, f"order-{order}"
    made = Generations(
        1, 2, "BUILDING", 2, incomplete=(IncompleteStream(stream),), comparison=Comparison(1, clock.now())
    )
    change_generations(models, "orders", lambda _: made)
    difference = difference_of("live", "orders", order, ["status"], {"status": "PENDING"}, {"status": "SHIPPED"})
    sides = {side: {"documents": 1, "events": 1, "digest": "0", "different": 1} for side in ("fold", "live", "other")}
    found = Partition(0, 1, (stream,)).finished({**sides, "differences": [difference]})
    Partitions(models, "orders", 2).save([found])


def ask_everything(shop: ShopInMemory, schema: GraphQLSchema) -> None:
    """Ask every query, each with all fields of its type, and the mutations whose results are in no
    query."""
    with_settings(
        shop, max_query_cost=10**9, max_query_fields=10**4, max_query_characters=10**6, max_query_tokens=10**5
    )
    product, category = shop.new_product(), shop.new_category()
    order, failed = shop.new_order(product), shop.new_order(product, paymentMethod="decline")
    shop.engines.broker.publish_raw("product-events", b"poison", {})
    shop.settle()
    shop.ask(f'mutation {{ adjustStock(id: "{product}", delta: 1) {{ id }} }}')
    shop.ask("{ products { id } }")
    shop.graphql(f'mutation {{ retrySaga(id: "{product}") {{ id }} }}')  # refused, and kept as an operator's action
    begin_rebuild(shop, order)
    change_generations(shop.engines.read_models, "sales", lambda now: stopped(now, "ann", 1))
    shop.engines.recorder.flush()
    letter = shop.engines.dead_letters.latest(1, 0)[0]
    ids: dict[str, str | int] = {
        "order": order,
        "saga": order,
        "product": product,
        "category": category,
        "deadLetter": str(letter.id),
    }
    ids |= {"node": order, "eventCausation": 1}
    assert schema.query_type and schema.mutation_type
    for name, field in schema.query_type.fields.items():
        values = {
            "id": ids.get(name),
            "orderId": order,
            "aggregateId": order,
            "userId": "ann",
            "searchTerm": "tea",
            "serviceName": "graphql",
            "name": "project_orders",
        }
        required = [key for key, argument in field.args.items() if is_required_argument(argument)]
        needed = [f"{key}: {json.dumps(values[key])}" for key in required]
        arguments = f"({', '.join(needed)})" if needed else ""
        shop.graphql(f"{{ {name}{arguments} {selection(field.type)} }}")
    discard, erase = 'discardDeadLetters(reason: "test")', 'erasePerson(userId: "hanako", reason: "test")'
    for call in (
        f'cancelOrder(id: "{failed}")',
        f'deleteCategory(id: "{category}")',
        "retryDeadLetters",
        discard,
        erase,
    ):
        shop.graphql(f"mutation {{ {call} {selection(schema.mutation_type.fields[call.partition('(')[0]].type)} }}")


def watched_shop(shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch, more: str = "") -> Parents:
    parents, built = Parents(), bound((ROOT / "schema.graphql").read_text() + more, resolvers())
    parents.watch(built)
    monkeypatch.setattr(operation, "schema", lambda: built)
    ask_everything(shop, built)
    return parents


def test_every_field_without_a_resolver_is_in_its_parent(shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched_shop(shop, monkeypatch) == Parents(set(), set())


def test_a_field_that_nothing_provides_is_found(shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {kind.name for kind in object_types(ours())} - {"Query", "Mutation", "Subscription"}
    more = "".join(f" extend type {name} {{ surprise: String }}" for name in sorted(names))
    assert watched_shop(shop, monkeypatch, more) == Parents(set(), {f"{name}.surprise" for name in names})


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
