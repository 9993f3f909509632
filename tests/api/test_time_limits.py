"""A hung command, provider or database is an error in time, never a hung request; breakers stop
calls that fail."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from threading import Thread
from typing import Any, NoReturn

import httpx
import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient

from shared.api.limits import from_stores, working_for
from shared.api.schema import schema
from shared.config.settings import Settings
from shared.domain.errors import Invalid, TimedOut, Unavailable
from shared.gateways import providers
from shared.gateways.providers import HttpProvider
from shared.read_models.firestore import FirestoreQueries
from shared.read_models.protocol import Find
from shared.resilience.breakers import Breaker
from shared.resilience.calls import deadline
from tests.callers import as_nobody
from tests.fakes import MovableClock, method_replaced
from tests.ports import free_port
from tests.shop_in_memory import PATIENCE, ShopInMemory
from tests.streams import with_settings

CREATE = 'mutation { createCategory(input: {name: "Tea"}) { id } }'
Handler = Callable[[httpx.Request], object]


@pytest.fixture
def shop_settings(provider: str) -> Settings:
    return Settings(
        profile="memory",
        sign_in_required=True,
        payment_url=f"{provider}/payments",
        breaker_fail_max=4,
        breaker_reset_seconds=60,
    )


@pytest.fixture
def hasty(shop: ShopInMemory, movable_clock: MovableClock) -> MovableClock:
    """Give a request half a second by a clock that only the test moves, so that no other work uses
    it up. A command is waited for 0.3 seconds by the real clock."""
    with_settings(shop, command_timeout_seconds=0.3, request_timeout_seconds=0.5)
    movable_clock.stop()
    return movable_clock


def answer_with(shop: ShopInMemory, handler: Handler) -> list[httpx.Request]:
    """Let `handler` answer in place of the command functions; return the list of the requests it
    gets."""
    asked: list[httpx.Request] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer = handler(request)
        found = await answer if asyncio.iscoroutine(answer) else answer
        assert isinstance(found, httpx.Response)
        return found

    schema()  # built here, so that building it takes no time of the first request
    shop.engines.command_http = httpx.AsyncClient(transport=httpx.MockTransport(handle))
    return asked


def error(code: str, status: int) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "message": "no", "field": []})


def hang_for(seconds: float, machine: MovableClock) -> Handler:
    """Return a handler that never answers. It moves the clock by the time that its caller waits."""

    async def hang(_: httpx.Request) -> httpx.Response:
        machine.move(seconds)
        await asyncio.sleep(300)
        return httpx.Response(200)

    return hang


def test_a_hung_command_makes_a_timeout_in_the_time_of_the_whole_request(
    shop: ShopInMemory, hasty: MovableClock
) -> None:
    asked = answer_with(shop, hang_for(0.3, hasty))
    refused = shop.refusal(CREATE)
    assert refused["code"] == "TIMEOUT"
    assert len(asked) == 2  # the second attempt has the other 0.2 seconds
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1


def test_a_hung_command_is_a_timeout_even_if_the_second_attempt_is_refused(shop: ShopInMemory) -> None:
    """A hung database keeps its connections, so the next request is refused for want of one."""
    answers = iter([error("TIMEOUT", 504), error("SERVICE_UNAVAILABLE", 503)])

    async def first_slow(_: httpx.Request) -> httpx.Response:
        return next(answers)

    asked = answer_with(shop, first_slow)
    answer = shop.graphql(CREATE)["errors"][0]
    assert answer["extensions"]["code"] == "TIMEOUT"
    assert "it may have happened" in answer["message"]
    assert len(asked) == 2


def test_many_hung_commands_of_one_request_share_its_time(shop: ShopInMemory, hasty: MovableClock) -> None:
    asked = answer_with(shop, hang_for(0.3, hasty))
    fields = " ".join(f'm{n}: createCategory(input: {{name: "{n}"}}) {{ id }}' for n in range(20))
    answer = shop.graphql(f"mutation {{ {fields} }}")
    assert len(asked) == 2  # those of the first field; the others had no time left
    found = {one["extensions"]["code"] for one in answer["errors"]}
    assert found <= {"TIMEOUT", "SERVICE_UNAVAILABLE"}
    assert len(answer["errors"]) == 20


def test_a_command_receives_the_time_that_is_left(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    with_settings(shop, command_timeout_seconds=10, request_timeout_seconds=5)
    movable_clock.stop()
    asked = answer_with(shop, lambda _: error("NOT_FOUND", 404))
    assert shop.refusal(CREATE)["code"] == "NOT_FOUND"
    assert float(asked[0].headers["X-Timeout"]) == 4.5  # half a second is for the way back


def test_a_breaker_opens_for_the_command_that_fails_and_for_no_other(shop: ShopInMemory) -> None:
    category = shop.new_category()
    asked = answer_with(shop, lambda _: httpx.Response(503, text="The request was aborted: no available instance"))
    codes = [shop.refusal(CREATE)["code"] for _ in range(4)]
    assert codes == ["SERVICE_UNAVAILABLE"] * 4
    assert len(asked) == 4  # two requests, each tried twice; the others were refused at once
    refused = shop.refusal(CREATE)
    assert refused["retryAfter"] >= 1
    assert shop.engines.breakers.states()["create_category"] == "open"
    shop.refusal(f'mutation {{ deleteCategory(id: "{category}") {{ success }} }}')
    assert len(asked) == 6


def test_a_breaker_closes_again_by_itself(shop: ShopInMemory, movable_clock: MovableClock) -> None:
    working = shop.engines.command_http
    answer_with(shop, lambda _: httpx.Response(503, text="The request was aborted: no available instance"))
    for _ in range(3):
        shop.refusal(CREATE)
    shop.engines.command_http = working
    assert shop.refusal(CREATE)["code"] == "SERVICE_UNAVAILABLE"
    movable_clock.move(61)
    assert shop.ask(CREATE)["createCategory"]["id"]
    assert shop.engines.breakers.states()["create_category"] == "closed"


@pytest.mark.parametrize(
    ("code", "status"),
    [("BUSINESS_RULE_VIOLATION", 409), ("INVALID_INPUT", 422), ("CONFLICT", 409), ("INTERNAL_ERROR", 500)],
)
def test_an_error_answer_is_no_failure_to_the_breaker(shop: ShopInMemory, code: str, status: int) -> None:
    asked = answer_with(shop, lambda _: error(code, status))
    assert {shop.refusal(CREATE)["code"] for _ in range(10)} == {code}
    assert len(asked) == 10
    assert shop.engines.breakers.states()["create_category"] == "closed"


def test_a_command_with_an_invalid_time_limit_is_refused(shop: ShopInMemory) -> None:
    for wrong in ("soon", "-1", "1e9", "nan", "", "1" * 9):
        answer = shop.command("create_category", {"name": "Tea"}, {"X-Timeout": wrong})
        assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")
    assert shop.log() == []


@pytest.fixture
def dripping() -> Iterator[str]:
    """A provider that sends one byte at a time and never the last one."""
    port = free_port()
    server = socket.create_server(("127.0.0.1", port))

    def drip() -> None:
        client, _ = server.accept()
        with client:
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            try:
                while True:
                    client.sendall(b" ")
                    time.sleep(0.05)
            except OSError:
                return

    Thread(target=drip, daemon=True).start()
    yield f"http://127.0.0.1:{port}"
    server.close()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


def payments(url: str, client: httpx.Client) -> HttpProvider:
    return HttpProvider(url, client, Breaker("the provider", 10, 5))


def test_a_provider_that_drips_its_answer_is_cut_off(
    dripping: str, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "TIMEOUT", 0.4)
    gateway = payments(dripping, client)
    started = time.monotonic()
    with pytest.raises(TimedOut, match="may have happened"):
        gateway.refund("key")
    assert time.monotonic() - started < 10


def test_a_provider_is_waited_for_no_longer_than_the_step_has(dripping: str, client: httpx.Client) -> None:
    gateway = payments(dripping, client)
    started = time.monotonic()
    with deadline(0.3), pytest.raises(TimedOut):
        gateway.refund("key")
    assert time.monotonic() - started < 10


def test_a_provider_that_answers_without_end_is_refused() -> None:
    huge = json.dumps({"status": "undone", "reason": "x" * providers.MAX_ANSWER}).encode()
    client = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=huge)))
    gateway = payments("http://provider", client)
    with pytest.raises(Invalid, match="did not answer"):
        gateway.refund("key")


def test_a_body_that_never_ends_is_refused(shop: ShopInMemory) -> None:
    with_settings(shop, request_timeout_seconds=0.5)

    async def drip() -> AsyncIterator[bytes]:
        yield b'{"query": "'
        while True:
            await asyncio.sleep(0.05)
            yield b" "

    started = time.monotonic()
    response = shop.http("POST", content=drip(), headers={"Content-Type": "application/json"})
    assert time.monotonic() - started < 10
    assert response.status_code == 408
    assert "did not arrive in time" in response.json()["errors"][0]["message"]


def test_a_body_that_arrives_after_the_request_is_out_of_time_is_a_timeout(shop: ShopInMemory) -> None:
    """For example because verifying a token took all the time."""
    with deadline(0.0):
        response = as_nobody(shop, "{ __typename }")
    assert response.status_code == 408
    assert response.json()["errors"][0]["extensions"]["code"] == "TIMEOUT"


class Slow:
    """Stands for a Firestore that does not answer in time."""

    async def run_query(self, **_: Any) -> NoReturn:
        raise exceptions.DeadlineExceeded("too late")  # type: ignore[no-untyped-call]

    batch_get_documents = run_query


@pytest.mark.parametrize(
    ("seconds", "call", "opens"),
    [
        (60.0, lambda queries: queries.get_many("products", ["a"]), True),
        (60.0, lambda queries: queries.find(Find("products", "name")), False),
        (1.0, lambda queries: queries.get_many("products", ["a"]), False),
    ],
    ids=["a small read with all its time", "a read of many documents", "the rest of a caller's time"],
)
def test_only_a_timeout_that_is_firestores_opens_its_breaker(
    seconds: float, call: Callable[[FirestoreQueries], Coroutine[Any, Any, Any]], opens: bool
) -> None:
    breaker, client = Breaker("Firestore", 3, 5), AsyncClient("shop", AnonymousCredentials())
    client._firestore_api_internal = Slow()
    for _ in range(4):
        with deadline(seconds), pytest.raises((TimedOut, Unavailable)):
            asyncio.run(call(FirestoreQueries(client, breaker)))
    assert (breaker.state == "open") == opens


def test_one_clients_calls_leave_threads_to_the_others(
    movable_clock: MovableClock, hang: Callable[..., NoReturn]
) -> None:
    """Even calls that are still under way after their request has timed out."""
    movable_clock.stop()  # so that no time is up before a call begins to wait

    async def asked(client: str, call: Callable[..., Any], calls: int, seconds: float = 0.3) -> list[Any]:
        with working_for(client), deadline(seconds):
            return await asyncio.gather(*(from_stores(call) for _ in range(calls)), return_exceptions=True)

    async def both() -> None:
        assert {type(one) for one in await asked("user greedy", hang, 40)} == {TimedOut}
        assert {type(one) for one in await asked("user greedy", list, 1)} == {TimedOut}
        assert await asked("user other", list, 20, PATIENCE) == [[]] * 20

    asyncio.run(both())


def test_the_first_command_after_an_outage_of_the_database_succeeds(shop: ShopInMemory) -> None:
    """However many commands were refused meanwhile: no breaker waits for a trial."""

    def down(*_: object, **__: object) -> NoReturn:
        raise Unavailable("the database does not answer")

    create = 'mutation { createCategory(input: {name: "Tea"}) { id } }'
    with method_replaced(shop, "event_store.append", down):
        for _ in range(shop.engines.settings.breaker_fail_max + 1):
            assert shop.refusal(create)["code"] == "SERVICE_UNAVAILABLE"
    assert shop.ask(create)["createCategory"]["id"]
