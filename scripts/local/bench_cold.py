"""Start every function in a fresh process, as Cloud Run does, and time it until its first real work
is done.

A small broker pulls what the functions publish and pushes it on, so that each function gets
messages which the functions before it have made. Beside them, functions of the plain libraries
(scripts/local/plain) start, which do the same kinds of I/O. All have the image's packages: some
libraries import what is installed for development only (structlog rich, httpcore trio).
"""

import base64
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import httpx
import psycopg
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient

from scripts.local.emulators import find_emulators, start_postgres
from scripts.local.migrate import migrate_all
from scripts.local.ports import Ports
from scripts.local.processes import CannotStart, Processes
from scripts.local.token import PROJECT
from shared.config.manifest import ROOT, Function, Subscription, manifest
from shared.config.settings import settings
from shared.domain.commands import CancelShipping
from shared.messaging.envelope import command_message
from shared.observability.context import fresh
from shared.resilience import clock

ADMIN = {"X-Actor": "bench", "X-Role": "admin"}
PLAIN = ROOT / "scripts" / "local" / "plain"
PLAIN_TABLE = "CREATE TABLE plain (id uuid PRIMARY KEY, body text)"
GOAL, GOALS = 1.3, {"graphql": 1.4}
"""How many times as long as the plain function a function may take, and other values by
function."""
SECONDS = 120
"""For a process to listen, and for it to answer."""
_IMPORTED = re.compile(r"import time:\s*(\d+) \|\s*\d+ \| +(\w+)")


class Functions(Protocol):
    def url(self, name: str) -> str: ...

    def call(self, name: str, body: Any = None, path: str = "/", method: str = "POST", refused: bool = False) -> Any:
        """Return the JSON that the function of the manifest answers. `refused`: it answers that it
        may not. Raise RuntimeError for another answer."""


class Broker(Protocol):
    def deliver_all(self, functions: Functions) -> None:
        """Deliver until the functions publish nothing new."""


class Start(NamedTuple):
    """Seconds from a process's start to its first answer, and the processor's seconds until
    then."""

    wall: float
    processor: float


class ColdFunctions:
    """Functions that start with their first call. `python`: what runs them. `beside_plain`: start
    after each the plain function, so that the machine disturbs both alike. `starts`: the
    measurements, by name, of the plain function by `plain NAME`."""

    def __init__(
        self, logs: Path, first_port: int, python: Path = Path(sys.executable), beside_plain: bool = False
    ) -> None:
        self._command, self._beside_plain = python.with_name("functions-framework"), beside_plain
        self.starts: dict[str, Start] = {}
        self._processes, self._first_port, self._ports = Processes(logs), first_port, dict[str, int]()
        self._http = httpx.Client(timeout=SECONDS, headers=ADMIN)

    def close(self) -> None:
        self._http.close()
        self._processes.stop()

    def call(self, name: str, body: Any = None, path: str = "/", method: str = "POST", refused: bool = False) -> Any:
        source = {"FUNCTION_SOURCE": f"{manifest().functions[name].source}"} if name in manifest().functions else {}
        first = name not in self._ports
        answer = self._call(name, source, body, path, method, refused)
        if first and self._beside_plain:
            self._start_plain(manifest().functions[name])
        return answer

    def start(self, name: str, body: Any, environment: Mapping[str, str]) -> None:
        """Start a function with this environment, and send it the body."""
        source = {"FUNCTION_SOURCE": f"{manifest().functions[name].source}"} if name in manifest().functions else {}
        self._call(name, {**source, **environment}, body)

    def _start_plain(self, function: Function) -> None:
        """Start the plain function that uses what the function uses, call it and stop it."""
        name, uses = f"plain {function.name}", " ".join(sorted(function.uses))
        served = {"FUNCTION_SOURCE": f"{PLAIN}/main.py", "FUNCTION_TARGET": "plain", "USES": uses}
        if function.name == "graphql":
            served |= {"FUNCTION_SOURCE": f"{PLAIN}/query.py", "FUNCTION_TARGET": "plain_graphql"}
        self._call(name, served, {"query": "{ products { id } }"})
        self._processes.stop_one(name)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    def _call(
        self,
        name: str,
        environment: Mapping[str, str],
        body: Any,
        path: str = "/",
        method: str = "POST",
        refused: bool = False,
    ) -> Any:
        began, cold = time.monotonic(), name not in self._ports
        if cold:
            self._start(name, environment)
        answer = self._http.request(method, self.url(name) + path, json=body)
        if cold:
            self.starts[name] = Start(time.monotonic() - began, self.processor_seconds(name))
        if answer.status_code >= 500 or answer.is_error != refused:
            raise RuntimeError(f"{name} answered {answer.status_code}: {answer.text}\n{self._processes.tail(name)}")
        return answer.json() if answer.content else None

    def _start(self, name: str, environment: Mapping[str, str]) -> None:
        self._ports[name] = port = self._first_port + len(self._ports)
        served = {"FUNCTION_TARGET": name, "PORT": str(port), "PYTHONPATH": str(ROOT)}
        self._processes.start(name, [self._command], {**served, **environment})
        self._processes.wait_until_listening(name, port, SECONDS)

    def processor_seconds(self, name: str) -> float:
        """Return the processor time of the function's process and its children so far."""
        return self._processes.processor_seconds(name)


