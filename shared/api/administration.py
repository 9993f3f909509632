"""Resolvers for who runs the shop: its sagas, and the messages that could not be delivered.

They read the command database, whose driver waits, so it is asked in a thread. What changes something is a command.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from shared.api.command_client import keyed, send
from shared.api.context import Info, ResumePoint, SourceEvent, from_stores
from shared.api.queries import page_of, uuid
from shared.api.sse import require_in_log, resume_point
from shared.api.statistics import projection_named
from shared.auth.permissions import Permission, Role, require
from shared.dead_letters.protocol import DeadLetter, LetterStatus
from shared.domain.errors import Invalid, NotFound
from shared.read_models.protocol import Fields
from shared.runtime.engines import Engines
from shared.sagas.definition import Progress, SagaStatus
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.store import ListedSaga, SagaEntry, Sagas

Resolver = Callable[..., Coroutine[Any, Any, Any]]

_PROGRESS = TypeAdapter(Progress)
_SAGAS = (ORDER_FULFILMENT.name,)


@dataclass(frozen=True)
class SagaCommand:
    command_type: str
    command_data: Fields
    timestamp: datetime


@dataclass(frozen=True)
class SagaDetail:
    """It says which order, not whose, nor how that was paid; only its reason may be a customer's own words."""

    id: str
    saga_type: str
    status: str
    state: Fields
    commands_dispatched: list[Fields]
    events_handled: list[str]
    created_at: datetime
    updated_at: datetime
    correlation_id: str


async def sagas(
    _: Any, info: Info, status: str | None = None, sagaType: str | None = None, **page: int | None
) -> list[Fields]:
    limit, offset = page_of(page, info.context.engines.settings, default=50)
    which = Sagas(_saga_status(status), _plain(sagaType, "sagaType"))
    return [_detail(one, info) for one in await from_stores(info.context.engines.sagas.newest, limit, offset, which)]


async def saga(_: Any, info: Info, id: str) -> Fields:
    found = await from_stores(info.context.engines.sagas.listed, UUID(uuid(id, "id")))
    if found is None:
        raise NotFound(f"saga {id} does not exist", ("id",))
    return _detail(found, info)


async def saga_updates(info: Info, sagaType: str | None = None) -> AsyncGenerator[SourceEvent]:
    if sagaType not in (None, *_SAGAS):
        raise Invalid(f"sagaType must be one of {', '.join(_SAGAS)}, not {sagaType!r:.60}", ("sagaType",))
    engines = info.context.engines
    seen, end = resume_point(info), (await from_stores(engines.saga_log.end),)
    require_in_log(seen, end)
    return _moves(engines, seen or end, sagaType)


async def _moves(engines: Engines, place: ResumePoint, saga_type: str | None) -> AsyncGenerator[SourceEvent]:
    """Each saga as it was after each of its versions."""

    def wanted(entry: SagaEntry) -> bool:
        return entry.saga is not None and saga_type in (None, entry.saga.saga.type)

    yield SourceEvent(place, None)
    async with aclosing(engines.saga_tail.after(place[0], wanted)) as entries:
        async for entry in entries:
            yield SourceEvent((entry.checkpoint,), entry.saga)


async def moved(listed: ListedSaga, info: Info, **_: Any) -> Fields:
    return _detail(listed, info)


async def dead_letters(
    _: Any, info: Info, status: LetterStatus | None = None, source: str | None = None, **page: int | None
) -> list[Fields]:
    require(Permission.ADMIN, info.context.actor)
    limit, offset = page_of(page, info.context.engines.settings, default=50)
    latest = info.context.engines.dead_letters.latest
    return [_fields(letter) for letter in await from_stores(latest, limit, offset, status, _plain(source, "source"))]


async def dead_letter(_: Any, info: Info, id: str) -> Fields:
    require(Permission.ADMIN, info.context.actor)
    found = await from_stores(info.context.engines.dead_letters.load, UUID(uuid(id, "id")))
    if found is None:
        raise NotFound(f"dead letter {id} does not exist", ("id",))
    return _fields(found)


