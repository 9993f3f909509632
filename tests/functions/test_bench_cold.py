"""The measurement of cold starts gives every function of the manifest some work."""

import json
from typing import Any

import pytest

from scripts.local.bench_cold import Broker, Functions, run_the_shop
from shared.config.manifest import manifest
from tests.shop_in_memory import ShopInMemory


class Called(Functions):
    """The functions of a shop in memory. `names`: those that were called."""

    def __init__(self, shop: ShopInMemory) -> None:
        self._shop, self.names = shop, set[str]()

    def url(self, name: str) -> str:
        return f"http://{name}"

    def call(self, name: str, body: Any = None, path: str = "/", method: str = "POST", refused: bool = False) -> Any:
        self.names.add(name)
        if name == "graphql":
            return self._shop.http(method, path, json=body).json()
        answer = self._shop.call(name, b"" if body is None else json.dumps(body).encode(), method, path=path)
        assert answer.is_error == refused and answer.status_code < 500, f"{name}: {answer.text}"
        return answer.json() if answer.content else None


class Settling(Broker):
    def __init__(self, shop: ShopInMemory) -> None:
        self._shop = shop

    def deliver_all(self, functions: Functions) -> None:
        self._shop.settle()
        self._shop.deliver = lambda to, body: 204  # what comes later waits for another such call


def test_every_function_gets_work(shop: ShopInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAYMENT_URL", "SHIPPING_URL", "NOTIFICATION_URL"):
        monkeypatch.setenv(name, "")  # the measurement sets them for the processes that it starts
    called = Called(shop)
    run_the_shop(called, Settling(shop))
    pushed = {push.function for push in shop.pushed(*manifest().functions)}
    assert called.names | pushed == set(manifest().functions)
