"""Keep a message that no attempt could deliver, for a person to look at."""

from shared.messaging.dead_letters import dead_letter
from shared.messaging.envelope import Push
from shared.runtime.engines import Engines
from shared.runtime.push_functions import raw_subscriber


@raw_subscriber
def record_dead_letter(push: Push, engines: Engines) -> None:
    engines.dead_letters.record(dead_letter(push))
