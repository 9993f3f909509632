"""A request that is repeated with its `Idempotency-Key` happens once."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from scripts.local.token import emulator_token
from shared.api.command_client import CommandMutation
from shared.api.schema import resolvers
from tests.shop_in_memory import Json, ShopInMemory, together
from tests.stand_ins import with_methods

KEY = {"Idempotency-Key": "order-form-17"}
WRITER = {"Authorization": f"Bearer {emulator_token('w@example.com', uid='hanako')}"}
CATEGORY = 'mutation { createCategory(input: {name: "お茶 🍵", description: "a"}) { id name description createdAt } }'


def post(shop: ShopInMemory, document: str, headers: Mapping[str, str], variables: Json | None = None) -> bytes:
    body = json.dumps({"query": document, "variables": variables or {}})
    response = shop.http("POST", content=body, headers={"Content-Type": "application/json", **headers})
    return response.content


def codes(body: bytes) -> list[str]:
    return [error["extensions"]["code"] for error in json.loads(body).get("errors", [])]


def mutations(shop: ShopInMemory) -> dict[str, str]:
    product, category = shop.new_product(), shop.new_category()
    line = f'{{productId: "{product}", productName: "Tea", quantity: 1, unitPrice: "500"}}'
    ordered = shop.new_order(product)
    return {
        "createCategory": CATEGORY,
        "updateCategory": f'mutation {{ updateCategory(id: "{category}", input: {{name: "new"}}) {{ name updatedAt }} }}',
        "deleteCategory": f'mutation {{ deleteCategory(id: "{category}") {{ success message }} }}',
        "createProduct": f'mutation {{ createProduct(input: {{name: "a", price: 1, categoryId: "{category}"}}) {{ id }} }}',
        "updateProduct": f'mutation {{ updateProduct(id: "{product}", input: {{stockQuantity: 5}}) {{ stockQuantity }} }}',
        "changeProductPrice": f'mutation {{ changeProductPrice(id: "{product}", newPrice: 7) {{ price updatedAt }} }}',
        "adjustStock": f'mutation {{ adjustStock(id: "{product}", delta: 3) {{ stockQuantity }} }}',
        "deleteProduct": f'mutation {{ deleteProduct(id: "{product}") {{ success }} }}',
        "createOrder": f'mutation {{ createOrder(input: {{userId: "x", items: [{line}]}}) {{ order {{ id status }} }} }}',
        "cancelOrder": f'mutation {{ cancelOrder(id: "{ordered}") {{ success order {{ id status }} }} }}',
    }


@pytest.mark.parametrize(
    "mutation", [name for name, one in resolvers()["Mutation"].items() if isinstance(one, CommandMutation)]
)
def test_a_repeated_request_gets_the_first_answer_byte_for_byte(shop: ShopInMemory, mutation: str) -> None:
    shop.deliver = lambda to, body: 204
    document = mutations(shop)[mutation]
    first = post(shop, document, KEY)
    assert codes(first) == []
    recorded = len(shop.log())
    assert post(shop, document, KEY) == first
    assert len(shop.log()) == recorded


def test_the_answer_stays_the_same_after_later_changes(shop: ShopInMemory) -> None:
    first = post(shop, CATEGORY, KEY)
    category_id = json.loads(first)["data"]["createCategory"]["id"]
    shop.command("update_category", {"categoryId": category_id, "name": "coffee"})
    assert post(shop, CATEGORY, KEY) == first
    shop.settle()
    assert post(shop, CATEGORY, KEY) == first


def test_without_a_key_or_with_another_one_it_happens_again(shop: ShopInMemory) -> None:
    document = f'mutation {{ adjustStock(id: "{shop.new_product()}", delta: 1) {{ stockQuantity }} }}'
    stock = [
        json.loads(post(shop, document, headers))["data"]["adjustStock"]["stockQuantity"]
        for headers in ({}, {}, KEY, {"Idempotency-Key": "another"})
    ]
    assert stock == [101, 102, 103, 104]


def test_the_key_with_another_input_is_a_conflict(shop: ShopInMemory) -> None:
    post(shop, CATEGORY, KEY)
    other = post(shop, CATEGORY.replace("🍵", "!"), KEY)
    assert codes(other) == ["CONFLICT"]
    assert "use a new one" in json.loads(other)["errors"][0]["message"]
    assert len(shop.log()) == 1


def test_the_key_of_another_user_is_not_known(shop: ShopInMemory) -> None:
    line = {"productId": shop.new_product(), "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    create = "mutation ($i: CreateOrderInput!) { createOrder(input: $i) { order { id userId } } }"
    variables = {"i": {"userId": "hanako", "items": [line]}}
    first = post(shop, create, KEY | WRITER, variables)
    admins = post(shop, create, KEY, variables)  # an admin orders for the same user
    assert codes(first) == codes(admins) == []
    assert json.loads(first)["data"] != json.loads(admins)["data"]
    assert post(shop, create, KEY | WRITER, variables) == first
    assert post(shop, create, KEY, variables) == admins


def test_commands_of_two_users_with_one_key_are_listed_with_their_own_events(shop: ShopInMemory) -> None:
    product_id = shop.new_product()
    line = {"productId": product_id, "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    create = "mutation ($i: CreateOrderInput!) { createOrder(input: $i) { success } }"
    for user in ("one", "two"):
        headers = {
            "Authorization": f"Bearer {emulator_token(f'{user}@example.com', uid=user)}",
            "Idempotency-Key": "key",
        }
        assert codes(post(shop, create, headers, {"i": {"userId": user, "items": [line]}})) == []
    shop.engines.recorder.flush()
    found = shop.ask('{ commandExecutions(commandType: "CreateOrder") { eventsGenerated } }')["commandExecutions"]
    assert [one["eventsGenerated"] for one in found] == [["OrderCreated"]] * 2


def test_the_order_in_which_variables_are_written_does_not_matter(shop: ShopInMemory) -> None:
    create = "mutation ($i: CreateCategoryInput!) { createCategory(input: $i) { id } }"
    first = post(shop, create, KEY, {"i": {"name": "a", "description": "b"}})
    assert post(shop, create, KEY, {"i": {"description": "b", "name": "a"}}) == first


def test_every_mutation_of_a_request_has_a_key_of_its_own(shop: ShopInMemory) -> None:
    both = 'mutation { a: createCategory(input: {name: "a"}) { id } b: createCategory(input: {name: "b"}) { id } }'
    first = post(shop, both, KEY)
    made = json.loads(first)["data"]
    assert made["a"]["id"] != made["b"]["id"]
    assert post(shop, both, KEY) == first
    swapped = both.replace("a: create", "c: create").replace("b: create", "a: create").replace("c: create", "b: create")
    assert codes(post(shop, swapped, KEY)) == ["CONFLICT", "CONFLICT"]


def test_a_repeated_request_that_half_failed_does_only_the_other_half(shop: ShopInMemory) -> None:
    both = 'mutation { a: createCategory(input: {name: "a"}) { id } b: createCategory(input: {name: "b"}) { id } }'
    half = 'mutation { a: createCategory(input: {name: "a"}) { id } }'
    first = json.loads(post(shop, half, KEY))["data"]
    assert json.loads(post(shop, both, KEY))["data"]["a"] == first["a"]
    assert len(shop.log()) == 2


def test_a_refused_request_may_be_repeated_with_its_key(shop: ShopInMemory) -> None:
    product = shop.new_product()
    document = f'mutation {{ adjustStock(id: "{product}", delta: -101) {{ stockQuantity }} }}'
    assert codes(post(shop, document, KEY)) == ["BUSINESS_RULE_VIOLATION"]
    shop.command("adjust_stock", {"productId": product, "delta": 10})
    assert json.loads(post(shop, document, KEY))["data"]["adjustStock"]["stockQuantity"] == 9


def test_concurrent_requests_with_one_key_happen_once(
    shop: ShopInMemory,
) -> None:
    store = shop.engines.event_store
    shop.engines.event_store = with_methods(
        store, recorded=together(6, store.recorded)
    )  # each finds that it is the first
    with ThreadPoolExecutor(6) as pool:
        answers = set(pool.map(lambda _: post(shop, CATEGORY, KEY), range(6)))
    assert len(answers) == 1
    assert codes(answers.pop()) == []
    assert len(shop.log()) == 1


@pytest.mark.parametrize("key", ["", "x" * 201, "caf\u00e9", "a\tb"])
def test_a_malformed_key_is_refused(shop: ShopInMemory, key: str) -> None:
    answer = post(shop, CATEGORY, {"Idempotency-Key": key.encode("latin-1")})  # type: ignore[dict-item]
    assert codes(answer) == ["INVALID_INPUT"]
    assert json.loads(answer)["errors"][0]["extensions"]["field"] == ["Idempotency-Key"]
    assert shop.log() == []


def test_a_query_ignores_a_key(shop: ShopInMemory) -> None:
    for document in ("{ products { id } }", "{ categories { id } }"):
        assert codes(post(shop, document, KEY)) == []


def test_the_retry_after_a_lost_answer_does_nothing_twice(shop: ShopInMemory) -> None:
    working, seen = shop.engines.command_http, []

    async def lose_the_first(request: httpx.Request) -> httpx.Response:
        response = await working.post(request.url, content=request.content, headers=request.headers)
        seen.append(response.content)
        if len(seen) == 1:
            raise httpx.ReadTimeout("the answer was lost", request=request)
        return httpx.Response(response.status_code, content=response.content)

    shop.engines.command_http = httpx.AsyncClient(transport=httpx.MockTransport(lose_the_first))
    made: Any = shop.ask(CATEGORY)["createCategory"]
    assert seen[0] == seen[1]
    assert [event.stream for event in shop.log()] == [f"category-{made['id']}"]


def test_the_mutations_of_admins_accept_a_key_too(shop: ShopInMemory) -> None:
    retry = "mutation ($s: String) { retryDeadLetters(source: $s, limit: 1) { retried left } }"
    first = post(shop, retry, KEY, {"s": "order-saga.order-events"})
    assert codes(first) == []
    assert post(shop, retry, KEY, {"s": "order-saga.order-events"}) == first
    assert codes(post(shop, retry, KEY, {"s": "project-orders.order-events"})) == ["CONFLICT"]
    assert codes(post(shop, retry, {"Idempotency-Key": ""}, {"s": "order-saga.order-events"})) == ["INVALID_INPUT"]
