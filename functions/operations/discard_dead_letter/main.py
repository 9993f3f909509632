"""Put a dead letter aside that nobody needs any more, saying why."""

from shared.domain.commands import DiscardDeadLetter
from shared.messaging.dead_letter_store import refuse
from shared.observability.context import current
from shared.runtime.commands import administrative
from shared.runtime.engines import Engines


@administrative(DiscardDeadLetter)
def discard_dead_letter(request: DiscardDeadLetter, engines: Engines) -> dict[str, int]:
    letters = engines.dead_letters
    if letters.discard(request.id, request.reason, current().actor):
        return {"discarded": 1}
    return {"discarded": refuse(letters.load(request.id), "DISCARDED")}
