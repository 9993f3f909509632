"""What admins do to the running shop: send it, and keep who did what, when and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shared.api.command_client import keyed, named, send
from shared.api.connections import AT, Connection, Listing, connect
from shared.api.context import Info, Resolvers, Text
from shared.api.inputs import uuid
from shared.api.limits import from_stores
from shared.api.resolvers.common import require_admin
from shared.domain.values import Reason
from shared.monitoring.executions import Execution, ListedExecutions
from shared.monitoring.recorder import watched
from shared.postgres.slices import Key, Slice
from shared.postgres.text import storable
from shared.read_models.protocol import Fields
from shared.runtime.decode import decode


@dataclass(frozen=True)
class Why:
    """Why an admin does something; for the audit only."""

    reason: Reason


def why(reason: Text) -> Fields:
    """Return what the audit keeps of the reason, without one nothing. Raise Invalid."""
    return {} if reason is None else {"reason": decode(Why, {"reason": reason}).reason}


async def admin_command(info: Info, function: str, command: Fields, reason: Text = None) -> Fields:
    """Send a command that is for admins, its `id` in canonical form, and return the answer. Record
    who sent it and why.

    Raise Unauthenticated, Forbidden and Invalid, and what the command function raises."""
    require_admin(info)
    if "id" in command:
        command = command | {"id": uuid(command["id"], "id")}
    name, asked = named(function), command | why(reason)
    with watched(info.context.engines.recorder, "operation", name, info.context.context, asked):
        return await send(info, function, command, keyed(info))


async def operator_actions_connection(_: Any, info: Info, by: Text = None, **page: Any) -> Connection[Execution]:
    require_admin(info)
    which = ListedExecutions("operation", by=by and storable(by))
    store = info.context.engines.executions

    async def read(part: Slice) -> Sequence[Execution]:
        return await info.context.loaders.budget.rows(store.page, which, "recorded_at", part)

    async def count() -> tuple[int, int]:
        number = await from_stores(store.count, which)
        return number, number

    async def show(found: Sequence[Execution]) -> Sequence[Fields]:
        return [_action(one) for one in found]

    def key(one: Execution) -> Key:
        return one.recorded_at, one.id

    return await connect(info, Listing("AT", tuple[AT, UUID], key, read, count, show, descending=True), page)


def _action(execution: Execution) -> Fields:
    asked = execution.data.get("asked") or {}
    cause = asked.get("cause") or {}  # of dead letters
    return {
        "id": str(execution.id),
        "at": execution.recorded_at,
        "by": execution.data.get("by", "unknown"),
        "action": execution.name,
        "detail": f"from {asked['fromStep']}" if "fromStep" in asked else asked.get("action") or cause.get("error"),
        "target": asked.get("id") or asked.get("name") or asked.get("source") or cause.get("source"),
        "reason": asked.get("reason"),
        "status": execution.status,
        "error": execution.error,
    }


RESOLVERS: Resolvers = {"Query": {"operatorActionsConnection": operator_actions_connection}}
