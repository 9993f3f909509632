"""Erasing a person."""

from typing import Any

from shared.api.context import Info, Resolvers
from shared.api.resolvers.operators import admin_command
from shared.read_models.protocol import Fields


async def erase_person(_: Any, info: Info, userId: str, reason: str) -> Fields:
    done = await admin_command(info, "erase_person", {"userId": userId, "reason": reason})
    return {"erased": done["erased"] == 1, "orders": done["orders"]}


RESOLVERS: Resolvers = {"Mutation": {"erasePerson": erase_person}}
