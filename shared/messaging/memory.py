"""Pub/Sub and the outbox in memory: at least once, unordered, with backoff and dead letters."""

import base64
import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Condition, RLock
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import structlog

from shared.config.manifest import Subscription
from shared.config.settings import Settings, url_of
from shared.messaging.envelope import Message, Publishable
from shared.messaging.outbox import LEASE_SECONDS, Backlog
from shared.resilience import clock

_log = structlog.get_logger()


Deliver = Callable[[Subscription, dict[str, Any]], int]
"""Push a body to a subscription's function; return its HTTP status, 0 without a response."""

ACKNOWLEDGED = frozenset({102, 200, 201, 202, 204})


class MemoryOutbox:
    def __init__(self, lease_seconds: float = LEASE_SECONDS) -> None:
        self._lease_seconds = lease_seconds
        self._lock = RLock()
        self._leased: dict[UUID, tuple[Message, float]] = {}
        self._places: dict[str, UUID] = {}

    def add(self, messages: Sequence[Message], seconds: float | None = None) -> None:
        """Store messages, leased for the outbox's time or for `seconds`."""
        with self._lock:
            until = clock.monotonic() + (self._lease_seconds if seconds is None else seconds)
            for message in messages:
                if message.postponed:
                    self.delete([self._places.get(message.postponed.place, message.id)])
                    self._places[message.postponed.place] = message.id
                self._leased[message.id] = message, until

    def claim(self, limit: int) -> list[Message]:
        with self._lock:
            free = [message for _, (message, until) in sorted(self._leased.items()) if until < clock.monotonic()][
                :limit
            ]
            self.add(free)
            return free

    def delete(self, ids: Sequence[UUID]) -> None:
        with self._lock:
            for message_id in ids:
                deleted = self._leased.pop(message_id, None)
                if deleted and deleted[0].postponed:
                    del self._places[deleted[0].postponed.place]

    def backlog(self) -> Backlog:
        with self._lock:
            return Backlog(len(self._leased), min((message.time for message, _ in self._leased.values()), default=None))

    def about(self, subject: str) -> list[Message]:
        with self._lock:
            return [message for _, (message, _) in sorted(self._leased.items()) if message.subject == subject]


class Delivery(NamedTuple):
    """An attempt to push a message. `tie`: random, so that deliveries due at the same moment come
    in any order."""

    due: float
    tie: float
    subscription: Subscription
    message: dict[str, Any]
    attempt: int


class MemoryBroker:
    """Delivers from several threads, so that messages overtake each other as in the cloud."""

    def __init__(self, subscriptions: Sequence[Subscription], deliver: Deliver, workers: int = 4) -> None:
        self._subscriptions = subscriptions
        self._deliver = deliver
        self._due: list[Delivery] = []
        self._in_flight: dict[int, Delivery] = {}
        self._changed = Condition()
        self._closed = False
        self._workers = clock.executor(workers, "broker")

    def start(self) -> None:
        clock.thread(self._run, "broker-clock")

    def close(self) -> None:
        """Stop delivering. Waiting messages are lost; deliveries that have begun go on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._workers.shutdown(wait=False, cancel_futures=True)

    def wait_until_idle(self, seconds: float) -> bool:
        """Return True once all messages are delivered or given up, False after `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._due and not self._in_flight, seconds)

    def publish(self, messages: Sequence[Publishable]) -> list[UUID]:
        for message in messages:
            self.publish_raw(message.topic, message.body(), message.attributes())
        return [message.id for message in messages]

    def has_topic(self, topic: str) -> bool:
        return any(subscription.topic == topic for subscription in self._subscriptions)

    def publish_raw(self, topic: str, data: bytes, attributes: dict[str, str]) -> None:
        message = {
            "messageId": f"{int(clock.random() * 2**63)}",
            "data": base64.b64encode(data).decode(),
            "attributes": attributes,
        }
        for subscription in self._subscriptions:
            if subscription.topic == topic:
                self._schedule(Delivery(clock.monotonic(), clock.random(), subscription, message, 1))

    def undelivered(self) -> dict[str, int]:
        """Return how many messages each subscription has not acknowledged."""
        with self._changed:
            waiting = Counter(delivery.subscription.name for delivery in [*self._in_flight.values(), *self._due])
            return {subscription.name: waiting[subscription.name] for subscription in self._subscriptions}

    def unacknowledged(self) -> list[Delivery]:
        """Return the deliveries that a broker in the place of this one has to make, those included
        that have begun."""
        with self._changed:
            return [*self._due, *self._in_flight.values()]

    def take_over(self, deliveries: Sequence[Delivery]) -> None:
        """Make the deliveries of another broker, to those of its subscriptions that exist."""
        named = {subscription.name: subscription for subscription in self._subscriptions}
        for delivery in deliveries:
            if subscription := named.get(delivery.subscription.name):
                self._schedule(delivery._replace(subscription=subscription))

    def _schedule(self, delivery: Delivery) -> None:
        with self._changed:
            heapq.heappush(self._due, delivery)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not (self._due and self._due[0].due <= clock.monotonic()):
                    self._changed.wait(max(0.0, self._due[0].due - clock.monotonic()) if self._due else None)
                if self._closed:
                    return
                delivery = heapq.heappop(self._due)
                self._in_flight[id(delivery)] = delivery
                self._workers.submit(self._attempt, delivery)

    def _attempt(self, delivery: Delivery) -> None:
        subscription = delivery.subscription
        name = f"projects/memory/subscriptions/{subscription.name}"
        body: dict[str, Any] = {"message": delivery.message, "subscription": name}
        if subscription.dead_letter_topic:
            body["deliveryAttempt"] = delivery.attempt
        try:
            acknowledged = self._deliver(subscription, body) in ACKNOWLEDGED
        except Exception:  # any error leaves the message unacknowledged
            about = delivery.message["attributes"].get("ce-subject")
            _log.exception("a delivery failed", subscription=subscription.name, subject=about)
            acknowledged = False
        if not acknowledged:
            self._retry_or_give_up(delivery)
        with self._changed:
            del self._in_flight[id(delivery)]
            self._changed.notify_all()

    def _retry_or_give_up(self, failed: Delivery) -> None:
        """Schedule the next attempt; after the last one, publish to the dead-letter topic."""
        subscription = failed.subscription
        if subscription.dead_letter_topic and failed.attempt >= subscription.max_attempts:
            source = "CloudPubSubDeadLetterSource"  # Pub/Sub adds these attributes, too
            added = {f"{source}Subscription": subscription.name, f"{source}DeliveryCount": str(failed.attempt)}
            data = base64.b64decode(failed.message["data"])
            self.publish_raw(subscription.dead_letter_topic, data, failed.message["attributes"] | added)
            return
        wait = min(subscription.max_backoff, subscription.min_backoff * 2 ** min(failed.attempt - 1, 30))
        due = clock.monotonic() + wait * clock.uniform(0.9, 1.1)
        self._schedule(Delivery(due, clock.random(), subscription, failed.message, failed.attempt + 1))


def push_over_http(settings: Settings, client: httpx.Client) -> Deliver:
    """Return a function that pushes as Pub/Sub does: POST with a time limit, where only success
    acknowledges."""
    urls = {"command": settings.command_url, "query": settings.query_url}

    def deliver(subscription: Subscription, body: dict[str, Any]) -> int:
        url = url_of(urls[subscription.service], subscription.endpoint)
        try:
            return client.post(url, json=body, timeout=subscription.ack_deadline).status_code
        except httpx.HTTPError:
            return 0

    return deliver
