"""Call GraphQL as a client does, and run `scripts/dev` as a user does."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from scripts.local.local_http import local_http
from scripts.local.processes import WITH_PARENT
from scripts.local.token import emulator_token
from shared.config.manifest import ROOT
from tests.ports import free_port

Fields = dict[str, Any]

ADMIN = emulator_token("admin@example.com")
ENDED = ("CONFIRMED", "CANCELLED", "FAILED")

ORDER = (
    "id status totalAmount reason sagaId sagaStatus sagaCurrentStep paymentId shippingId items { productId quantity }"
)
CREATE_ORDER = (
    f"mutation ($input: CreateOrderInput!) {{ createOrder(input: $input) {{ success order {{ {ORDER} }} }} }}"
)
CREATE_CATEGORY = "mutation ($input: CreateCategoryInput!) { createCategory(input: $input) { id name } }"
CREATE_PRODUCT = (
    "mutation ($input: CreateProductInput!) { createProduct(input: $input) { id name price stockQuantity } }"
)
STOCK = "query ($id: ID!) { product(id: $id) { stockQuantity reservedQuantity availableQuantity } }"


class Client:
    """A client of the shop that listens on `port`."""

    port: int

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/graphql"

    def ask(self, query: str, **variables: Any) -> Fields:
        """Return the whole answer to an admin's query; wait and retry when the rate limit refuses
        it."""
        headers = {"Authorization": f"Bearer {ADMIN}"}
        asked = {"query": query, "variables": variables}
        while (response := local_http().post(self.url, json=asked, headers=headers)).status_code == 429:
            time.sleep(int(response.headers["Retry-After"]))
        answer: Fields = response.json()
        return answer

    def data(self, query: str, **variables: Any) -> Fields:
        """Return the data of an answer, which must have no errors."""
        answer = self.ask(query, **variables)
        assert "errors" not in answer, answer
        data: Fields = answer["data"]
        return data

    def product(self, stock: int, price: str = "1500", name: str = "知覧茶 100g 🍵") -> Fields:
        """Create a product in a new category and return it."""
        category = self.data(CREATE_CATEGORY, input={"name": f"お茶 {time.time_ns()}"})["createCategory"]
        given = {"name": name, "price": price, "categoryId": category["id"], "stockQuantity": stock}
        made: Fields = self.data(CREATE_PRODUCT, input=given)["createProduct"]
        return made

    def order(self, product: Fields, quantity: int = 1, **choices: str) -> str:
        """Place an order and return its id."""
        line = {"productId": product["id"], "productName": product["name"], "quantity": quantity}
        given = {"userId": "hanako", "items": [line | {"unitPrice": product["price"]}], **choices}
        answer = self.data(CREATE_ORDER, input=given)["createOrder"]
        assert answer["success"] is True
        assert answer["order"]["status"] == "PENDING"
        order_id: str = answer["order"]["id"]
        return order_id

    def read_order(self, order_id: str) -> Fields:
        """Return the order from the read model; empty until it is there."""
        answer = self.ask(f"query ($id: ID!) {{ order(id: $id) {{ {ORDER} }} }}", id=order_id)
        return (answer.get("data") or {}).get("order") or {}

    def until_ended(self, order_id: str, seconds: float = 120) -> tuple[Fields, list[str]]:
        """Wait for the order's end; return the order and the statuses seen on the way."""
        seen: list[str] = []

        def ended() -> bool:
            status = self.read_order(order_id).get("status", "")
            if status and status not in seen:
                seen.append(status)
            return status in ENDED

        wait_until(ended, seconds)
        return self.read_order(order_id), seen

    def stock(self, product: Fields) -> tuple[int, int]:
        """Return the units on hand and the reserved units."""
        read = self.ask(STOCK, id=product["id"])["data"]["product"] or {}
        return read.get("stockQuantity", -1), read.get("reservedQuantity", -1)

    def ledger(self, kind: str) -> dict[str, str]:
        """Return the sandbox's status of every payment or shipment, by order."""
        entries = local_http().get(f"http://127.0.0.1:{self.port + 1}/sandbox_provider/{kind}").json()
        return {entry["key"]: entry["status"] for entry in entries}


class RunningShop(Client):
    """One run of `scripts/dev`, of the repository in the folder `root`. `folder`: its data.
    `screen`: its output so far."""

    def __init__(
        self, data: Path, *options: str, port: int | None = None, root: Path = ROOT, **environment: str
    ) -> None:
        self.port, self.folder = port or free_port(9) + 1, data  # the port before stays free, for a test
        # The shop stops with the test run, also when a test fails before it closes the shop.
        command = [
            *WITH_PARENT,
            sys.executable,
            "-m",
            "scripts.local.dev",
            f"--port={self.port}",
            f"--data={data}",
            *options,
        ]
        self._output = data.with_suffix(".out")
        self._output.parent.mkdir(parents=True, exist_ok=True)
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=root,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1", **environment},
            )

    @property
    def screen(self) -> str:
        return self._output.read_text()

    def open(self, seconds: float = 180) -> "RunningShop":
        """Wait until the screen says that the shop is open."""
        wait_until(lambda: "Ctrl-C stops it all" in self.screen or self.process.poll() is not None, seconds)
        assert self.process.poll() is None, self.screen
        return self

    def close(self) -> int:
        """Press Ctrl-C and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(120)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def example(self) -> str:
        """Return the command that the screen offers to paste."""
        found = re.search(r"^  (curl .*)$", self.screen, re.MULTILINE)
        assert found, self.screen
        return found[1]


def wait_until(holds: Callable[[], bool], seconds: float, every: float = 0.05) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(every)
