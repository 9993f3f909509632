"""Create topics and push subscriptions on the Pub/Sub emulator; in the cloud Terraform creates
them.

They have no retry policy here: with one, the emulator (0.8.20) silently drops a whole subscription
after fifty messages have failed together a few times. Without one, it retries every second.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from google.api_core.exceptions import AlreadyExists
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient

from shared.config.manifest import Subscription


def create_topology(project_id: str, subscriptions: Sequence[Subscription], url: Callable[[Subscription], str]) -> None:
    """Create the topics and subscriptions that do not exist. `url`: the address that a subscription
    pushes to."""
    publisher, subscriber = PublisherClient(), SubscriberClient()
    for topic in dict.fromkeys(subscription.topic for subscription in subscriptions):
        with suppress(AlreadyExists):
            publisher.create_topic(name=f"projects/{project_id}/topics/{topic}")
    for subscription in subscriptions:
        with suppress(AlreadyExists):
            subscriber.create_subscription(request=_request(project_id, subscription, url(subscription)))


def _request(project_id: str, subscription: Subscription, url: str) -> dict[str, object]:
    topics = f"projects/{project_id}/topics"
    request: dict[str, object] = {
        "name": f"projects/{project_id}/subscriptions/{subscription.name}",
        "topic": f"{topics}/{subscription.topic}",
        "ack_deadline_seconds": subscription.ack_deadline,
        "push_config": {"push_endpoint": url},
    }
    if subscription.dead_letter_topic:
        request["dead_letter_policy"] = {
            "dead_letter_topic": f"{topics}/{subscription.dead_letter_topic}",
            "max_delivery_attempts": subscription.max_attempts,
        }
    return request
