"""A log line says what happened, why and for which user, and holds no secret."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import structlog
from structlog.testing import capture_logs

from shared.config.manifest import ROOT
from shared.observability.logs import as_text, with_ids, without_secrets
from tests.shop_in_memory import Json, ShopInMemory
from tests.stand_ins import raising, with_methods

PROGRAM = """
import logging, structlog
from shared.observability import logs
from shared.observability.context import Context, SpanKind, handling, within
logs.configure("kyoto")
log = structlog.get_logger()
with within(Context("c-1", "k-1", "hanako", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")):
    log.warning("お茶 🍵", count=3, header="Bearer abc.def", note="write to hanako@example.co.jp, eyJhbGciOi.eyJzdWIi.sig")
    logging.getLogger("library").error("lost %s", "connection")
    try:
        raise ValueError("ann@example.com is not a number")
    except ValueError:
        log.exception("failed")
with logs.access_line("pay", "POST", "/お茶"), handling(Context("c-2", "k-2", "taro"), "pay", SpanKind.SERVER, {}):
    pass
"""


def lines(**environment: str) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(ROOT), "PATH": "", "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    assert run.stderr == ""
    return run.stdout.splitlines()


def test_in_the_cloud_a_line_is_one_json_object_that_cloud_logging_understands() -> None:
    first, second, third, access = map(json.loads, lines(K_SERVICE="create-order"))
    assert first | {"timestamp": ""} == {
        "severity": "WARNING",
        "message": "お茶 🍵",
        "count": 3,
        "header": "***",
        "note": "write to ***@***, ***",
        "correlation_id": "c-1",
        "actor": "hanako",
        "function": "create-order",
        "logging.googleapis.com/trace": "projects/kyoto/traces/0af7651916cd43dd8448eb211c80319c",
        "logging.googleapis.com/spanId": "b7ad6b7169203331",
        "timestamp": "",
    }
    assert (second["severity"], second["message"], second["correlation_id"]) == ("ERROR", "lost connection", "c-1")
    assert third["message"] == "failed"
    assert "Traceback" in third["stack_trace"]
    assert "ann@example.com" not in json.dumps(third)
    assert (access["severity"], access["message"], access["path"]) == ("INFO", "request", "/%E3%81%8A%E8%8C%B6")
    assert (access["correlation_id"], access["actor"], access["function"]) == ("c-2", "taro", "create-order")


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"status": 200, "milliseconds": 0.1, "name": "お茶", "actor": None},
        {"reason": 'it has "quotes", = and\nlines', "empty": "", "codes": ["A", "B"]},
        {"stack": "Stack (most recent call last):\n  here"},
        {"exception": "Traceback:\nValueError"},
        {"stack": "Stack (most recent call last):\n  here", "exception": "Traceback:\nValueError", "b": 1, "a": 2},
    ],
)
def test_a_line_of_text_is_the_one_that_structlog_writes(more: Json) -> None:
    line = {"timestamp": "2026-01-01T00:00:00Z", "level": "info", "event": "request", **more}
    theirs = structlog.dev.ConsoleRenderer(colors=False)
    assert as_text(None, "info", dict(line)) == theirs(None, "info", dict(line))


def test_outside_the_cloud_a_line_is_text_for_people() -> None:
    text = "\n".join(lines())
    assert "お茶 🍵" in text
    assert "[warning" in text
    with pytest.raises(json.JSONDecodeError):
        json.loads(text.splitlines()[0])


@pytest.mark.parametrize("secret", ["hanako@example.com", "a.b+c@sub.example.co.jp", "bearer x.y.z", "eyJhb.eyJz.abc"])
def test_tokens_and_addresses_are_masked(secret: str) -> None:
    assert secret.rsplit(maxsplit=1)[-1] not in without_secrets(f"before {secret} after")
    assert without_secrets("order 0190b1b6-7c5e@3 times, 50% eyes") == "order 0190b1b6-7c5e@3 times, 50% eyes"


def requests(act: Callable[[], object]) -> list[Json]:
    """Return the access lines of all functions that were called."""
    with capture_logs() as lines:
        act()
    return [dict(line) for line in lines if line["event"] == "request"]


def test_a_graphql_request_has_one_access_line(shop: ShopInMemory) -> None:
    (line,) = requests(lambda: shop.ask("query Look { products { id } }"))
    assert line.pop("milliseconds") > 0
    assert line.pop("seconds") > 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "function": "graphql",
        "method": "POST",
        "path": "/graphql",
        "status": 200,
        "operation": "query",
        "name": "Look",
        "outcome": "OK",
    }


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda shop: shop.graphql('{ product(id: "tea") { id } }'), {"status": 200, "errors": ["INVALID_INPUT"]}),
        (lambda shop: shop.graphql("{ nothing }"), {"status": 200, "errors": ["INVALID_INPUT"]}),
        (lambda shop: shop.http("PUT"), {"status": 405, "errors": ["INVALID_INPUT"]}),
        (lambda shop: shop.http("GET", "/%E3%81%8A%1b"), {"status": 404}),
        (lambda shop: shop.http("GET", "/ann@example.com"), {"status": 404, "path": "/ann@example.com"}),
        (lambda shop: shop.call("create_order", b"{}"), {"function": "create_order", "status": 422}),
        (lambda shop: shop.call("create_order", b"", method="GET"), {"function": "create_order", "status": 405}),
        (lambda shop: shop.push("order_saga", {}), {"function": "order_saga", "status": 422}),
        (lambda shop: shop.call("relay_outbox"), {"function": "relay_outbox", "status": 200}),
        (lambda shop: shop.call("sandbox_provider", method="GET"), {"function": "sandbox_provider", "status": 404}),
    ],
)
def test_an_access_line_tells_the_result(shop: ShopInMemory, ask: Callable[[ShopInMemory], object], said: Json) -> None:
    (line,) = requests(lambda: ask(shop))
    assert said.items() <= line.items()
    assert line["path"].isprintable() and line["path"].isascii()


def test_access_lines_name_the_subscription_and_the_message(shop: ShopInMemory) -> None:
    def act() -> None:
        shop.new_order(shop.new_product())
        shop.settle()

    lines = requests(act)
    assert {line["subscription"] for line in lines if "subscription" in line} >= {"order-saga.order-events"}
    assert {line["message"] for line in lines if line["function"] == "process_payment"} == {"ProcessPayment"}
    assert {line["status"] for line in lines} == {200, 204}


def test_probes_and_scrapes_are_not_logged(shop: ShopInMemory) -> None:
    assert requests(lambda: [shop.http("GET", "/health/live"), shop.http("GET", "/metrics")]) == []


@contextmanager
def written() -> Iterator[list[Json]]:
    """Yield the lines that the shop writes inside the block, with the ids that it adds to each."""
    before, capture = structlog.get_config(), structlog.testing.LogCapture()
    structlog.configure([with_ids, structlog.processors.format_exc_info, capture])
    try:
        yield capture.entries  # type: ignore[misc]
    finally:
        structlog.configure(**before)


def test_searching_for_an_order_finds_its_whole_story(shop: ShopInMemory) -> None:
    """From the client's request to the dead letter: nothing about the order is without its id."""
    product, working = shop.new_product(), shop.engines.payments
    shop.settle()
    down = raising(RuntimeError("a bug"))
    shop.engines.payments = with_methods(working, charge=down)
    line = {"productId": product, "productName": "Tea", "quantity": 1, "unitPrice": "500"}
    create = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } } }"
    with written() as lines:
        order_id = shop.ask(create, input={"userId": "ann", "items": [line]})["createOrder"]["order"]["id"]
        shop.settle()
        stranger = {"X-Actor": "bob", "X-Role": "writer", "X-Correlation-Id": "refused-1"}
        assert shop.command("cancel_order", {"orderId": order_id}, stranger).status_code == 403
    story = [one for one in lines if one.get("order") == order_id]
    assert story == lines
    assert {"graphql", "create_order", "order_saga", "reserve_inventory", "process_payment", "project_orders"} <= {
        one.get("function") for one in story
    }
    said = {one["event"] for one in story}
    assert {"request", "the request failed", "a message could not be delivered", "the request was refused"} <= said
    (event,) = [one for one in shop.log() if one.type == "OrderCreated"]
    refusal = next(one for one in story if one["event"] == "the request was refused")
    assert (refusal["correlation_id"], refusal["actor"]) == ("refused-1", "bob")
    ours = {one["correlation_id"] for one in story if one["correlation_id"] != "refused-1"}
    assert ours == {event.metadata.correlation_id}
    assert all("Traceback" in one["exception"] for one in story if one["event"] == "the request failed")


def test_a_refused_command_carries_its_caller_even_when_it_cannot_be_read(shop: ShopInMemory) -> None:
    headers = {"X-Actor": "bob", "X-Role": "writer", "X-Correlation-Id": "c-9"}
    with written() as lines:
        shop.call("create_order", b"no JSON", headers=headers)
        shop.command("create_category", {"name": "Tea"}, headers)
    assert {(one["correlation_id"], one["actor"]) for one in lines} == {("c-9", "bob")}
    assert [one["event"] for one in lines] == 2 * ["the request was refused", "request"]


def test_outside_the_cloud_a_line_names_its_trace() -> None:
    assert any("trace=0af7651916cd43dd8448eb211c80319c" in line for line in lines())
