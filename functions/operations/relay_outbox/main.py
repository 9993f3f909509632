"""Publish the messages that a killed or hindered process left in an outbox."""

from shared.domain.errors import Unavailable
from shared.messaging.outbox import relay
from shared.runtime.engines import Engines
from shared.runtime.push_functions import scheduled


@scheduled
def relay_outbox(engines: Engines) -> int:
    relayed, refusals = 0, []
    for outbox in engines.outboxes:
        try:
            relayed += relay(outbox, engines.publisher)
        except Unavailable as error:  # which must not keep the other outbox waiting
            refusals.append(error)
    if refusals:
        raise refusals[0]
    return relayed
