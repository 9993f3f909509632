"""Publish the messages that are still in an outbox, because a process was killed or Pub/Sub was
down."""

from functools import partial

from shared.messaging.outbox import relay
from shared.resilience.calls import attempt_all
from shared.runtime.engines import Engines
from shared.runtime.push_functions import scheduled


@scheduled
def relay_outbox(engines: Engines) -> int:
    outboxes = zip(("events", "sagas"), engines.outboxes, strict=True)
    return attempt_all("relaying outboxes", {name: partial(relay, it, engines.publisher) for name, it in outboxes})
