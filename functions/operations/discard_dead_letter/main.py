"""Discard a dead letter that is no longer needed, with a reason."""

from shared.dead_letters.protocol import DiscardDeadLetter, refuse
from shared.runtime.command import admin_command
from shared.runtime.engines import Engines
from shared.runtime.execute import Call


@admin_command(DiscardDeadLetter)
def discard_dead_letter(command: DiscardDeadLetter, engines: Engines, call: Call) -> dict[str, int]:
    letters = engines.dead_letters
    if letters.discard(command.id, command.reason, call.actor.name):
        return {"discarded": 1}
    return {"discarded": refuse(letters.load(command.id), "DISCARDED")}