async def retry_dead_letter(_: Any, info: Info, id: str) -> Fields:
    await _command(info, "retry_dead_letters", {"id": id})
    return await dead_letter(_, info, id)


async def retry_dead_letters(_: Any, info: Info, **given: Any) -> Fields:
    given = {name: value for name, value in given.items() if value is not None}
    return await _command(info, "retry_dead_letters", given)


async def discard_dead_letter(_: Any, info: Info, id: str, reason: str) -> Fields:
    await _command(info, "discard_dead_letter", {"id": id, "reason": reason})
    return await dead_letter(_, info, id)


async def retry_saga(_: Any, info: Info, id: str) -> Fields:
    await _command(info, "retry_saga", {"id": id})
    return await saga(_, info, id)


async def rebuild_projection(_: Any, info: Info, name: str) -> Fields:
    return await _generation(info, name, "REBUILD")


async def switch_projection(_: Any, info: Info, name: str, to: int) -> Fields:
    return await _generation(info, name, "SWITCH", to=to)


async def drop_projection_generation(_: Any, info: Info, name: str) -> Fields:
    return await _generation(info, name, "DROP")


async def _generation(info: Info, name: str, action: str, **more: int) -> Fields:
    await _command(info, "rebuild_projection", {"name": name, "action": action, **more})
    return await projection_named(info, name)


QUERIES: Mapping[str, Resolver] = {
    "sagas": sagas,
    "saga": saga,
    "deadLetters": dead_letters,
    "deadLetter": dead_letter,
}
MUTATIONS: Mapping[str, Resolver] = {
    "retryDeadLetter": retry_dead_letter,
    "retryDeadLetters": retry_dead_letters,
    "discardDeadLetter": discard_dead_letter,
    "retrySaga": retry_saga,
    "rebuildProjection": rebuild_projection,
    "switchProjection": switch_projection,
    "dropProjectionGeneration": drop_projection_generation,
}


async def _command(info: Info, function: str, command: Fields) -> Fields:
    require(Permission.ADMIN, info.context.actor)
    if "id" in command:
        command = command | {"id": uuid(command["id"], "id")}
    return await send(info, function, command, keyed(info))


def _saga_status(status: str | None) -> SagaStatus | None:
    if status is not None and status not in SagaStatus.__members__:
        raise Invalid(f"status must be one of {', '.join(SagaStatus.__members__)}, not {status!r:.60}", ("status",))
    return SagaStatus[status] if status else None


def _plain(text: str | None, argument: str) -> str | None:
    """A name that can be looked for. Raises Invalid."""
    if text is not None and not (text.isprintable() and len(text) <= 300):
        raise Invalid(f"{argument} must be up to 300 printable characters", (argument,))
    return text


def _fields(letter: DeadLetter) -> Fields:
    return vars(letter) | {"history": [vars(entry) for entry in letter.history]}


def _detail(listed: ListedSaga, info: Info) -> Fields:
    """A reason is shown to admins only."""
    hidden = {} if info.context.actor.role is Role.ADMIN else {"reason": None}
    one, history = listed.saga, listed.history
    sent = [
        SagaCommand(entry.name, _without(entry.data, hidden), at) for at, entry in history if entry.kind == "command"
    ]
    detail = SagaDetail(
        id=str(one.progress.saga_id),
        saga_type=one.type,
        status=one.progress.status.value,
        state=_without(_PROGRESS.dump_python(one.progress, mode="json"), hidden),
        commands_dispatched=[vars(command) for command in sent],
        events_handled=[entry.name for _, entry in history if entry.kind == "event"],
        created_at=listed.created_at,
        updated_at=listed.updated_at,
        correlation_id=one.correlation_id,
    )
    return vars(detail)


def _without(data: Fields, hidden: Fields) -> Fields:
    return data | {name: value for name, value in hidden.items() if name in data}
