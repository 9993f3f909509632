"""Text that takes long to normalise delays no other client, in any argument: generated from the
schema."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import graphql
import httpx
import pytest
from graphql import GraphQLInputObjectType, GraphQLInputType, GraphQLList, GraphQLNonNull
from starlette.applications import Starlette
from uuid_utils.compat import uuid7

from scripts.local.token import emulator_token
from shared.api.schema import schema
from tests.processor import slowness
from tests.shop_in_memory import ADMIN, Json, ShopInMemory, app
from tests.streams import concurrent

MARKS = "a" + "\u0301\u0316" * 25_000
"""100 kB of combining marks, in the order that takes longest to normalise."""
TEXTS = {"far too long": MARKS, "as long as allowed": MARKS[:10_000]}
OTHER = {"Authorization": f"Bearer {emulator_token('other@example.com')}"}  # anonymous ones may ask less often
STRINGS = ("String", "ID", "Decimal", "Date", "DateTime", "Long")
VALUES: Json = {
    "Int": 1,
    "Long": 1,
    "Decimal": "1",
    "Date": "2026-01-01",
    "DateTime": "2026-01-01T00:00:00Z",
    "String": "x",
    "Boolean": True,
}


@dataclass
class Place:
    """A string in the arguments of a root field. `argument`: a value with `text` in that place, all
    else valid."""

    operation: str
    field: str
    name: str
    argument: Any

    def __str__(self) -> str:
        return f"{self.field}.{self.name}"


def valid(kind: GraphQLInputType) -> Any:
    match kind:
        case GraphQLNonNull():
            return valid(kind.of_type)
        case GraphQLList():
            return [valid(kind.of_type)]
        case GraphQLInputObjectType():
            return {name: valid(field.type) for name, field in kind.fields.items()}
        case graphql.GraphQLEnumType():
            return next(iter(kind.values))
        case named:
            return VALUES.get(str(named), str(uuid7()))


def with_text(kind: GraphQLInputType) -> Iterator[tuple[str, Any]]:
    """Yield the path of each string within an input type, and a value that holds the text `TEXT`
    there."""
    match kind:
        case GraphQLNonNull():
            yield from with_text(kind.of_type)
        case GraphQLList():
            yield from ((path, [value]) for path, value in with_text(kind.of_type))
        case GraphQLInputObjectType():
            for name, field in kind.fields.items():
                yield from ((f".{name}{path}", valid(kind) | {name: value}) for path, value in with_text(field.type))
        case named:
            yield from [("", "TEXT")] if str(named) in STRINGS else []


def places() -> list[Place]:
    return [
        Place(operation.value, field_name, f"{argument_name}{path}", (argument_name, value))
        for operation in graphql.OperationType
        for field_name, field in cast(Any, schema().get_root_type(operation)).fields.items()
        for argument_name, argument in field.args.items()
        for path, value in with_text(argument.type)
    ]


def filled(value: Any, text: str) -> Any:
    match value:
        case "TEXT":
            return text
        case list():
            return [filled(inner, text) for inner in value]
        case dict():
            return {name: filled(inner, text) for name, inner in value.items()}
        case _:
            return value


def request(place: Place, text: str) -> Json:
    field = cast(Any, schema().get_root_type(graphql.OperationType(place.operation))).fields[place.field]
    name, value = place.argument
    needed = {key: arg for key, arg in field.args.items() if key == name or graphql.is_required_argument(arg)}
    declared = ", ".join(f"${key}: {arg.type}" for key, arg in needed.items())
    given = ", ".join(f"{key}: ${key}" for key in needed)
    leaf = " { __typename }" if graphql.is_composite_type(graphql.get_named_type(field.type)) else ""
    variables = {key: filled(value, text) if key == name else valid(arg.type) for key, arg in needed.items()}
    return {"query": f"{place.operation} ({declared}) {{ {place.field}({given}){leaf} }}", "variables": variables}


async def delay(body: Json) -> tuple[float, httpx.Response]:
    """Return how long another client waits for its answer, and the answer to the body."""
    transport = httpx.ASGITransport(cast(Starlette, app("graphql")))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop", timeout=30) as client:
        headers = {"Authorization": f"Bearer {ADMIN}", "Accept": "text/event-stream, application/json"}
        headers["Content-Type"], content = "application/json", json.dumps(body, separators=(",", ":")).encode()
        began = time.monotonic()
        slow = asyncio.create_task(client.post("/graphql", content=content, headers=headers))
        await asyncio.sleep(0.001)
        other = await client.post("/graphql", json={"query": "{ __typename }"}, headers=OTHER)
        assert other.json() == {"data": {"__typename": "Query"}}
        waited = time.monotonic() - began
        return waited, await slow


async def shortest_delay(body: Json) -> tuple[float, httpx.Response]:
    """Ask again when the other client has waited: perhaps only the machine was busy. Return the
    delay in seconds of the reference machine."""
    for _ in range(4):
        waited, answer = await delay(body)
        if waited >= 0.5:
            waited /= slowness()
        if waited < 0.5:
            break
    return waited, answer


@pytest.mark.parametrize("text", TEXTS)
@concurrent
async def test_no_string_of_any_argument_delays_another_client(shop: ShopInMemory, text: str) -> None:
    shop.engines.settings = replace(shop.engines.settings, rate_limit_anonymous=0)
    await delay(request(places()[0], "x"))  # builds the schema
    found = places()
    assert len(found) > 70
    for place in found:
        waited, answer = await shortest_delay(request(place, TEXTS[text]))
        assert waited < 0.5, str(place)
        assert answer.status_code in (200, 400), str(place)
        if text == "far too long":
            assert "INVALID_INPUT" in answer.text, str(place)
            assert f"got {len(MARKS)}" in answer.text, str(place)


@concurrent
async def test_no_literal_delays_another_client(shop: ShopInMemory) -> None:
    waited, answer = await shortest_delay({"query": f'{{ searchProducts(searchTerm: "{MARKS[:49_000]}") {{ id }} }}'})
    assert waited < 0.5
    assert "a string must have at most 10000 characters; got 49000" in answer.text


LINE = {"productId": "x", "productName": "x", "quantity": 1, "unitPrice": "1"}
CREATE = "mutation ($i: CreateOrderInput!) { createOrder(input: $i) { success } }"
SLOW: dict[str, Json] = {
    "unknown keys": {"userId": "a", "items": [LINE], **{f"productI{number}": 1 for number in range(9_900)}},
    "unknown keys in lines": {"userId": "a", "items": [{f"productI{n}": 1 for n in range(90)} for _ in range(100)]},
    "missing keys": {"userId": "a", "items": [{}] * 9_900},
}


@pytest.mark.parametrize("what", SLOW)
@concurrent
async def test_variables_with_many_errors_delay_no_other_client(shop: ShopInMemory, what: str) -> None:
    await delay({"query": CREATE})
    waited, answer = await shortest_delay({"query": CREATE, "variables": {"i": SLOW[what]}})
    assert waited < 0.5
    assert 1 <= answer.text.count('"message"') <= 21


@concurrent
async def test_a_document_that_takes_long_to_check_delays_no_other_client(shop: ShopInMemory) -> None:
    """Each of these takes half a second: their fields are compared with each other."""
    await delay({"query": "{ categories { id } }"})
    documents = [f"{{ {'categories { name } ' * 240} }} # {number}" for number in range(3)]
    first, *others = await asyncio.gather(*(delay({"query": document}) for document in documents))
    assert first[0] < 0.5 * slowness()
    assert all('"data":{"categories":[]}' in answer.text for _, answer in [first, *others])


def test_a_string_that_is_too_long_is_named(shop: ShopInMemory) -> None:
    query = "mutation ($i: CreateCategoryInput!) { createCategory(input: $i) { id } }"
    assert shop.refusal(query, i={"name": "x" * 10_001}) == {"code": "INVALID_INPUT", "field": ["i", "name"]}
