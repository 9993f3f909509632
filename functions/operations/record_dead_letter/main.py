"""Store a message that could not be delivered, so that an admin can retry or discard it."""

import structlog

from shared.config.manifest import manifest
from shared.dead_letters.protocol import decode_dead_letter, source_of
from shared.messaging.envelope import Push
from shared.runtime.engines import Engines
from shared.runtime.push_functions import push_subscriber


@push_subscriber
def record_dead_letter(push: Push, engines: Engines) -> None:
    delivery = decode_dead_letter(push, manifest().topic_of(source_of(push)))
    engines.dead_letters.record(delivery)
    about = {"letter": str(delivery.letter.id), "type": delivery.letter.type, "subject": delivery.letter.subject}
    structlog.get_logger().error("a message could not be delivered", subscription=delivery.letter.source, **about)
