"""Sagas: queries, live updates, and the retry of a stuck saga."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from shared.api.context import Info, Resolvers, ResumePoint, SourceEvent, Subscription, from_stores
from shared.api.resolvers.common import admin_command, is_admin, page_of, printable, uuid
from shared.api.sse import require_in_log, resume_point
from shared.domain.errors import Invalid, NotFound
from shared.read_models.protocol import Fields
from shared.runtime.engines import Engines
from shared.sagas.definition import Progress, SagaStatus
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.store import ListedSaga, SagaEntry, Sagas

_PROGRESS = TypeAdapter(Progress)
_TYPES = (ORDER_FULFILMENT.name,)


@dataclass(frozen=True)
class SagaCommand:
    command_type: str
    command_data: Fields
    timestamp: datetime


@dataclass(frozen=True)
class SagaDetail:
    """It names the order, not its user or how it was paid; only a reason may hold a customer's own words."""

    id: str
    saga_type: str
    status: str
    state: Fields
    commands_dispatched: list[SagaCommand]
    events_handled: list[str]
    created_at: datetime
    updated_at: datetime
    correlation_id: str


async def sagas(
    _: Any, info: Info, status: str | None = None, sagaType: str | None = None, **page: int | None
) -> list[SagaDetail]:
    limit, offset = page_of(info, page, default=50)
    which = Sagas(_status(status), printable(sagaType, "sagaType"))
    listed = await from_stores(info.context.engines.sagas.newest, limit, offset, which)
    return [_detail(saga, info) for saga in listed]


async def saga(_: Any, info: Info, id: str) -> SagaDetail:
    listed = await from_stores(info.context.engines.sagas.listed, UUID(uuid(id, "id")))
    if listed is None:
        raise NotFound(f"saga {id} does not exist", ("id",))
    return _detail(listed, info)


async def saga_updates(info: Info, sagaType: str | None = None) -> AsyncGenerator[SourceEvent]:
    if sagaType not in (None, *_TYPES):
        raise Invalid(f"sagaType must be one of {', '.join(_TYPES)}; got {sagaType!r:.60}", ("sagaType",))
    engines = info.context.engines
    seen, end = resume_point(info), (await from_stores(engines.saga_log.end),)
    require_in_log(seen, end)
    return _follow(engines, seen or end, sagaType)


async def _follow(engines: Engines, start: ResumePoint, saga_type: str | None) -> AsyncGenerator[SourceEvent]:
    """Yield each saga as it was after each of its versions."""

    def wanted(entry: SagaEntry) -> bool:
        return entry.saga is not None and saga_type in (None, entry.saga.saga.type)

    yield SourceEvent(start, None)
    async with aclosing(engines.saga_tail.after(start[0], wanted)) as entries:
        async for entry in entries:
            yield SourceEvent((entry.checkpoint,), entry.saga)


async def _updated(listed: ListedSaga, info: Info, **_: Any) -> SagaDetail:
    return _detail(listed, info)


async def retry_saga(_: Any, info: Info, id: str) -> SagaDetail:
    await admin_command(info, "retry_saga", {"id": id})
    return await saga(_, info, id)


def _status(status: str | None) -> SagaStatus | None:
    if status is not None and status not in SagaStatus.__members__:
        raise Invalid(f"status must be one of {', '.join(SagaStatus.__members__)}; got {status!r:.60}", ("status",))
    return SagaStatus[status] if status else None


def _detail(listed: ListedSaga, info: Info) -> SagaDetail:
    stored, history = listed.saga, listed.history
    return SagaDetail(
        id=str(stored.progress.saga_id),
        saga_type=stored.type,
        status=stored.progress.status.value,
        state=_visible(_PROGRESS.dump_python(stored.progress, mode="json"), info),
        commands_dispatched=[
            SagaCommand(entry.name, _visible(entry.data, info), at) for at, entry in history if entry.kind == "command"
        ],
        events_handled=[entry.name for _, entry in history if entry.kind == "event"],
        created_at=listed.created_at,
        updated_at=listed.updated_at,
        correlation_id=stored.correlation_id,
    )


def _visible(data: Fields, info: Info) -> Fields:
    """Hide the reason from everybody but admins."""
    return data | {"reason": None} if "reason" in data and not is_admin(info) else data


RESOLVERS: Resolvers = {
    "Query": {"sagas": sagas, "saga": saga},
    "Mutation": {"retrySaga": retry_saga},
    "Subscription": {"sagaUpdates": Subscription(saga_updates, _updated)},
}
