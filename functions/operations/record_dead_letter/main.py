"""Keep a message that no attempt could deliver, for a person to look at."""

import structlog

from shared.messaging.dead_letters import dead_letter
from shared.messaging.envelope import Push
from shared.runtime.engines import Engines
from shared.runtime.push_functions import raw_subscriber


@raw_subscriber
def record_dead_letter(push: Push, engines: Engines) -> None:
    letter = dead_letter(push)
    engines.dead_letters.record(letter)
    about = {name: letter.attributes.get(name) for name in ("ce-type", "ce-subject", "ce-id")}
    structlog.get_logger().error("a message could not be delivered", subscription=letter.subscription, **about)
