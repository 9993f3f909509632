"""Publishing to Pub/Sub. With PUBSUB_EMULATOR_HOST set, the client library talks to the emulator."""

import time
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from uuid import UUID

import structlog
from google.api_core import exceptions
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.pubsub_v1.types import BatchSettings

from shared.domain.errors import Unavailable
from shared.messaging.envelope import Message
from shared.resilience.calls import Breaker, time_left

_log = structlog.get_logger()

_DEADLINE = 3.0
"""Seconds for all messages together: a client waits for this, and what isn't accepted by then is relayed later."""


class PubSubPublisher:
    """Waits for the acknowledgements: where the CPU is throttled, nothing goes on after the response."""

    def __init__(self, project_id: str, breaker: Breaker) -> None:
        self._project_id = project_id
        self._breaker = breaker
        self._client = PublisherClient(BatchSettings(max_latency=0.002))

    def publish(self, messages: Sequence[Message]) -> list[UUID]:
        with self._breaker.guard():
            accepted, failure = self._accepted(messages)
            refusal = Unavailable(f"Pub/Sub does not accept messages: {failure}")
            if failure and not accepted and not isinstance(failure, exceptions.ClientError):
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

    def _accepted(self, messages: Sequence[Message]) -> tuple[list[UUID], Exception | None]:
        """Those that were, and why the last of the others wasn't."""
        deadline = time.monotonic() + time_left(_DEADLINE)
        futures = [
            (message, self._client.publish(*self._address(message), **message.attributes())) for message in messages
        ]
        accepted, failure = [], None
        for message, future in futures:
            try:
                future.result(timeout=max(0.0, deadline - time.monotonic()))
                accepted.append(message.id)
            except (exceptions.GoogleAPIError, FutureTimeout) as error:
                failure = error
        return accepted, failure

    def _address(self, message: Message) -> tuple[str, bytes]:
        return self._topic(message.topic), message.body()

    def _topic(self, name: str) -> str:
        return f"projects/{self._project_id}/topics/{name}"
