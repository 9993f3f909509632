"""Sagas: queries, live updates, and the retry and restart of a stuck saga."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any, cast, get_args
from uuid import UUID

from shared.api.connections import AT, Connection, Listing, connect
from shared.api.context import Info, LiveField, Number, Resolvers, SourceEvent, Text
from shared.api.inputs import uuid
from shared.api.limits import from_stores
from shared.api.resolvers.common import (
    existing,
    follow_log,
    is_admin,
    one_of,
    page_of,
    require_admin,
)
from shared.api.resolvers.listings import is_descending
from shared.api.resolvers.operators import admin_command
from shared.domain.values import adapter
from shared.postgres.slices import Key, Slice
from shared.postgres.text import storable
from shared.read_models.protocol import Fields
from shared.sagas.definition import Progress, command_name
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.status import SagaGroup, SagaStatus
from shared.sagas.steps import AtStep, SagaStep, at_steps, current_step, name_of, steps_of
from shared.sagas.store import ListedSaga, SagaEntry, Sagas

_CACHE_SECONDS = 1.0
_TYPES = (ORDER_FULFILMENT.name,)


async def sagas(_: Any, info: Info, status: Text = None, sagaType: Text = None, **page: Number) -> list[Fields]:
    limit, offset = page_of(info, page, default=50)
    which = Sagas(_status(status, "status"), one_of(_TYPES, sagaType, "sagaType"))
    listed = await info.context.loaders.budget.rows(info.context.engines.sagas.newest, limit, offset, which)
    return [_detail(saga, info) for saga in listed]


async def sagas_connection(_: Any, info: Info, filter: Fields | None = None, **page: Any) -> Connection[ListedSaga]:
    wanted = filter or {}
    correlation_id = wanted.get("correlationId")
    if correlation_id is not None:
        require_admin(info)
    which = Sagas(
        _status(wanted.get("status"), "filter", "status"),
        one_of(_TYPES, wanted.get("sagaType"), "filter", "sagaType"),
        UUID(uuid(wanted["orderId"], "filter", "orderId")) if wanted.get("orderId") is not None else None,
        correlation_id and storable(correlation_id),
        wanted.get("startedAfter"),
        wanted.get("startedBefore"),
        _step(wanted.get("currentStep")),
    )
    store, rows = info.context.engines.sagas, info.context.loaders.budget.rows

    async def read(part: Slice) -> Sequence[ListedSaga]:
        return await rows(store.page, which, part)

    async def count() -> tuple[int, int]:
        if which == Sagas(which.status):
            kept = await from_stores(info.context.engines.counts.records)
            return kept.sagas_of(which.status), 0
        number = await from_stores(store.count, which)
        return number, number

    async def show(found: Sequence[ListedSaga]) -> Sequence[Fields]:
        return [_detail(one, info) for one in found]

    return await connect(
        info, Listing("STARTED_AT", tuple[AT, UUID], _key, read, count, show, is_descending(page)), page
    )


def _step(name: Text) -> str | None:
    """Return the command of the step of this name. Raise Invalid for a name that no version of the
    saga has."""
    versions = (ORDER_FULFILMENT, *ORDER_FULFILMENT.former)
    commands = {name_of(step): command_name(step.send) for one in versions for step in one.steps}
    return commands[name] if (name := one_of([*commands], name, "filter", "currentStep")) else None


def _key(listed: ListedSaga) -> Key:
    return listed.created_at, listed.saga.progress.saga_id


async def saga_steps(_: Any, info: Info) -> Sequence[AtStep]:
    engines = info.context.engines

    async def count() -> Sequence[AtStep]:
        return at_steps(ORDER_FULFILMENT, await from_stores(engines.sagas.at_steps))

    return await engines.cache.get("sagas at each step", _CACHE_SECONDS, count)


async def saga(_: Any, info: Info, id: str) -> Fields:
    listed = await from_stores(info.context.engines.sagas.listed, UUID(uuid(id, "id")))
    return _detail(existing(listed, "saga", id), info)


async def saga_updates(info: Info, sagaType: Text = None) -> AsyncGenerator[SourceEvent]:
    kind = one_of(_TYPES, sagaType, "sagaType")

    def wanted(entry: SagaEntry) -> bool:
        return entry.saga is not None and kind in (None, entry.saga.saga.type)

    engines = info.context.engines
    return await follow_log(info, engines.saga_log.end, engines.saga_tail, wanted)


async def _updated(entry: SagaEntry, info: Info, **_: Any) -> Fields | None:
    return _detail(entry.saga, info) if entry.saga else None


async def retry_saga(_: Any, info: Info, id: str, reason: Text = None) -> Fields:
    await admin_command(info, "retry_saga", {"id": id}, reason)
    return await saga(_, info, id)


async def restart_saga(_: Any, info: Info, id: str, fromStep: str, reason: Text = None) -> Fields:
    await admin_command(info, "restart_saga", {"id": id, "fromStep": fromStep}, reason)
    return await saga(_, info, id)


def _status(status: Text, *argument: str) -> SagaStatus | SagaGroup | None:
    name = one_of([*SagaStatus.__members__, *get_args(SagaGroup)], status, *argument)
    return SagaStatus(name) if name in SagaStatus.__members__ else cast(SagaGroup | None, name)


def _detail(listed: ListedSaga, info: Info) -> Fields:
    stored, history = listed.saga, listed.history
    progress = stored.progress
    return {
        "id": str(stored.progress.saga_id),
        "saga_type": stored.type,
        "status": stored.progress.status.value,
        "state": _state(stored.progress, info),
        "commands_dispatched": [
            {"command_type": entry.name, "command_data": _visible(entry.data, info), "timestamp": at}
            for at, entry in history
            if entry.kind == "command"
        ],
        "events_handled": [entry.name for _, entry in history if entry.kind == "event"],
        "created_at": listed.created_at,
        "updated_at": listed.updated_at,
        "listed": listed,
        "current_step": current_step(ORDER_FULFILMENT, progress),
        "attempts": 0 if progress.ended else progress.attempts,
        "deadline_at": progress.deadline_at,
        "reason": progress.reason if is_admin(info) else None,
        "correlation_id": stored.correlation_id if is_admin(info) else None,
    }


def _state(progress: Progress, info: Info) -> Fields:
    state: Fields = adapter(Progress).dump_python(progress, mode="json")
    return _visible(state, info) | {"given_up": [_visible(one, info) for one in state["given_up"]]}


def _visible(data: Fields, info: Info) -> Fields:
    """Hide a reason, which may be a customer's own words, from all but admins."""
    return data | {"reason": None} if "reason" in data and not is_admin(info) else data


def _steps(saga: Fields, info: Info) -> Sequence[SagaStep]:
    steps = steps_of(ORDER_FULFILMENT, saga["listed"])
    return steps if is_admin(info) else [replace(step, last_error=None) for step in steps]


RESOLVERS: Resolvers = {
    "Query": {"sagas": sagas, "sagasConnection": sagas_connection, "sagaSteps": saga_steps, "saga": saga},
    "Mutation": {"retrySaga": retry_saga, "restartSaga": restart_saga},
    "Subscription": {"sagaUpdates": LiveField(saga_updates, _updated)},
    "SagaDetail": {"steps": _steps},
}
