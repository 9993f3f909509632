"""The whole shop in this process: every function as the framework makes it, with all engines in
memory."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import cache
from threading import Barrier, Lock
from typing import Any, ParamSpec, TypeVar, cast

import flask
import functions_framework
import httpx
import pytest
import structlog
from starlette.applications import Starlette
from uuid_utils.compat import uuid7

from scripts.local.services import serve_in_threads, service_app
from scripts.local.token import emulator_token
from shared.config.manifest import Subscription, manifest
from shared.config.settings import Settings
from shared.event_store.protocol import Checkpoint, EventRecord
from shared.messaging.memory import Deliver
from shared.runtime.current import using
from shared.runtime.engines import Engines
from tests.ports import free_port

P = ParamSpec("P")
R = TypeVar("R")
Json = dict[str, Any]
ADMIN = emulator_token("ann@example.com", role="admin")
"""The token of requests, unless a test sends another."""
SIGN_IN_EMULATOR = "FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099"
PATIENCE = 30.0
"""Seconds after which a test gives up waiting."""


@cache
def app(name: str) -> flask.Flask | Starlette:
    """Return a function as the framework makes it. At every call it uses the engines that the
    process has then."""
    function = manifest().functions[name]
    os.environ.pop("FUNCTION_SIGNATURE_TYPE", None)  # the framework leaves the previous function's value in it
    made: flask.Flask | Starlette = functions_framework.create_app(function.name, str(function.source))
    return made


def hasty_subscriptions() -> list[Subscription]:
    """Return the manifest's subscriptions, with a failed delivery repeated almost at once."""
    return [replace(one, min_backoff=0.01, max_backoff=0.02) for one in manifest().all_subscriptions]


@dataclass(frozen=True)
class Pushed:
    """A push from the broker to a function."""

    function: str
    body: Json


class Loops:
    """Event loops with their threads, each for one caller at a time. They are kept: to make one
    takes as long as to answer a request."""

    def __init__(self) -> None:
        self._idle: list[asyncio.Runner] = []

    def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        runner = self._idle.pop() if self._idle else asyncio.Runner()
        try:
            return runner.run(coroutine, context=copy_context())
        finally:
            self._idle.append(runner)

    def close(self) -> None:
        for runner in self._idle:
            runner.close()


