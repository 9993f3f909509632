"""Discard dead letters for good, with the reason."""

from shared.dead_letters.commands import DiscardDeadLetters, left, refuse
from shared.dead_letters.protocol import LetterFilter
from shared.runtime.command import admin_command
from shared.runtime.engines import Engines
from shared.runtime.execute import Call


@admin_command(DiscardDeadLetters)
def discard_dead_letter(command: DiscardDeadLetters, engines: Engines, call: Call) -> dict[str, int]:
    """Return how many letters were discarded; `left`: how many of the source and the cause are
    still pending."""
    letters, by = engines.dead_letters, call.actor.name
    if command.id:
        done = letters.discard(command.id, command.reason, by)
        return {"discarded": 1 if done else refuse(letters.load(command.id), "DISCARDED")}
    wanted = LetterFilter(None, command.source, cause=command.cause)
    discarded = letters.discard_oldest(wanted, command.limit, command.reason, by)
    return {"discarded": discarded, "left": left(letters, command)}
