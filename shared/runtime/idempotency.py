"""One command, one effect: the key under which the request being handled is recorded together with its result."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from shared.domain.errors import Rejected
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import EventStore, IdempotencyRecord
from shared.read_models.documents import document

_DOCUMENTS: TypeAdapter[Any] = TypeAdapter(Any)


@dataclass(frozen=True)
class Request:
    """`fingerprint`: of what was asked, so that one key can't stand for two requests."""

    key: str
    fingerprint: str


_current: ContextVar[Request | None] = ContextVar("request", default=None)


def fingerprint(function: str, body: bytes) -> str:
    return hashlib.sha256(function.encode() + b"\0" + body).hexdigest()


@contextmanager
def recording(request: Request) -> Iterator[None]:
    token = _current.set(request)
    try:
        yield
    finally:
        _current.reset(token)


def idempotency_record(result: Loaded[Any]) -> IdempotencyRecord | None:
    """To be stored in the append; None for steps of a saga, which find their outcome on the order's stream."""
    request = _current.get()
    return IdempotencyRecord(request.key, request.fingerprint, answer(result)) if request else None


def earlier_answer(store: EventStore, request: Request) -> str | None:
    """The answer that the key got before. Raises Rejected when it was another request that got it."""
    record = store.recorded(request.key)
    if record and record.fingerprint != request.fingerprint:
        raise Rejected("this idempotency key was used for another request; use a new one")
    return record.result if record else None


def answer(result: Loaded[Any]) -> str:
    """JSON: the stream's name and version, and the entity as the read model will show it."""
    entity = _DOCUMENTS.dump_python(document(result.state), mode="json")
    times = {"created_at": result.created_at.isoformat(), "updated_at": result.updated_at.isoformat()}
    return json.dumps(
        {"stream": result.ref.stream, "version": result.version, "entity": entity | times}, ensure_ascii=False
    )
