"""Carry out a command: load, decide, append; again when somebody else was faster; once, however often it is asked for."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from pydantic import TypeAdapter

from shared.domain.aggregate import Ref
from shared.domain.errors import ConcurrencyError, Conflict
from shared.domain.order import placement
from shared.event_store.aggregates import Loaded, load, records, snapshot_if_due
from shared.event_store.protocol import AlreadyRecorded, Append, EventStore, IdempotencyRecord
from shared.observability.context import current
from shared.read_models.documents import document
from shared.resilience import clock
from shared.resilience.calls import time_left

Command = TypeVar("Command")
Root = TypeVar("Root")
Other = TypeVar("Other")

_DOCUMENTS: TypeAdapter[Any] = TypeAdapter(Any)

ATTEMPTS = 12
"""How often to decide anew before giving up with ConcurrencyError: enough for dozens of writers on one stream."""


@overload
def execute(
    store: EventStore, decide: Callable[[Command, Root], Sequence[Any]], command: Command, root: Ref[Root]
) -> Loaded[Root]: ...


@overload
def execute(
    store: EventStore,
    decide: Callable[[Command, Root, Sequence[Other]], Sequence[Any]],
    command: Command,
    root: Ref[Root],
    others: Sequence[Ref[Other]],
) -> Loaded[Root]: ...


def execute(
    store: EventStore,
    decide: Callable[..., Sequence[Any]],
    command: Command,
    root: Ref[Root],
    others: Sequence[Ref[Any]] | None = None,
) -> Loaded[Root]:
    """The root's state after `decide(command, root's state[, states of the others])` was recorded.

    Events may belong to the root or to any of the others; all are appended at once or none. Deciding nothing records
    nothing. Raises what `decide` raises, ConcurrencyError when every attempt met another writer, and
    TimedOut when the time for the request is up.
    """
    for attempt in range(ATTEMPTS):
        try:
            return _once(store, decide, command, root, others)
        except AlreadyRecorded:
            raise
        except ConcurrencyError:
            if attempt == ATTEMPTS - 1:
                raise
            clock.sleep(time_left(clock.uniform(0.0001, 0.002 * 2 ** min(attempt, 6))))
    raise AssertionError("unreachable")


def _once(
    store: EventStore,
    decide: Callable[..., Sequence[Any]],
    command: Any,
    root: Ref[Root],
    others: Sequence[Ref[Any]] | None,
) -> Loaded[Root]:
    (loaded,) = load(store, [root])
    besides = load(store, others or [])
    extra = [] if others is None else [[one.state for one in besides]]
    events = decide(command, loaded.state, *extra)
    if not events:
        if record := idempotency_record(loaded):  # the answer stays the same even if what it says changes
            store.append(Append((), record=record))
        return loaded
    written = records([loaded, *besides], events, current())
    after = [one.then([e for e in written if e.stream == one.ref.stream]) for one in (loaded, *besides)]
    store.append(
        Append(
            events=written,
            placements=[place for event in events if (place := placement(event))],
            record=idempotency_record(after[0]),
        )
    )
    for before, now in zip((loaded, *besides), after, strict=True):
        snapshot_if_due(store, before.version, now)
    return after[0]


@dataclass(frozen=True)
class Request:
    """`fingerprint`: of what was asked, so that one key can't stand for two requests."""

    key: str
    fingerprint: str


_request: ContextVar[Request | None] = ContextVar("request", default=None)


def fingerprint(function: str, actor: str, body: bytes) -> str:
    return hashlib.sha256(b"\0".join([function.encode(), actor.encode(), body])).hexdigest()


@contextmanager
def recording(request: Request) -> Iterator[None]:
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def idempotency_record(result: Loaded[Any]) -> IdempotencyRecord | None:
    """To be stored in the append; None for steps of a saga, which find their outcome on the order's stream."""
    request = _request.get()
    return IdempotencyRecord(request.key, request.fingerprint, answer(result)) if request else None


def earlier_answer(store: EventStore, request: Request) -> str | None:
    """The answer that the key got before. Raises Conflict when it was another request that got it."""
    record = store.recorded(request.key)
    if record and record.fingerprint != request.fingerprint:
        raise Conflict("this idempotency key was used for another request; use a new one")
    return record.result if record else None


def answer(result: Loaded[Any]) -> str:
    """JSON: the stream's name and version, and the entity as the read model will show it."""
    return json.dumps(
        {"stream": result.ref.stream, "version": result.version, "entity": entity(result)}, ensure_ascii=False
    )


def entity(result: Loaded[Any]) -> dict[str, Any]:
    """As the read model will have it."""
    times = {"created_at": result.created_at.isoformat(), "updated_at": result.updated_at.isoformat()}
    found: dict[str, Any] = _DOCUMENTS.dump_python(document(result.state), mode="json")
    return found | times
