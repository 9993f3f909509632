"""Clients that leave, dawdle or speak another protocol: none makes an error line, and the shop
serves the next one."""

import json
import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from tests.shop_in_memory import PATIENCE, ShopInMemory, served, until
from tests.streams import with_settings

QUERY = json.dumps({"query": "{ categories { id } }"}).encode()
EVENTS = json.dumps({"query": "subscription { eventStream { id } }"}).encode()
Lines = list[structlog.typing.EventDict]


@pytest.fixture
def address(shop: ShopInMemory) -> Iterator[str]:
    with served("client") as url:
        yield url


class Client:
    """A client at the level of its socket."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)

    def send(self, *lines: str, body: bytes = b"") -> None:
        self._socket.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode() + body)

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def post(self, body: bytes, length: int | None = None, accept: str = "*/*") -> None:
        """Send a request that promises `length` bytes, by default what it sends."""
        promised = len(body) if length is None else length
        kind = "Content-Type: application/json"
        self.send(
            "POST /graphql HTTP/1.1", "Host: shop", kind, f"Accept: {accept}", f"Content-Length: {promised}", body=body
        )

    def answer(self) -> str:
        """Read until the server closes the connection, or has sent something."""
        return self._socket.recv(65_536).decode()

    def leave(self, abruptly: bool) -> None:
        """Close the connection. `abruptly`: reset it, as a client does that is killed."""
        if abruptly:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def half_a_body(client: Client) -> None:
    client.post(QUERY[:10], length=1000)


def no_body(client: Client) -> None:
    client.post(b"", length=1000)


def half_a_chunk(client: Client) -> None:
    kind = "Content-Type: application/json"
    client.send("POST /graphql HTTP/1.1", "Host: shop", kind, "Transfer-Encoding: chunked", body=b"20\r\n{")


def before_the_body_is_asked_for(client: Client) -> None:
    kind = "Content-Type: application/json"
    client.send("POST /graphql HTTP/1.1", "Host: shop", kind, "Content-Length: 99", "Expect: 100-continue")


def half_a_head(client: Client) -> None:
    client.send_raw(b"POST /graphql HTTP/1.1\r\nHost: sh")


def a_whole_request(client: Client) -> None:
    client.post(QUERY)


def ten_requests_at_once(client: Client) -> None:
    for _ in range(10):
        client.post(QUERY)


def a_large_body(client: Client) -> None:
    client.post(b" " * 2_000_000, length=3_000_000)


def a_subscription(client: Client) -> None:
    client.post(EVENTS, accept="text/event-stream")


def a_subscription_that_has_begun(client: Client) -> None:
    client.post(EVENTS, accept="text/event-stream")
    assert client.answer().startswith("HTTP/1.1 200")


def no_http(client: Client) -> None:
    client.send("\x16\x03\x01\x02")


LEAVING: dict[str, Callable[[Client], None]] = {
    call.__name__: call
    for call in (
        *(half_a_body, no_body, half_a_chunk, before_the_body_is_asked_for, half_a_head, a_whole_request),
        *(ten_requests_at_once, a_large_body, a_subscription, a_subscription_that_has_begun, no_http),
    )
}


def serves(address: str) -> bool:
    response = httpx.post(f"{address}/graphql", json={"query": "{ categories { id } }"}, timeout=PATIENCE)
    return response.status_code in (200, 429)


def of_requests(lines: Lines) -> list[int]:
    return [line["status"] for line in lines if line["event"] == "request"]


def loud(lines: Lines, records: list[logging.LogRecord]) -> list[object]:
    """Return the errors among the lines, those of libraries included."""
    ours = [line for line in lines if line["log_level"] in ("error", "critical")]
    return [*ours, *(record.getMessage() for record in records if record.levelno >= logging.ERROR)]


@pytest.mark.parametrize("abruptly", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("begin", LEAVING.values(), ids=LEAVING)
def test_a_client_that_leaves_makes_no_error(
    shop: ShopInMemory, address: str, caplog: pytest.LogCaptureFixture, begin: Callable[[Client], None], abruptly: bool
) -> None:
    with capture_logs() as lines:
        for _ in range(5):
            client = Client(address)
            begin(client)
            client.leave(abruptly)
        assert serves(address)
        until(lambda: shop.engines.subscription_quota.open == 0)
    assert loud(lines, caplog.records) == []
    assert set(of_requests(lines)) <= {200, 400, 408, 413, 499}


@pytest.mark.parametrize("begin", [half_a_body, no_body, half_a_chunk], ids=lambda call: call.__name__)
def test_leaving_while_sending_is_one_line_with_the_status_499(
    shop: ShopInMemory, address: str, begin: Callable[[Client], None]
) -> None:
    with capture_logs() as lines:
        client = Client(address)
        begin(client)
        client.leave(abruptly=True)
        until(lambda: bool(of_requests(lines)))
    assert [(line["log_level"], line["status"]) for line in lines] == [("info", 499)]


def test_a_body_that_comes_too_slowly_is_refused(
    shop: ShopInMemory, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with_settings(shop, request_timeout_seconds=0.5)
    with capture_logs() as lines:
        client = Client(address)
        client.post(QUERY[:10], length=1000)
        assert client.answer().startswith("HTTP/1.1 408")
        with_settings(shop, request_timeout_seconds=PATIENCE)  # for the next client, whom a busy machine may delay
        client.leave(abruptly=True)
        assert serves(address)
    assert loud(lines, caplog.records) == []


def test_a_client_that_reads_nothing_makes_no_error(
    shop: ShopInMemory, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The answers fill the socket's buffers, so the server waits until the client is gone."""
    introspection = json.dumps({"query": "{ __schema { types { name description fields { name description } } } }"})
    with capture_logs() as lines:
        clients = [Client(address) for _ in range(3)]
        for client in clients:
            for _ in range(20):
                client.post(introspection.encode())
        assert serves(address)
        for client in clients:
            client.leave(abruptly=True)
        assert serves(address)
    assert loud(lines, caplog.records) == []


