"""Publish the messages that a killed or hindered process left in an outbox."""

from shared.messaging.outbox import relay
from shared.runtime.engines import Engines
from shared.runtime.push_functions import scheduled


@scheduled
def relay_outbox(engines: Engines) -> int:
    return sum(relay(outbox, engines.publisher) for outbox in engines.outboxes)
