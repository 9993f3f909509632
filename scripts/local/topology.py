"""Topics and push subscriptions of the manifest, made on the Pub/Sub emulator."""

from google.api_core.exceptions import AlreadyExists
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.protobuf.duration_pb2 import Duration

from scripts.local.ports import Ports
from shared.messaging.subscription import Subscription
from shared.runtime.manifest import manifest


def create_topology(project_id: str, ports: Ports) -> tuple[int, int]:
    """How many topics and subscriptions there are now."""
    publisher, subscriber = PublisherClient(), SubscriberClient()
    for topic in manifest().topics:
        try:
            publisher.create_topic(name=publisher.topic_path(project_id, topic))
        except AlreadyExists:
            continue
    for subscription in manifest().all_subscriptions:
        try:
            subscriber.create_subscription(request=_request(project_id, subscription, ports))
        except AlreadyExists:
            continue
    return len(manifest().topics), len(manifest().all_subscriptions)


def _request(project_id: str, subscription: Subscription, ports: Ports) -> dict[str, object]:
    topics = f"projects/{project_id}/topics"
    request: dict[str, object] = {
        "name": f"projects/{project_id}/subscriptions/{subscription.name}",
        "topic": f"{topics}/{subscription.topic}",
        "ack_deadline_seconds": subscription.ack_deadline,
        "push_config": {"push_endpoint": f"{ports.url(subscription.service)}/{subscription.endpoint}"},
        "retry_policy": {
            "minimum_backoff": _duration(subscription.min_backoff),
            "maximum_backoff": _duration(subscription.max_backoff),
        },
    }
    if subscription.dead_letter_topic:
        request["dead_letter_policy"] = {
            "dead_letter_topic": f"{topics}/{subscription.dead_letter_topic}",
            "max_delivery_attempts": subscription.max_attempts,
        }
    return request


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