class ShopInMemory:
    """`deliver`: takes a push and returns its HTTP status; replace it to lose, repeat or delay
    messages."""

    def __init__(self, settings: Settings) -> None:
        self._lock = Lock()
        self._pushed: list[Pushed] = []
        self.loops = Loops()
        self.deliver: Deliver = self.hand_over
        self.engines = Engines(settings, self._deliver, hasty_subscriptions())
        self.engines.command_http = command_http()

    def close(self) -> None:
        try:
            self.settle()
        finally:
            self.engines.close()
            self.loops.close()

    def http(self, method: str, path: str = "/graphql", **request: Any) -> httpx.Response:
        """Send one request to the graphql function. A crash is a 500, as it would be on a
        server."""
        request["headers"] = {"Authorization": f"Bearer {ADMIN}", **(request.get("headers") or {})}
        return self.loops.run(graphql_http().request(method, path, **request))

    def graphql(self, query: str, variables: Json | None = None, headers: Mapping[str, str] | None = None) -> Json:
        """Return the answer, errors included."""
        body = json.dumps({"query": query, "variables": variables or {}})
        response = self.http("POST", content=body, headers={"Content-Type": "application/json", **(headers or {})})
        answer: Json = response.json()
        return answer

    def ask(self, query: str, **variables: Any) -> Json:
        """Return the data of an answer without errors."""
        answer = self.graphql(query, variables)
        assert "errors" not in answer, answer
        data: Json = answer["data"]
        return data

    def refusal(self, query: str, **variables: Any) -> Json:
        """Return the extensions of the only error."""
        (error,) = self.graphql(query, variables)["errors"]
        extensions: Json = error["extensions"]
        return extensions

    def call(self, function: str, body: bytes = b"", method: str = "POST", **request: Any) -> httpx.Response:
        client = cast(flask.Flask, app(function)).test_client()
        headers = {"X-Actor": "ann", "X-Role": "admin", **dict(request.pop("headers", None) or {})}
        request = {"path": "/", "content_type": "application/json", **request}
        response = client.open(method=method, data=body, headers=headers, **request)
        return httpx.Response(response.status_code, headers=list(response.headers), content=response.data)

    def command(self, name: str, body: object, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.call(name, json.dumps(body).encode(), headers=headers)

    def push(self, function: str, body: object) -> httpx.Response:
        return self.call(function, json.dumps(body).encode())

    def hand_over(self, subscription: Subscription, body: Json) -> int:
        return self.push(subscription.endpoint, body).status_code

    def _deliver(self, subscription: Subscription, body: Json) -> int:
        with self._lock:
            self._pushed.append(Pushed(subscription.endpoint, body))
        return self.deliver(subscription, body)

    def pushed(self, *functions: str) -> list[Pushed]:
        """Return every push to these functions, in the order of the attempts."""
        with self._lock:
            return [one for one in self._pushed if one.function in functions]

    def settle(self) -> None:
        """Wait until no message is being delivered or waiting for another attempt."""
        assert self.engines.broker.wait_until_idle(PATIENCE), "messages are still being delivered"

    def log(self) -> list[EventRecord]:
        """Return every event, in order."""
        return [entry.event for entry in self.engines.event_store.read_all(Checkpoint(), 1_000_000)]

    def new_category(self, name: str | None = None, **more: Any) -> str:
        """Create a category and return its id."""
        category_id = str(uuid7())
        self._made("create_category", {"categoryId": category_id, "name": name or category_id, **more})
        return category_id

    def new_product(self, category_id: str | None = None, **more: Any) -> str:
        """Create a product and return its id. `more` overrides its values: 100 units at 500 yen."""
        product_id, category_id = str(uuid7()), category_id or self.new_category()
        blank = {"name": "Tea", "price": "500", "stockQuantity": 100}
        self._made("create_product", {"productId": product_id, "categoryId": category_id, **blank, **more})
        return product_id

    def new_order(self, product_id: str, quantity: int = 1, **more: Any) -> str:
        """Order a product that `new_product` made, and return the order's id."""
        order_id = str(uuid7())
        line = {"productId": product_id, "productName": "Tea", "quantity": quantity, "unitPrice": "500"}
        self._made("create_order", {"orderId": order_id, "userId": "ann", "items": [line], **more})
        return order_id

    def _made(self, command: str, body: Json) -> None:
        response = self.command(command, body)
        assert response.status_code == 200, response.text


@cache
def graphql_http() -> httpx.AsyncClient:
    transport = httpx.ASGITransport(cast(Starlette, app("graphql")), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://shop")


@cache
def command_http() -> httpx.AsyncClient:
    """Return a client that calls the functions over ASGI, in this process. It takes long to make,
    so all tests share it."""
    addresses = {"command": Settings().command_url, "query": Settings().query_url}
    mounts = {
        url.removesuffix("/{function}"): httpx.ASGITransport(service_app(name)) for name, url in addresses.items()
    }
    return httpx.AsyncClient(mounts=mounts)


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """Log plain JSON: a traceback with colours and frames takes a third of a second, ten times per
    poison message."""
    structlog.configure([structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])


def until(happened: Callable[[], bool]) -> None:
    """Wait until something has happened. Raise AssertionError after `PATIENCE`."""
    ends = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < ends, "did not happen in time"
        time.sleep(0.02)


def together(callers: int, call: Callable[P, R]) -> Callable[P, R]:
    """Return a function like `call` that makes its first `callers` calls return together, once all
    have their results."""
    barrier, first = Barrier(callers, timeout=PATIENCE), iter(range(callers))

    def called(*arguments: P.args, **named: P.kwargs) -> R:
        answer = call(*arguments, **named)
        if next(first, None) is not None:
            barrier.wait()
        return answer

    return called


@contextmanager
def served(service: str) -> Iterator[str]:
    """Run one of the three services on its own port, and yield its address."""
    port = free_port()
    (server,) = serve_in_threads({service: port})
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True


@pytest.fixture(scope="session")
def provider() -> Iterator[str]:
    """Yield the address of the sandbox provider, which the gateways call."""
    with served("command") as url:
        yield f"{url}/sandbox_provider"


def usual_settings(provider: str) -> Settings:
    return Settings(
        profile="memory",
        sign_in_required=True,
        health_check_seconds=PATIENCE,
        payment_url=f"{provider}/payments",
        shipping_url=f"{provider}/shipments",
        notification_url=f"{provider}/notifications",
    )


@contextmanager
def open_shop(settings: Settings) -> Iterator[ShopInMemory]:
    """Yield a new shop, which the functions of this process use inside the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*SIGN_IN_EMULATOR)
        shop = ShopInMemory(settings)
        with using(shop.engines):
            yield shop
            shop.close()


@pytest.fixture
def shop_settings(provider: str) -> Settings:
    """Return the settings of `shop`. A test module that needs others overrides this fixture."""
    return usual_settings(provider)


@pytest.fixture
def shop(shop_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShopInMemory]:
    monkeypatch.setenv(*SIGN_IN_EMULATOR)  # a test may delete it, which is undone after `open_shop` has ended
    with open_shop(shop_settings) as shop:
        yield shop


@pytest.fixture(scope="module")
def shared_shop(provider: str) -> Iterator[ShopInMemory]:
    """Yield one shop for all tests of a module that only read, or add what no other test reads. A
    module has one at a time, since all functions of the process use it. All its tests are one
    client, so it has no limit of requests."""
    with open_shop(replace(usual_settings(provider), rate_limit_signed_in=0, rate_limit_anonymous=0)) as shop:
        yield shop
