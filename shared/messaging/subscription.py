"""One consumer of one topic, with its backoff and its dead-letter topic; derived from the manifest, never written twice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Subscription:
    """`endpoint`: the function it pushes to. `min_backoff`, `max_backoff`: seconds between attempts. After
    `max_attempts` a message moves to `dead_letter_topic`; without one it is tried for ever."""

    name: str
    topic: str
    endpoint: str
    service: str
    min_backoff: float
    max_backoff: float
    max_attempts: int
    ack_deadline: int
    dead_letter_topic: str | None


def dead_letter_attributes(subscription: Subscription, attempts: int) -> dict[str, str]:
    """The attributes that Pub/Sub adds when it moves a message to a dead-letter topic."""
    return {
        "CloudPubSubDeadLetterSourceDeliveryCount": str(attempts),
        "CloudPubSubDeadLetterSourceSubscription": subscription.name,
    }
