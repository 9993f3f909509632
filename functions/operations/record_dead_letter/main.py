"""Store a message that could not be delivered, so that an admin can retry or discard it."""

import structlog

from shared.config.manifest import manifest
from shared.dead_letters.protocol import decode_dead_letter, source_of
from shared.messaging.envelope import Push
from shared.observability.context import annotate
from shared.runtime.engines import Engines
from shared.runtime.push_functions import push_subscriber
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.overtaken import discard_overtaken


@push_subscriber
def record_dead_letter(push: Push, engines: Engines) -> None:
    delivery = decode_dead_letter(push, manifest().topic_of(source_of(push)))
    letter, log = delivery.letter, structlog.get_logger()
    annotate(subject=letter.subject, context=letter.context)
    engines.dead_letters.record(delivery)
    about = {"letter": str(letter.id), "type": letter.type, "subscription": letter.source}
    if discard_overtaken(engines.dead_letters, engines.sagas, ORDER_FULFILMENT, [letter]):
        log.info("a message that could not be delivered was overtaken", **about)
    else:
        log.error("a message could not be delivered", **about)
