"""Discard dead letters for good, with the reason."""

from shared.dead_letters.commands import DiscardDeadLetters, refuse
from shared.runtime.command import admin_command
from shared.runtime.engines import Engines
from shared.runtime.execute import Call


@admin_command(DiscardDeadLetters)
def discard_dead_letter(command: DiscardDeadLetters, engines: Engines, call: Call) -> dict[str, int]:
    """Return how many letters were discarded; `left`: how many of the source are still pending."""
    letters, by = engines.dead_letters, call.actor.name
    if command.id:
        done = letters.discard(command.id, command.reason, by)
        return {"discarded": 1 if done else refuse(letters.load(command.id), "DISCARDED")}
    discarded = letters.discard_oldest(command.limit, command.source, command.reason, by)
    return {"discarded": discarded, "left": letters.pending(command.source)}
