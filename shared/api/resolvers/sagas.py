"""Sagas: queries, live updates, and the retry of a stuck saga."""

from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from shared.api.context import Info, LiveField, Number, Resolvers, SourceEvent, Text
from shared.api.inputs import uuid
from shared.api.limits import from_stores
from shared.api.resolvers.common import admin_command, existing, follow_log, is_admin, page_of, printable
from shared.domain.errors import Invalid
from shared.domain.faults import at, one_of
from shared.read_models.protocol import Fields
from shared.sagas.definition import Progress, SagaStatus
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.store import ListedSaga, SagaEntry, Sagas

_PROGRESS = TypeAdapter(Progress)
_TYPES = (ORDER_FULFILMENT.name,)


async def sagas(_: Any, info: Info, status: Text = None, sagaType: Text = None, **page: Number) -> list[Fields]:
    limit, offset = page_of(info, page, default=50)
    which = Sagas(_status(status), printable(sagaType, "sagaType"))
    listed = await info.context.loaders.budget.rows(info.context.engines.sagas.newest, limit, offset, which)
    return [_detail(saga, info) for saga in listed]


async def saga(_: Any, info: Info, id: str) -> Fields:
    listed = await from_stores(info.context.engines.sagas.listed, UUID(uuid(id, "id")))
    return _detail(existing(listed, "saga", id), info)


async def saga_updates(info: Info, sagaType: Text = None) -> AsyncGenerator[SourceEvent]:
    if sagaType not in (None, *_TYPES):
        raise Invalid(at(("sagaType",), one_of(_TYPES, sagaType)), ("sagaType",))

    def wanted(entry: SagaEntry) -> bool:
        return entry.saga is not None and sagaType in (None, entry.saga.saga.type)

    engines = info.context.engines
    return await follow_log(info, engines.saga_log.end, engines.saga_tail, wanted)


async def _updated(entry: SagaEntry, info: Info, **_: Any) -> Fields | None:
    return _detail(entry.saga, info) if entry.saga else None


async def retry_saga(_: Any, info: Info, id: str) -> Fields:
    await admin_command(info, "retry_saga", {"id": id})
    return await saga(_, info, id)


def _status(status: Text) -> SagaStatus | None:
    if status is not None and status not in SagaStatus.__members__:
        raise Invalid(at(("status",), one_of(SagaStatus.__members__, status)), ("status",))
    return SagaStatus[status] if status else None


def _detail(listed: ListedSaga, info: Info) -> Fields:
    stored, history = listed.saga, listed.history
    return {
        "id": str(stored.progress.saga_id),
        "saga_type": stored.type,
        "status": stored.progress.status.value,
        "state": _visible(_PROGRESS.dump_python(stored.progress, mode="json"), info),
        "commands_dispatched": [
            {"command_type": entry.name, "command_data": _visible(entry.data, info), "timestamp": at}
            for at, entry in history
            if entry.kind == "command"
        ],
        "events_handled": [entry.name for _, entry in history if entry.kind == "event"],
        "created_at": listed.created_at,
        "updated_at": listed.updated_at,
        "correlation_id": stored.correlation_id if is_admin(info) else None,
    }


def _visible(data: Fields, info: Info) -> Fields:
    """Hide a reason, which may be a customer's own words, from all but admins."""
    return data | {"reason": None} if "reason" in data and not is_admin(info) else data


RESOLVERS: Resolvers = {
    "Query": {"sagas": sagas, "saga": saga},
    "Mutation": {"retrySaga": retry_saga},
    "Subscription": {"sagaUpdates": LiveField(saga_updates, _updated)},
}
