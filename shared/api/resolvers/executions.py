"""Executed commands and queries, for people who look into what happened."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from shared.api.command_client import named
from shared.api.connections import AT, NUMBER, Connection, Listing, connect
from shared.api.context import Info, Resolvers, Text
from shared.api.inputs import trace_id, uuid
from shared.api.limits import from_stores
from shared.api.resolvers.common import after_a_moment, is_admin, limit_of, one_of, require_admin
from shared.api.resolvers.listings import is_descending
from shared.api.sse import cursor_of, read_cursor
from shared.config.manifest import manifest
from shared.monitoring.executions import Execution, ExecutionFilter, Kind, ListedExecutions, SortedBy
from shared.observability.error_codes import ERROR_CODES
from shared.postgres.slices import Key, Slice
from shared.postgres.text import storable
from shared.read_models.protocol import Fields
from shared.runtime.engines import Engines

_ID, _LAST_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", UUID(int=2**128 - 1)
STATUSES = ("success", *(code for _, code in ERROR_CODES.values()), "INTERNAL_ERROR")
"""How an execution can end."""
STOP, START = "StopProjection", "StartProjection"
"""Commands that rebuild_projection carries out under a name of their own."""
_MAX_EVENTS = 5  # that one command can record on one stream


async def query_executions(_: Any, info: Info, queryType: Text = None, **page: Any) -> list[Fields]:
    return await _shown(info, "query", await _executions(info, "query", queryType, page))


async def command_executions(_: Any, info: Info, commandType: Text = None, **page: Any) -> list[Fields]:
    return await _shown(info, "command", await _executions(info, "command", commandType, page))


async def _executions(info: Info, kind: Kind, name: Text, page: Mapping[str, Any]) -> Sequence[Execution]:
    """`page`: the arguments `status`, `limit`, `after` and `afterTimestamp`."""
    limit, since = limit_of(info, page.get("limit"), default=100), page.get("afterTimestamp")
    name = one_of(_names(info, kind), name, f"{kind}Type")
    status = one_of(STATUSES, page.get("status"), "status")
    found = read_cursor(page.get("after"), since, _ID)
    after = found and (found[0], UUID(found[1][0]) if found[1] else _LAST_ID)

    async def read(length: int) -> Sequence[Execution]:
        wanted = ExecutionFilter(kind, name, status, after, length)
        return await info.context.loaders.budget.rows(info.context.engines.executions.find, wanted)

    if limit == 0:
        return []
    return await (after_a_moment(info, read, limit, lambda one: one.recorded_at) if since else read(limit))


def _names(info: Info, kind: Kind) -> Sequence[str]:
    """Return the names of all queries or commands."""
    queries = info.schema.query_type
    if kind == "query" and queries:
        return list(queries.fields)
    called = [name for name, one in manifest().functions.items() if one.http and one.uses and not one.public]
    return [*map(named, called), STOP, START]


async def query_executions_connection(_: Any, info: Info, **page: Any) -> Connection[Execution]:
    return await _connection(info, "query", page)


async def command_executions_connection(_: Any, info: Info, **page: Any) -> Connection[Execution]:
    return await _connection(info, "command", page)


async def _connection(info: Info, kind: Kind, page: Mapping[str, Any]) -> Connection[Execution]:
    wanted: Fields = page.get("filter") or {}
    correlation_id = wanted.get("correlationId")
    if correlation_id is not None or wanted.get("traceId") is not None:
        require_admin(info)
    by: SortedBy = "milliseconds" if page.get("sortBy") == "DURATION" else "recorded_at"
    which = ListedExecutions(
        kind,
        one_of(_names(info, kind), wanted.get("name"), "filter", "name"),
        one_of(STATUSES, wanted.get("status"), "filter", "status"),
        wanted.get("recordedAfter"),
        wanted.get("recordedBefore"),
        None,
        trace_id(wanted.get("traceId")),
        correlation_id and storable(correlation_id),
        UUID(uuid(wanted["id"], "filter", "id")) if wanted.get("id") is not None else None,
    )
    store = info.context.engines.executions

    async def read(part: Slice) -> Sequence[Execution]:
        return await info.context.loaders.budget.rows(store.page, which, by, part)

    async def count() -> tuple[int, int]:
        number = await from_stores(store.count, which)
        return number, number

    async def show(found: Sequence[Execution]) -> Sequence[Fields]:
        return await _shown(info, kind, found)

    def key(one: Execution) -> Key:
        return getattr(one, by), one.id

    key_type = tuple[NUMBER, UUID] if by == "milliseconds" else tuple[AT, UUID]
    listing = Listing(by.upper(), key_type, key, read, count, show, is_descending(page))
    return await connect(info, listing, page)


async def _shown(info: Info, kind: Kind, executions: Sequence[Execution]) -> list[Fields]:
    if kind == "query":
        return [_execution(one, info) for one in executions]
    generated = await from_stores(_generated, info.context.engines, executions)
    events = (generated.get((one.subject, one.data.get("causationId", "")), []) for one in executions)
    return [_execution(one, info) | {"events_generated": of} for one, of in zip(executions, events, strict=True)]


def _execution(execution: Execution, info: Info) -> Fields:
    """Return the fields of a query and of a command. What was asked may be personal."""
    aggregate, _, aggregate_id = (execution.subject or "").partition("-")
    asked = execution.data.get("asked") if is_admin(info) else None
    return {
        "id": str(execution.id),
        "query_type": execution.name,
        "command_type": execution.name,
        "query_params": asked,
        "command_data": asked,
        "aggregate_type": aggregate or None,
        "aggregate_id": aggregate_id or None,
        "execution_time_ms": execution.milliseconds,
        "result_count": execution.data.get("results"),
        "status": execution.status,
        "error_message": execution.error if is_admin(info) else None,
        "correlation_id": execution.correlation_id if is_admin(info) else None,
        "trace_id": execution.data.get("trace") if is_admin(info) else None,
        "timestamp": execution.recorded_at,
        "cursor": cursor_of(execution.recorded_at, execution.id),
    }


def _generated(engines: Engines, executions: Sequence[Execution]) -> dict[tuple[str | None, str], list[str]]:
    """Return the types of the events that each command recorded, by its stream and causation id, in
    one read.

    Two users may use the same idempotency key, which makes the causation id. The events are the
    last ones up to the version that the command left its stream at."""
    left = {(one.subject, one.data["version"]) for one in executions if one.subject and one.data.get("version")}
    places = {(stream, version - back) for stream, version in left for back in range(min(version, _MAX_EVENTS))}
    types: dict[tuple[str | None, str], list[str]] = {}
    for positioned in engines.event_log.of_places(sorted(places)) if places else ():
        event = positioned.event
        types.setdefault((event.stream, event.metadata.causation_id), []).append(event.type)
    return types


RESOLVERS: Resolvers = {
    "Query": {
        "queryExecutions": query_executions,
        "queryExecutionsConnection": query_executions_connection,
        "commandExecutions": command_executions,
        "commandExecutionsConnection": command_executions_connection,
    },
}
