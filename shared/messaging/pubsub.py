"""Publishing to Pub/Sub. With PUBSUB_EMULATOR_HOST set, the client library talks to the emulator.

No retry loop of our own: the client retries transient failures, and the relay publishes the rest.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from uuid import UUID

import structlog
from google.api_core import exceptions
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.pubsub_v1.publisher.exceptions import MessageTooLargeError
from google.cloud.pubsub_v1.types import BatchSettings, PubsubMessage
from google.pubsub_v1 import PublisherClient as GeneratedClient

from shared.domain.errors import Unavailable
from shared.messaging.envelope import Publishable
from shared.resilience import clock
from shared.resilience.calls import Breaker, time_left

_log = structlog.get_logger()

_DEADLINE = 3.0
"""Seconds for one call of `publish`. A client waits for it; the relay publishes what is not accepted by then."""

_MESSAGE_REFUSED = (exceptions.ClientError, MessageTooLargeError)
"""Errors that concern one message or its topic and say nothing about Pub/Sub's health."""

_BATCHING_PARAMETERS = {"self", "topic", "data", "ordering_key", "retry", "timeout"}
"""Parameters of the batching client's `publish`, which takes attributes as keywords: they cannot have these names."""


def batching_client() -> PublisherClient:
    """Return a client that sends messages of 2 ms together. The caller closes it with `stop`."""
    return PublisherClient(BatchSettings(max_latency=0.002))


class PubSubPublisher:
    """Waits for the acknowledgements: where the CPU is throttled, nothing runs after the response."""

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
        if failure and not accepted:  # outside the breaker: a missing topic must not stop other topics
            raise unavailable from failure
        if failure:
            _log.warning(
                "some messages were not accepted", accepted=len(accepted), of=len(messages), reason=str(failure)
            )
        return accepted

    def has_topic(self, topic: str) -> bool:
        """Return whether the topic exists. With roles/pubsub.publisher, which cannot look, the answer is True."""
        with self._breaker.guard():
            try:
                self._client.get_topic(topic=self._topic(topic), timeout=time_left(_DEADLINE), retry=None)
            except exceptions.NotFound:
                return False
            except exceptions.PermissionDenied:
                return True
            except exceptions.GoogleAPIError as error:
                raise Unavailable("Pub/Sub does not answer; try again in a moment") from error
        return True

    def _accepted(self, messages: Sequence[Publishable]) -> tuple[list[UUID], Exception | None]:
        """Return the ids of the accepted messages and the last error of the others."""
        deadline = clock.monotonic() + time_left(_DEADLINE)
        futures = [(message, self._send(message)) for message in messages]
        accepted, failure = [], None
        for message, future in futures:
            try:
                future.result(timeout=max(0.0, deadline - clock.monotonic()))
                accepted.append(message.id)
            except (exceptions.GoogleAPIError, FutureTimeout, MessageTooLargeError) as error:
                failure = error
        return accepted, failure

    def _send(self, message: Publishable) -> "Future[str]":
        """Start sending. A message that the client refuses at once gives a failed future, so that others go out."""
        topic, attributes = self._topic(message.topic), message.attributes()
        try:
            if _BATCHING_PARAMETERS & attributes.keys():
                return _completed(self._send_alone(topic, message.body(), attributes))
            sent: Future[str] = self._client.publish(topic, message.body(), **attributes)
            return sent
        except (exceptions.GoogleAPIError, MessageTooLargeError) as error:
            return _completed(error)

    def _send_alone(self, topic: str, data: bytes, attributes: dict[str, str]) -> str:
        message = PubsubMessage(data=data, attributes=attributes)
        answer = self._plain_client.publish(topic=topic, messages=[message], timeout=time_left(_DEADLINE))
        return str(answer.message_ids[0])

    def _topic(self, name: str) -> str:
        return f"projects/{self._project_id}/topics/{name}"


def _completed(outcome: str | Exception) -> "Future[str]":
    future: Future[str] = Future()
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
    return future