WEBSOCKET = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "graphql-transport-ws",
}


@pytest.mark.parametrize("path", ["/graphql", "/", "/subscriptions", "/graphql/ws"])
def test_an_upgrade_to_websocket_is_told_where_subscriptions_are(
    shop: ShopInMemory, address: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = httpx.get(f"{address}{path}", headers={**WEBSOCKET, "Upgrade": "WebSocket"}, timeout=PATIENCE)
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert "server-sent events" in error["message"] and "graphql-sse" in error["message"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert loud([], caplog.records) == []


def test_an_upgrade_to_another_protocol_is_ignored(shop: ShopInMemory, address: str) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "h2c"}
    query = {"query": "{ categories { id } }"}
    response = httpx.post(f"{address}/graphql", json=query, headers=headers, timeout=PATIENCE)
    assert response.status_code == 200


@pytest.mark.parametrize("function", ["create_category", "project_orders", "sandbox_provider/payments/x"])
def test_a_caller_of_another_function_that_leaves_makes_no_error(
    shop: ShopInMemory, caplog: pytest.LogCaptureFixture, function: str
) -> None:
    service = "query" if function.startswith("project") else "command"
    with served(service) as address, capture_logs() as lines:
        method = "PUT" if function.startswith("sandbox") else "POST"
        client = Client(address)
        kind, key = "Content-Type: application/json", "Idempotency-Key: k"
        client.send(f"{method} /{function} HTTP/1.1", "Host: shop", kind, key, "Content-Length: 99", body=b'{"')
        time.sleep(0.1)
        client.leave(abruptly=True)
        until(lambda: bool(of_requests(lines)))
    assert of_requests(lines) == [499]
    assert loud(lines, caplog.records) == []
