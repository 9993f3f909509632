"""Publishing to Pub/Sub. With PUBSUB_EMULATOR_HOST set, the client library talks to the emulator.

No retry loop of our own: the client retries transient failures, and the relay publishes the rest.
"""

import os
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any
from uuid import UUID

import grpc
import structlog
from google.api_core import exceptions
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.pubsub_v1.publisher.exceptions import MessageTooLargeError
from google.cloud.pubsub_v1.types import BatchSettings, PubsubMessage
from google.pubsub_v1 import PublisherClient as GeneratedClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from shared.domain.errors import Unavailable
from shared.messaging.envelope import Publishable
from shared.resilience import clock
from shared.resilience.breakers import Breaker
from shared.resilience.calls import RECONNECT, time_left

_log = structlog.get_logger()

_DEADLINE = 3.0
"""Seconds for one `publish`, which a client waits for. The relay publishes the rest."""

_NOT_ACCEPTED = (exceptions.GoogleAPIError, FutureTimeout, MessageTooLargeError)
_MESSAGE_REFUSED = (exceptions.ClientError, MessageTooLargeError)
"""Errors that concern one message or its topic and say nothing about Pub/Sub's health."""

_BATCHING_PARAMETERS = {"self", "topic", "data", "ordering_key", "retry", "timeout"}
"""Attributes of these names cannot be keywords of the batching client's `publish`."""


class ReconnectingTransport(PublisherGrpcTransport):
    """Connects again within seconds after an outage."""

    @classmethod
    def create_channel(cls, *where: Any, options: Sequence[tuple[str, Any]] = (), **more: Any) -> grpc.Channel:
        return super().create_channel(*where, options=[*options, RECONNECT], **more)


def batching_client() -> PublisherClient:
    """Return a client that sends messages of 2 ms together. The caller closes it with `stop`."""
    emulated = "PUBSUB_EMULATOR_HOST" in os.environ  # then the library makes the channel, and the credentials
    more = {} if emulated else {"transport": ReconnectingTransport}
    return PublisherClient(BatchSettings(max_latency=0.002), **more)


class PubSubPublisher:
    """Waits for acknowledgements: with a throttled CPU nothing runs after the response."""

    def __init__(self, project_id: str, client: PublisherClient, breaker: Breaker) -> None:
        self._project_id = project_id
        self._breaker = breaker
        self._client = client
        self._plain_client = GeneratedClient(transport=client.transport)

    def publish(self, messages: Sequence[Publishable]) -> list[UUID]:
        with self._breaker.guard():
            accepted, failure = self._accepted(messages)
            unavailable = Unavailable(f"Pub/Sub does not accept messages: {failure}")
            if failure and not accepted and not isinstance(failure, _MESSAGE_REFUSED):
                raise unavailable from failure
        if failure and not accepted:  # a missing topic, say: no failure for the breaker
            raise unavailable from failure
        if failure:
            _log.warning("messages not accepted", accepted=len(accepted), of=len(messages), reason=str(failure))
        return accepted

    def has_topic(self, topic: str) -> bool:
        """Return whether the topic exists; True if the account may publish but not look."""
        with self._breaker.guard():
            try:
                self._client.get_topic(topic=self._topic(topic), timeout=time_left(_DEADLINE), retry=None)
            except exceptions.NotFound:
                return False
            except exceptions.PermissionDenied:
                return True
            except exceptions.GoogleAPIError as error:
                raise Unavailable("no answer from Pub/Sub; try again in a moment") from error
        return True

    def _accepted(self, messages: Sequence[Publishable]) -> tuple[list[UUID], Exception | None]:
        """Return the ids of the accepted messages and the last error of the others."""
        deadline = clock.monotonic() + time_left(_DEADLINE)
        accepted, sent, failure = list[UUID](), list[tuple[UUID, Future[str] | None]](), None
        for message in messages:
            try:
                sent.append((message.id, self._send(message)))
            except _NOT_ACCEPTED as error:
                failure = error
        for message_id, acknowledgement in sent:
            try:
                if acknowledgement:
                    acknowledgement.result(timeout=max(0.0, deadline - clock.monotonic()))
                accepted.append(message_id)
            except _NOT_ACCEPTED as error:
                failure = error
        return accepted, failure

    def _send(self, message: Publishable) -> "Future[str] | None":
        """Send a message; return its acknowledgement to come, None if it has come already."""
        topic, attributes = self._topic(message.topic), message.attributes()
        if not _BATCHING_PARAMETERS & attributes.keys():
            acknowledgement: Future[str] = self._client.publish(topic, message.body(), **attributes)
            return acknowledgement
        raw = PubsubMessage(data=message.body(), attributes=attributes)
        self._plain_client.publish(topic=topic, messages=[raw], timeout=time_left(_DEADLINE))
        return None

    def _topic(self, name: str) -> str:
        return f"projects/{self._project_id}/topics/{name}"