class PullingBroker:
    """Pulls every subscription's messages and pushes them to its function, one after another."""

    def __init__(self) -> None:
        self._client, self._subscriptions = SubscriberClient(), manifest().all_subscriptions
        publisher = PublisherClient()
        for topic in (*manifest().topics, "plain"):
            publisher.create_topic(name=f"projects/{PROJECT}/topics/{topic}")
        for each in self._subscriptions:
            topic = f"projects/{PROJECT}/topics/{each.topic}"
            self._client.create_subscription(name=_path(each), topic=topic)

    def deliver_all(self, functions: Functions) -> None:
        while sum(self._deliver(each, functions) for each in self._subscriptions):
            pass

    def _deliver(self, each: Subscription, functions: Functions) -> bool:
        request = {"subscription": _path(each), "max_messages": 50, "return_immediately": True}
        pulled = self._client.pull(request=request).received_messages
        for received in pulled:
            message = received.message
            push(functions, each, message.message_id, message.data, message.attributes)
            self._client.acknowledge(subscription=_path(each), ack_ids=[received.ack_id])
        return bool(pulled)


def push(functions: Functions, to: Subscription, id: str, data: bytes, attributes: Mapping[str, str]) -> None:
    message = {"data": base64.b64encode(data).decode(), "messageId": id, "attributes": dict(attributes)}
    functions.call(to.endpoint, {"message": message, "subscription": _path(to)})


def _first(function: str) -> Subscription:
    return next(each for each in manifest().all_subscriptions if each.endpoint == function)


def _path(subscription: Subscription) -> str:
    return f"projects/{PROJECT}/subscriptions/{subscription.name}"


@contextmanager
def engines(folder: Path, ports: Ports) -> Iterator[None]:
    """Run PostgreSQL and both emulators, and set the environment of the functions. Raise
    CannotStart."""
    emulators, missing = find_emulators()
    if not emulators:
        raise CannotStart(missing)
    event_store, command_database, stop = start_postgres(folder / "postgres")
    processes = Processes(folder / "logs")
    pubsub = emulators.start_pubsub(processes, ports.pubsub)
    firestore = emulators.start_firestore(processes, ports.firestore)
    os.environ |= {
        "PROFILE": "engines",
        "PROJECT_ID": PROJECT,
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "EVENT_STORE_URL": event_store,
        "COMMAND_DATABASE_URL": command_database,
        "PUBSUB_EMULATOR_HOST": pubsub,
        "FIRESTORE_EMULATOR_HOST": firestore,
        "FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099",
    }
    settings.cache_clear()
    try:
        migrate_all(settings())
        for url in (event_store, command_database):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(PLAIN_TABLE)
        processes.wait_for("pubsub", f"http://{pubsub}")
        processes.wait_for("firestore", f"http://{firestore}")
        yield
    finally:
        processes.stop()
        stop()


def python_of_the_image(folder: Path) -> Path:
    """Install the image's packages, without those for development, into a new environment. Return
    its Python. Raise CannotStart."""
    uv, python = Path(sys.executable).with_name("uv"), folder / "bin" / "python"
    install = ["pip", "install", "--compile-bytecode", "--python", str(python), "-r", str(ROOT / "requirements.txt")]
    for arguments in (["venv", "--python", sys.executable, str(folder)], install):
        if subprocess.run([uv, *arguments, "--quiet"], check=False).returncode:
            raise CannotStart(f"could not install the image's packages into {folder}")
    return python


