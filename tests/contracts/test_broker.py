"""The contract of a message broker, tested on the Pub/Sub emulator and in memory."""

import base64
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from scripts.local.topology import create_topology
from shared.config.manifest import Subscription
from shared.dead_letters.protocol import decode_dead_letter
from shared.domain.errors import Unavailable
from shared.messaging.envelope import Message, Push, PushedMessage, decode_message, decode_push
from shared.messaging.memory import MemoryBroker
from shared.messaging.outbox import Publisher
from shared.messaging.pubsub import PubSubPublisher, batching_client
from shared.observability.context import Context
from shared.resilience.breakers import Breaker

PROJECT = "broker"
WORK = Subscription("worker.things", "things", "worker", "command", 0.1, 0.3, 5, 10, "worker.things.dead")
RECORDER = replace(WORK, name="recorder.worker.things.dead", topic="worker.things.dead", endpoint="recorder")
SUBSCRIPTIONS = [WORK, replace(RECORDER, dead_letter_topic=None)]

CONTEXT = Context("correlation", "causation", "hanako", "00-1-2-01")
Answer = Callable[[Push], int]


class Endpoints:
    """HTTP endpoints that record pushes; `answer` returns the worker's status."""

    def __init__(self) -> None:
        self.pushed: dict[str, list[Push]] = {"worker": [], "recorder": []}
        self.answer: Answer = lambda push: 204
        endpoints = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                push = decode_push(self.rfile.read(int(self.headers["Content-Length"])))
                name = self.path.strip("/")
                endpoints.pushed[name].append(push)
                self.send_response(endpoints.answer(push) if name == "worker" else 204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing: the test run has its own output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, subscription: Subscription) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{subscription.endpoint}"

    def bodies(self, name: str) -> list[str]:
        return [decode_message(push).data["body"] for push in list(self.pushed[name])]


@pytest.fixture
def endpoints() -> Iterator[Endpoints]:
    made = Endpoints()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(params=["memory", "pubsub"])
def broker(request: pytest.FixtureRequest, endpoints: Endpoints) -> Iterator[Publisher]:
    if request.param == "memory":
        client = httpx.Client(timeout=60)
        memory = MemoryBroker(
            SUBSCRIPTIONS, lambda subscription, body: client.post(endpoints.url(subscription), json=body).status_code
        )
        memory.start()
        yield memory
        memory.close()
        client.close()
        return
    project = f"{PROJECT}-{time.time_ns()}"  # topics of its own
    request.getfixturevalue("pubsub")
    create_topology(project, SUBSCRIPTIONS, endpoints.url)
    yield PubSubPublisher(project, batching_client(), Breaker("Pub/Sub", 10, 5))


def message(body: str) -> Message:
    return Message(
        "things", "Happened", "thing-1", {"body": body}, Context("correlation", "causation", "hanako", "00-1-2-01")
    )


def eventually(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def test_a_message_arrives_as_it_was_sent(broker: Publisher, endpoints: Endpoints) -> None:
    sent = message("お茶 🍵")
    assert broker.publish([sent]) == [sent.id]
    eventually(lambda: endpoints.bodies("worker") == ["お茶 🍵"])
    push = endpoints.pushed["worker"][0]
    assert decode_message(push) == sent
    assert push.subscription.endswith("/worker.things")


@pytest.mark.parametrize("data", [b"\x00\xff poison", b""])
def test_a_dead_letter_is_published_again_exactly_as_before(
    broker: Publisher, endpoints: Endpoints, data: bytes
) -> None:
    """Use attributes with the names of the client's parameters, too."""
    own = {
        "colour": "緑 🍵",
        "topic": "x",
        "data": "x",
        "retry": "x",
        "timeout": "x",
        "ordering_key": "x",
        "null": "a\0b",
    }
    encoded = base64.b64encode(data).decode()
    push = Push(PushedMessage("1", encoded, own), "projects/p/subscriptions/worker.things")
    again = decode_dead_letter(push, "things").letter.for_its_subscription()
    assert again
    assert broker.publish([again]) == [again.id]
    eventually(lambda: len(endpoints.pushed["worker"]) == 1)
    message = endpoints.pushed["worker"][0].message
    assert message.data == encoded
    assert message.attributes == own | {"dead-letter": str(again.id), "only-for": "worker.things"}


@pytest.mark.usefixtures("pubsub")
def test_a_message_that_is_too_large_does_not_stop_the_others() -> None:
    project = f"{PROJECT}-{time.time_ns()}"
    create_topology(project, SUBSCRIPTIONS, lambda _: "http://127.0.0.1:1")
    good = message("good")
    publisher = PubSubPublisher(project, batching_client(), Breaker("Pub/Sub", 1, 60))
    with pytest.raises(Unavailable, match="does not accept"):
        publisher.publish([message("x" * 11_000_000)])
    assert publisher.publish([message("x" * 11_000_000), good]) == [good.id]


def test_a_message_without_acknowledgement_is_delivered_again(broker: Publisher, endpoints: Endpoints) -> None:
    endpoints.answer = lambda push: 204 if len(endpoints.pushed["worker"]) >= 3 else 503
    broker.publish([message("again")])
    eventually(lambda: len(endpoints.pushed["worker"]) >= 3)
    assert set(endpoints.bodies("worker")) == {"again"}
    assert endpoints.bodies("recorder") == []


def test_a_poison_message_reaches_its_dead_letter_topic_and_the_others_are_delivered(
    broker: Publisher, endpoints: Endpoints
) -> None:
    endpoints.answer = lambda push: 422 if decode_message(push).data["body"] == "poison" else 204
    broker.publish([message("poison"), *[message(str(n)) for n in range(10)]])
    eventually(lambda: {str(n) for n in range(10)} <= set(endpoints.bodies("worker")))
    eventually(lambda: endpoints.bodies("recorder") == ["poison"])
    attributes = endpoints.pushed["recorder"][0].message.attributes
    assert attributes["CloudPubSubDeadLetterSourceSubscription"] == "worker.things"
    assert int(attributes["CloudPubSubDeadLetterSourceDeliveryCount"]) >= WORK.max_attempts


def test_the_broker_knows_which_topics_exist(broker: Publisher) -> None:
    assert broker.has_topic("things") is True
    assert broker.has_topic("nothings") is False
