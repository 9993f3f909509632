"""What admins do to the running shop: send it, and keep who did what, when and why."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from shared.api.command_client import keyed, send
from shared.api.connections import AT, Connection, Listing, connect
from shared.api.context import Info, Resolvers, Text
from shared.api.inputs import uuid
from shared.api.limits import from_stores
from shared.api.resolvers.common import require_admin
from shared.monitoring.executions import Execution, ListedExecutions
from shared.monitoring.recorder import watched
from shared.postgres.pool import storable
from shared.postgres.slices import Key, Slice
from shared.read_models.protocol import Fields


async def admin_command(info: Info, function: str, command: Fields, unrecorded: Fields | None = None) -> Fields:
    """Send a command that is for admins, its `id` in canonical form, and return the answer. Record
    who sent it. `unrecorded`: fields of the command that the record must not keep.

    Raise Unauthenticated, Forbidden and Invalid, and what the command function raises."""
    require_admin(info)
    if "id" in command:
        command = command | {"id": uuid(command["id"], "id")}
    name = function.title().replace("_", "")
    with watched(info.context.engines.recorder, "operation", name, info.context.context, command):
        return await send(info, function, command | (unrecorded or {}), keyed(info))


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
    return {
        "id": str(execution.id),
        "at": execution.recorded_at,
        "by": execution.data.get("by", "unknown"),
        "action": execution.name,
        "detail": f"from {asked['fromStep']}" if "fromStep" in asked else asked.get("action"),
        "target": asked.get("id") or asked.get("name") or asked.get("source"),
        "reason": asked.get("reason"),
        "status": execution.status,
        "error": execution.error,
    }


RESOLVERS: Resolvers = {"Query": {"operatorActionsConnection": operator_actions_connection}}
