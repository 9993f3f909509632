"""A command wakes the functions that its events will reach."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic.alias_generators import to_snake

from shared.api.wake_ahead import WakeAhead, needed_after
from shared.config.manifest import manifest
from shared.config.settings import Settings
from shared.domain.aggregate import topic_of
from shared.resilience import clock
from shared.resilience.clock import World, use
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from tests.shop_in_memory import ShopInMemory

LIVES = httpx.Response(200)
STEPS = {to_snake(step.send.__name__) for step in ORDER_FULFILMENT.steps}


def projections_of(topic: str) -> list[str]:
    found = (one.name for one in manifest().functions.values() if one.group == "projections" and topic in one.topics)
    return sorted(found)


AFTER_ORDER, AFTER_PRODUCT = projections_of("order-events"), projections_of("product-events")


def woken_by(
    *commands: str, answer: Callable[[httpx.Request], httpx.Response] = lambda _: LIVES, **settings: Any
) -> list[str]:
    """Return the functions that are asked for a sign of life when these commands pass, each once
    per waking."""
    chosen = replace(Settings(wake_ahead_seconds=300), **settings)
    asked: list[str] = []

    def answered(request: httpx.Request) -> httpx.Response:
        assert request.method == "GET" and request.url.path.endswith("/health/live")
        asked.append(request.url.path.split("/")[1])
        return answer(request)

    async def pass_all() -> None:
        wake = WakeAhead(chosen)
        async with httpx.AsyncClient(transport=httpx.MockTransport(answered)) as http:
            for command in commands:
                wake.before(command, http)
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)

    asyncio.run(pass_all())
    return asked


def test_an_order_wakes_its_saga_the_steps_of_it_and_all_projections_behind_them() -> None:
    assert sorted(woken_by("create_order")) == sorted({"order_saga", *AFTER_ORDER, *AFTER_PRODUCT, *STEPS})


def test_a_cancellation_wakes_what_follows_the_order() -> None:
    assert sorted(woken_by("cancel_order")) == sorted(["order_saga", *AFTER_ORDER])


def test_a_product_wakes_the_projections_that_read_its_events() -> None:
    assert sorted(woken_by("adjust_stock")) == AFTER_PRODUCT


def test_a_function_is_woken_once_in_the_period() -> None:
    assert len(woken_by("create_order", "create_order", "cancel_order")) == len(needed_after("create_order"))


def test_a_function_is_woken_again_after_the_period() -> None:
    class Later(World):
        passed = 0.0

        def monotonic(self) -> float:
            self.passed += 301
            return self.passed

    with use(Later()):
        assert len(woken_by("cancel_order", "cancel_order")) == 2 * len(needed_after("cancel_order"))


def test_nothing_is_woken_where_the_setting_is_zero() -> None:
    assert woken_by("create_order", wake_ahead_seconds=0) == []


def test_a_function_that_the_platform_keeps_warm_is_not_woken() -> None:
    assert "order_saga" not in woken_by("create_order", kept_warm="graphql order_saga")


def test_an_operators_command_wakes_nothing() -> None:
    assert woken_by("retry_saga") == []


@pytest.mark.parametrize("fault", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.Response(503)])
def test_a_function_that_cannot_be_woken_fails_nothing(fault: Exception | httpx.Response) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if isinstance(fault, Exception):
            raise fault
        return fault

    assert len(woken_by("create_order", answer=answer)) == len(needed_after("create_order"))


def test_a_command_does_not_wait_for_what_it_wakes(shop: ShopInMemory) -> None:
    """The functions that are woken never answer; the mutation does."""
    asked = list[str]()
    commands = shop.engines.command_http

    class Sleepers(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "GET":
                asked.append(request.url.path)
                await asyncio.Event().wait()
            return await commands.send(request)

    shop.engines.settings = replace(shop.engines.settings, wake_ahead_seconds=300)
    shop.engines.command_http = httpx.AsyncClient(transport=Sleepers())
    shop.ask('mutation { createCategory(input: {name: "Tea"}) { id } }')
    assert asked == ["/project_categories/health/live"]


def test_the_manifest_says_what_each_command_publishes(shop: ShopInMemory) -> None:
    shop.deliver = lambda to, body: 204
    category, product, order = (str(clock.new_id()) for _ in range(3))
    line = {"productId": product, "productName": "Tea", "quantity": 1, "unitPrice": 600}
    about = {"name": "Tea", "price": 500, "categoryId": category, "stockQuantity": 10}
    bodies = {
        "create_category": {"categoryId": category, "name": "Tea"},
        "update_category": {"categoryId": category, "description": "x"},
        "create_product": {"productId": product, **about},
        "update_product": {"productId": product, "description": "x"},
        "change_product_price": {"productId": product, "newPrice": 600},
        "adjust_stock": {"productId": product, "delta": 5},
        "create_order": {"orderId": order, "userId": "ann", "items": [line]},
        "cancel_order": {"orderId": order},
        "delete_product": {"productId": product},
        "delete_category": {"categoryId": category},
    }
    commands = {name: one for name, one in manifest().functions.items() if one.group == "commands"}
    assert {*bodies} == {*commands}
    for name, body in bodies.items():
        before = len(shop.log())
        assert shop.command(name, body).status_code == 200
        event = shop.log()[before]
        assert [topic_of(event.stream)] == commands[name].publishes
        assert (event.type == ORDER_FULFILMENT.starts_on.__name__) == commands[name].begins_saga


def test_the_steps_of_a_saga_publish_to_the_topics_of_the_manifest(shop: ShopInMemory) -> None:
    product = shop.new_product(shop.new_category())
    shop.settle()
    before = len(shop.log())
    shop.new_order(product)
    shop.settle()
    topics = {topic_of(event.stream) for event in shop.log()[before:]}
    steps = [one for one in needed_after("create_order") if one.group == "sagas"]
    assert topics == {*manifest().functions["create_order"].publishes} | {
        each for one in steps for each in one.publishes
    }
