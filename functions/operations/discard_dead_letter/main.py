"""Put a dead letter aside that nobody needs any more, saying why."""

from shared.dead_letters.protocol import DiscardDeadLetter, refuse
from shared.observability.context import current
from shared.runtime.command import administrative
from shared.runtime.engines import Engines


@administrative(DiscardDeadLetter)
def discard_dead_letter(request: DiscardDeadLetter, engines: Engines) -> dict[str, int]:
    letters = engines.dead_letters
    if letters.discard(request.id, request.reason, current().actor):
        return {"discarded": 1}
    return {"discarded": refuse(letters.load(request.id), "DISCARDED")}
