"""Erase a person: destroy the key that encrypts what orders say about them, and record it on each
order."""

from shared.domain.commands import ErasePerson
from shared.runtime.command import admin_command
from shared.runtime.engines import Engines
from shared.runtime.erasing import destroy_key, record_erasures
from shared.runtime.execute import Call

_SECONDS = 4.0  # continue_erasures does the rest


@admin_command(ErasePerson)
def erase_person(command: ErasePerson, engines: Engines, call: Call) -> dict[str, int]:
    erased = destroy_key(engines, command.user_id, call.actor.name, command.reason)
    return {"erased": int(erased), "orders": record_erasures(engines, _SECONDS)}
