"""Publishing to Pub/Sub. With PUBSUB_EMULATOR_HOST set, the client library talks to the emulator."""

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
from shared.resilience.breakers import Breaker
from shared.resilience.calls import time_left

_log = structlog.get_logger()

_DEADLINE = 3.0
"""Seconds for all messages together: a client waits for this, and what isn't accepted by then is relayed later."""

_REFUSALS = (exceptions.ClientError, MessageTooLargeError)
"""Of this message, not of every message."""
_TAKEN = {"self", "topic", "data", "ordering_key", "retry", "timeout"}
"""Attributes that the client's method can't take: its parameters have these names."""


def batching_client() -> PublisherClient:
    """Return a client that sends messages of 2 ms together. The caller closes it with `stop`."""
    return PublisherClient(BatchSettings(max_latency=0.002))


class PubSubPublisher:
    """Waits for the acknowledgements: where the CPU is throttled, nothing goes on after the response."""

    def __init__(self, project_id: str, client: PublisherClient, breaker: Breaker) -> None:
        self._project_id = project_id
        self._breaker = breaker
        self._client = client

    def publish(self, messages: Sequence[Publishable]) -> list[UUID]:
        with self._breaker.guard():
            accepted, failure = self._accepted(messages)
            refusal = Unavailable(f"Pub/Sub does not accept messages: {failure}")
            if failure and not accepted and not isinstance(failure, _REFUSALS):
                raise refusal from failure
        if failure and not accepted:  # such as a topic that is not there: no reason to leave the others waiting
            raise refusal from failure
        if failure:
            _log.warning(
                "some messages were not accepted", accepted=len(accepted), of=len(messages), reason=str(failure)
            )
        return accepted

    def has_topic(self, topic: str) -> bool:
        """Whoever may publish but not look (roles/pubsub.publisher) is told that it does."""
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
        """Those that were, and why the last of the others wasn't."""
        deadline = clock.monotonic() + time_left(_DEADLINE)
        futures = [(message, self._sent(message)) for message in messages]
        accepted, failure = [], None
        for message, future in futures:
            try:
                future.result(timeout=max(0.0, deadline - clock.monotonic()))
                accepted.append(message.id)
            except (exceptions.GoogleAPIError, FutureTimeout, MessageTooLargeError) as error:
                failure = error
        return accepted, failure

    def _sent(self, message: Publishable) -> "Future[str]":
        """Failed already where the client refuses it at once, so that the others go out."""
        topic, attributes = self._topic(message.topic), message.attributes()
        try:
            if not _TAKEN & attributes.keys():
                sent: Future[str] = self._client.publish(topic, message.body(), **attributes)
                return sent
            raw = PubsubMessage(data=message.body(), attributes=attributes)
            answer = GeneratedClient.publish(self._client, topic=topic, messages=[raw], timeout=time_left(_DEADLINE))
            return _settled(answer.message_ids[0])
        except (exceptions.GoogleAPIError, MessageTooLargeError) as error:
            return _settled(error)

    def _topic(self, name: str) -> str:
        return f"projects/{self._project_id}/topics/{name}"


def _settled(outcome: str | Exception) -> "Future[str]":
    future: Future[str] = Future()
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
    return future