def measure(broker: PullingBroker, logs: Path, first_port: int, python: Path) -> dict[str, tuple[Start, Start]]:
    """Return by name the start of every function, and that of the plain function beside it."""
    functions = ColdFunctions(logs, first_port, python, beside_plain=True)
    try:
        run_the_shop(functions, broker)
        return {name: (functions.starts[name], functions.starts[f"plain {name}"]) for name in manifest().functions}
    finally:
        functions.close()


def run_the_shop(functions: Functions, broker: Broker) -> None:
    """Give every function its first work: a catalogue, orders with different ends, and an admin's
    work."""
    call = functions.call
    call("sandbox_provider", {"method": "approve", "amount": 1, "currency": "JPY"}, "/payments/first", "PUT")
    provider = functions.url("sandbox_provider")
    os.environ |= {"PAYMENT_URL": f"{provider}/payments", "SHIPPING_URL": f"{provider}/shipments"}
    os.environ["NOTIFICATION_URL"] = f"{provider}/notifications"
    category, empty, product, deleted, shipped, refused, cancelled, unseen = (str(clock.new_id()) for _ in range(8))
    for new in (category, empty):
        call("create_category", {"categoryId": new, "name": f"Cold {new}"})
    call("update_category", {"categoryId": category, "description": "x"})
    call("delete_category", {"categoryId": empty})
    for new in (product, deleted):
        about = {"productId": new, "name": "Tea", "price": 500, "categoryId": category, "stockQuantity": 10}
        call("create_product", about)
    call("update_product", {"productId": product, "description": "x"})
    call("change_product_price", {"productId": product, "newPrice": 600})
    call("adjust_stock", {"productId": product, "delta": 5})
    call("delete_product", {"productId": deleted})
    line = {"productId": product, "productName": "Tea", "quantity": 1, "unitPrice": 600}
    for new, shipping in ((shipped, "standard"), (refused, "refuse"), (cancelled, "standard")):
        call("create_order", {"orderId": new, "userId": "bench", "items": [line], "shippingMethod": shipping})
    call("cancel_order", {"orderId": cancelled})
    broker.deliver_all(functions)
    message = command_message(CancelShipping(UUID(cancelled)), f"order-{cancelled}", fresh())
    push(functions, _first("cancel_shipping"), str(message.id), message.body(), message.attributes())
    push(functions, _first("record_dead_letter"), str(clock.new_id()), b"not a message of the shop", {})
    call("create_order", {"orderId": unseen, "userId": "bench", "items": [line]})  # its message is not delivered
    for function in manifest().functions.values():
        if function.schedule:
            call(function.name)
    answer = call("graphql", {"query": "{ products(limit: 20) { name category { name } } }"}, "/graphql")
    assert answer["data"]["products"], answer
    letter = call("graphql", {"query": "{ deadLetters(limit: 1) { id } }"}, "/graphql")["data"]["deadLetters"][0]["id"]
    call("discard_dead_letter", {"id": letter, "reason": "bench"})
    call("retry_dead_letters", {})
    call("retry_saga", {"id": unseen})
    call("restart_saga", {"id": shipped, "fromStep": "ReserveInventory"}, refused=True)  # it has ended
    call("rebuild_projection", {"name": "project_products", "action": "REBUILD"})
    call("erase_person", {"userId": "bench", "reason": "bench"})


def medians(pairs: Sequence[tuple[Start, Start]]) -> tuple[Start, Start, Start]:
    """Return the medians of ours, of the plain function's, and of the ratios of both in the same
    round."""
    ratios = [Start(ours.wall / plain.wall, ours.processor / plain.processor) for ours, plain in pairs]
    ours, plain, times = (
        Start(*(median(column) for column in zip(*starts, strict=True)))
        for starts in (*zip(*pairs, strict=True), ratios)
    )
    return ours, plain, times


def imports(python: Path, name: str, top: int = 10) -> list[tuple[str, float]]:
    """Return the packages that take the longest to import for the function, with their own
    milliseconds."""
    module = ".".join(manifest().functions[name].source.relative_to(ROOT).with_suffix("").parts)
    command = [str(python), "-X", "importtime", "-c", f"import functions_framework, {module}"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr
    spent = Counter[str]()
    for found in _IMPORTED.finditer(told):
        spent[found[2]] += int(found[1])
    return [(package, microseconds / 1000) for package, microseconds in spent.most_common(top)]
