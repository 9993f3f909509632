"""Clients that order at random, and repeated deliveries of all messages."""

import base64
import itertools
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from threading import Event
from typing import Any
from uuid import UUID

import httpx
import psycopg
from psycopg.rows import TupleRow
from uuid_utils.compat import uuid7

from scripts.local.local_http import local_http
from shared.config.manifest import manifest
from shared.domain import commands
from shared.event_store.aggregates import announcement
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Checkpoint
from shared.messaging.envelope import Message, topic
from shared.observability.context import fresh
from shared.postgres.pool import connect
from tests.end_to_end.running_shop import CREATE_ORDER, Fields
from tests.failure.breakable_shop import BreakableShop

PAYMENTS = {"approve": 60, "decline": 10, "fail-1": 12, "fail-2": 8, "unheard-of": 2}
SHIPMENTS = {"standard": 70, "refuse": 12, "fail-1": 10, "fail-2": 8}
CANCEL = "mutation ($id: ID!) { cancelOrder(id: $id) { success } }"
UNKNOWN = {"SERVICE_UNAVAILABLE", "TIMEOUT"}
"""Codes after which the change may have happened, as after no answer."""
PATIENCE = 180.0
"""Seconds in which a client repeats a command that gets no answer."""


@dataclass
class Client:
    """Places one order after the other. `accepted`: orders that the shop accepted. `unknown`: how
    many may have been accepted without an answer. `slow`: how many of the first use a payment
    method that never answers in time."""

    shop: BreakableShop
    products: list[Fields]
    random: Random
    slow: int = 0
    accepted: list[str] = field(default_factory=list)
    unknown: int = 0
    surprises: list[Any] = field(default_factory=list)

    def order(self, times: int) -> None:
        """Wait until that many orders are accepted."""
        for number in itertools.count():
            if len(self.accepted) >= times:
                return
            payment = "time-out" if number < self.slow else self._one_of(PAYMENTS)
            lines = [self._line(product) for product in self.random.sample(self.products, self.random.randint(1, 2))]
            wanted = {"userId": "hanako", "items": lines, "paymentMethod": payment}
            order_id = self._place(wanted | {"shippingMethod": self._one_of(SHIPMENTS)})
            if order_id and self.random.random() < 0.15:
                time.sleep(self.random.uniform(0, 0.5))
                for _ in range(self.random.randint(1, 2)):
                    self._ask(CANCEL, id=order_id)
            time.sleep(self.random.uniform(0, 0.6))

    def _one_of(self, choices: dict[str, int]) -> str:
        return self.random.choices(list(choices), list(choices.values()))[0]

    def _line(self, product: Fields) -> Fields:
        quantity = self.random.randint(1, 3)
        line = {"productId": product["id"], "productName": product["name"], "quantity": quantity}
        return line | {"unitPrice": product["price"]}

    def _place(self, wanted: Fields) -> str | None:
        order_id = self._by_key(wanted) if self.random.random() < 0.4 else self._by_graphql(wanted)
        if order_id:
            self.accepted.append(order_id)
        return order_id

    def _by_graphql(self, wanted: Fields) -> str | None:
        answer = self._ask(CREATE_ORDER, input=wanted)
        return answer["createOrder"]["order"]["id"] if answer else None

    def _ask(self, query: str, **variables: Any) -> Fields | None:
        """Return the data; None for a refusal or no answer."""
        try:
            answer = self.shop.ask(query, **variables)
        except httpx.TransportError:
            self.unknown += 1
            return None
        codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
        self.unknown += bool(codes & UNKNOWN)
        if codes - UNKNOWN - {"BUSINESS_RULE_VIOLATION", "CONFLICT"}:
            self.surprises.append(answer)
        return None if codes else answer["data"]

    def _by_key(self, wanted: Fields) -> str:
        """Repeat the command until it is answered, then once or twice more; assert that all answers
        are equal."""
        order_id, key = str(uuid7()), str(uuid7())
        answers: list[str] = []
        until = time.monotonic() + PATIENCE
        while len(answers) < self.random.randint(2, 3):
            assert time.monotonic() < until, "no answer, however often it was repeated"
            with suppress(httpx.TransportError):
                response = self.shop.command("create_order", wanted | {"orderId": order_id}, key)
                if response.status_code == httpx.codes.OK:
                    answers.append(response.text)
                elif response.status_code not in (409, 503, 504):
                    self.surprises.append(response.text)
            time.sleep(0.05)
        if len(set(answers)) > 1:
            self.surprises.append(answers)
        return order_id


@dataclass
class Postman:
    """Delivers messages again: announcements of events, and commands of sagas."""

    shop: BreakableShop
    random: Random
    brought: Counter[str] = field(default_factory=Counter)
    _messages: list[Message] = field(default_factory=list)
    _read: Checkpoint = field(default_factory=Checkpoint)

    def go_round(self, stop: Event) -> None:
        while not stop.wait(0.5):
            self.bring(self.random.sample(self.known(), min(8, len(self._messages))))

    def known(self) -> list[Message]:
        with connect(self.shop.event_store, 1) as pool:
            entries = PostgresEventStore(pool).read_all(self._read, 100_000)
        self._messages += [announcement(entry.event) for entry in entries]
        self._read = entries[-1].checkpoint if entries else self._read
        return self._messages + [_command(row) for row in _sent(self.shop.command_database)]

    def bring(self, messages: list[Message]) -> None:
        for message in messages:
            for subscription in manifest().all_subscriptions:
                if subscription.topic == message.topic:
                    url = f"{self.shop.ports.url(subscription.service)}/{subscription.endpoint}"
                    with suppress(httpx.TransportError):  # the service is being killed: no attempt is certain
                        answer = local_http().post(url, json=_push(message, subscription.name), timeout=60)
                        self.brought[f"{subscription.endpoint} {answer.status_code}"] += 1


def _sent(url: str) -> list[TupleRow]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT saga_id, name, data FROM saga_history WHERE kind = 'command'").fetchall()


def _command(row: tuple[UUID, str, Fields]) -> Message:
    saga_id, name, data = row
    return Message(topic(getattr(commands, name)), name, f"order-{saga_id}", data, fresh())


def _push(message: Message, subscription: str) -> Fields:
    data = base64.b64encode(message.body()).decode()
    pushed = {"messageId": str(message.id.int), "data": data, "attributes": message.attributes()}
    return {"message": pushed, "subscription": subscription, "deliveryAttempt": 2}
