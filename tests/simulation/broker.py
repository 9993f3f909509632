"""Pub/Sub as it may behave: at least once, in any order, late, twice at a time, and again after the
acknowledgement."""

import base64
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from shared.config.manifest import Subscription
from shared.messaging.envelope import Publishable
from shared.messaging.memory import ACKNOWLEDGED
from tests.simulation.ports import Faults, rate
from tests.simulation.tape import Tape
from tests.simulation.world import SimulatedWorld, this_task

DELAYS = (0.005, 0.02, 0.3, 3.0, 40.0, 400.0, 4 * 3600.0, 50 * 3600.0)
"""Seconds between publication and delivery."""
_DEAD = "CloudPubSubDeadLetterSource"
_NAMES = re.compile(r"customer \d|ref-[0-9a-f]")
"""The names of customers, and the references of their payments and parcels."""

Push = Callable[[Subscription, str, bytes, Callable[[int], None]], None]
"""Begin to deliver a message about a subject to a subscription's function, as this body; the last
argument is told the status of the response."""


@dataclass(eq=False)
class _Delivery:
    """One message for one subscription. `written`: the message as JSON. `done`: it is acknowledged,
    or it became a dead letter."""

    subscription: Subscription
    message: dict[str, Any]
    written: str
    attempt: int = 0
    under_way: int = 0
    done: bool = False


@dataclass
class Broker:
    """`dead`: subscription and CloudEvent of every message that became a dead letter. `naming`: the
    messages that name a customer, which topics would keep after an erasure."""

    world: SimulatedWorld
    tape: Tape
    faults: Faults
    subscriptions: Sequence[Subscription]
    push: Push
    dead: list[tuple[str, str]] = field(default_factory=list)
    naming: list[str] = field(default_factory=list)
    pending: set[_Delivery] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._of_topic: dict[str, list[Subscription]] = defaultdict(list)
        for one in self.subscriptions:
            self._of_topic[one.topic].append(one)
        self._repeats, self._lateness = rate(self.tape, "repeated delivery"), rate(self.tape, "late delivery", 2.0)
        self._refusals = rate(self.tape, "message that is not accepted")
        self._longest = 4 + self.tape.choose("longest delay", len(DELAYS) - 3)
        self._numbers, self._discards = Counter[str](), 0

    def publish(self, messages: Sequence[Publishable]) -> list[UUID]:
        """Publish all messages or, rarely, only the first ones."""
        partly = self.faults.on and self.tape.chance("some messages are not accepted", self._refusals)
        refused = 1 + self.tape.choose("messages that are not accepted", 2) if partly else 0
        accepted = messages[: len(messages) - refused] if refused else messages
        for message in accepted:
            self.publish_raw(message.topic, message.body(), message.attributes())
        if this_task().process.name == "relay_outbox" and accepted:
            self.faults.marks["relay rescue"] += 1
        return [message.id for message in accepted]

    def has_topic(self, topic: str) -> bool:
        return topic in self._of_topic

    def publish_raw(self, topic: str, data: bytes, attributes: dict[str, str]) -> None:
        self._numbers[""] += 1
        if _NAMES.search(f"{attributes} {data.decode()}"):
            self.naming.append(f"{attributes} {data.decode()}")
        message = {
            "messageId": str(self._numbers[""]),
            "data": base64.b64encode(data).decode(),
            "attributes": attributes,
        }
        written = json.dumps(message)
        for subscription in self._of_topic[topic]:
            delivery = _Delivery(subscription, message, written)
            self.pending.add(delivery)
            label = f"{subscription.name} delivery"
            late = self.faults.on and self.tape.chance(f"{label} is late", self._lateness)
            seconds = DELAYS[self.tape.choose(f"{label} takes", self._longest)] if late else DELAYS[0]
            self._deliver_in(seconds, delivery)

    def discard(self) -> None:
        """Drop every message, as `gcloud pubsub subscriptions seek --time=NOW` does, and those that
        would be delivered again after their acknowledgement."""
        for delivery in self.pending:
            delivery.done = True
        self.pending.clear()
        self._discards += 1

    def _deliver_in(self, seconds: float, delivery: _Delivery) -> None:
        self.world.at(seconds, lambda: self._deliver(delivery))

    def _deliver(self, delivery: _Delivery, again: bool = False) -> None:
        if delivery.done and not again:
            return
        if delivery.under_way:
            self.faults.marks["redelivery during the first attempt"] += 1
        delivery.attempt, delivery.under_way = delivery.attempt + 1, delivery.under_way + 1
        subscription = delivery.subscription
        body = f'"message": {delivery.written}, "subscription": "projects/simulated/subscriptions/{subscription.name}"'
        if subscription.dead_letter_topic:
            body += f', "deliveryAttempt": {delivery.attempt}'
        over: list[int] = []

        def answered(status: int) -> None:
            if not over:
                over.append(status)
                delivery.under_way -= 1
                self._answered(delivery, status in ACKNOWLEDGED, delivery.attempt)

        subject = delivery.message["attributes"].get("ce-subject", "")
        self.push(subscription, subject, f"{{{body}}}".encode(), answered)
        self.world.at(subscription.ack_deadline, lambda: answered(0))
        if self.faults.on and self.tape.chance(f"{subscription.name} delivers twice", self._repeats):
            seconds = DELAYS[self.tape.choose(f"{subscription.name} delivers again after", self._longest)]
            discards = self._discards

            def repeat() -> None:
                if discards == self._discards:
                    self._deliver(delivery, again=True)

            self.world.at(seconds, repeat)

    def _answered(self, delivery: _Delivery, acknowledged: bool, attempt: int) -> None:
        subscription = delivery.subscription
        if delivery.done:
            return
        if acknowledged:
            self._finish(delivery)
        elif subscription.dead_letter_topic and attempt >= subscription.max_attempts:
            self._finish(delivery)
            message = delivery.message
            self.dead.append((subscription.name, message["attributes"].get("ce-id", "")))
            self.faults.marks["dead letter"] += 1
            added = {f"{_DEAD}Subscription": subscription.name, f"{_DEAD}DeliveryCount": str(attempt)}
            data = base64.b64decode(message["data"])
            self.publish_raw(subscription.dead_letter_topic, data, message["attributes"] | added)
        else:
            wait = min(subscription.max_backoff, subscription.min_backoff * 2 ** min(attempt - 1, 30))
            self._deliver_in(wait, delivery)

    def _finish(self, delivery: _Delivery) -> None:
        delivery.done = True
        self.pending.discard(delivery)
