"""Carry out a command: load the aggregates, decide, append; decide again when another writer was
faster."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NewType, TypeVar

from shared.auth.permissions import Actor
from shared.domain.aggregate import Ref
from shared.domain.errors import ConcurrencyError, Conflict
from shared.domain.order import placement
from shared.domain.values import adapter
from shared.event_store.aggregates import Loaded, load, records, snapshot_if_due
from shared.event_store.protocol import AlreadyRecorded, Append, EventStore, IdempotencyRecord
from shared.observability.context import Context, current
from shared.read_models.documents import document
from shared.resilience import clock
from shared.resilience.calls import time_left

Command = TypeVar("Command")
Root = TypeVar("Root")
Other = TypeVar("Other")
T = TypeVar("T")
Decide = Callable[[Command, Root], Sequence[Any]]
DecideAmong = Callable[[Command, Root, Sequence[Other]], Sequence[Any]]


ATTEMPTS = 12
"""Attempts before a conflict is raised as ConcurrencyError: enough for dozens of writers on one
stream."""

Answer = NewType("Answer", str)
"""The JSON that a command function answers with."""


@dataclass(frozen=True)
class Call:
    """One request to a command function.

    `context`: its trace and the ids that its events carry as metadata. `fingerprint`: a hash of
    what was asked, so that one idempotency key cannot stand for two different requests.
    """

    actor: Actor
    context: Context
    fingerprint: str

    @property
    def key(self) -> str:
        """Return the key of the stored answer: each user has idempotency keys of their own. It is a
        hash, because it would name the user otherwise."""
        return hashlib.sha256(self.former_key.encode()).hexdigest()

    @property
    def former_key(self) -> str:
        """Return the key under which the release before this one stored answers. A newline
        separates user and key, because neither may have control characters."""
        return f"{self.actor.name}\n{self.context.causation_id}"

    def record(self, answer: Answer) -> IdempotencyRecord:
        """Return the record by which a repeated request finds its first answer."""
        return IdempotencyRecord(self.key, self.fingerprint, answer)


def fingerprint(function: str, actor: str, body: bytes) -> str:
    return hashlib.sha256(b"\0".join([function.encode(), actor.encode(), body])).hexdigest()


def earlier_answer(store: EventStore, call: Call) -> Answer | None:
    """Return the answer that the call's key got before. Raises Conflict when the user has used the
    key for another request."""
    record = store.recorded(call.key, call.former_key)
    if record and record.fingerprint == call.fingerprint:
        return Answer(record.result)
    if record:
        raise Conflict("this idempotency key was used for another request; use a new one")
    return None


def execute(
    store: EventStore,
    decide: Decide[Command, Root] | DecideAmong[Command, Root, Other],
    command: Command,
    root: Ref[Root],
    others: Sequence[Ref[Other]] | None = None,
    *,
    call: Call,
) -> Answer:
    """Record what `decide(command, root's state[, states of the others])` returns, and return the
    answer to the call.

    Events may belong to the root or to any of the others; all are appended at once or none. The
    answer is stored under the call's idempotency key in the same append, even when nothing was
    decided, so that a repeated call gets the same bytes. Raises what `decide` raises,
    ConcurrencyError when every attempt met another writer, AlreadyRecorded when the same call was
    faster elsewhere, and TimedOut when the time for the request is up.
    """

    def finish(result: Loaded[Any]) -> tuple[Answer, IdempotencyRecord | None]:
        answer = _answer(result)
        return answer, call.record(answer)

    return _Execution(store, decide, command, root, others).run(call.context, finish)


def execute_step(
    store: EventStore,
    decide: Decide[Command, Root] | DecideAmong[Command, Root, Other],
    command: Command,
    root: Ref[Root],
    others: Sequence[Ref[Other]] | None = None,
) -> Loaded[Root]:
    """Do what `execute` does for a command of a saga, and return the root's new state.

    No idempotency record is stored: a step whose command is delivered again finds its outcome on
    the order's stream.
    """
    return _Execution(store, decide, command, root, others).run(current(), lambda result: (result, None))


@dataclass(frozen=True)
class _Execution(Generic[Root]):
    store: EventStore
    decide: Callable[..., Sequence[Any]]
    command: Any
    root: Ref[Root]
    others: Sequence[Ref[Any]] | None

    def run(self, context: Context, finish: Callable[[Loaded[Root]], tuple[T, IdempotencyRecord | None]]) -> T:
        """Attempt until no other writer is faster. `finish`: what to return, and the record to
        append with the events.

        Not tenacity: with the clock's sleep and randomness and the request's deadline handed to it,
        it is no shorter.
        """
        for attempt in range(ATTEMPTS):
            try:
                return self._attempt(context, finish)
            except AlreadyRecorded:
                raise
            except ConcurrencyError:
                if attempt == ATTEMPTS - 1:
                    raise
                clock.sleep(time_left(clock.uniform(0.0001, 0.002 * 2 ** min(attempt, 6))))
        raise AssertionError("unreachable")

    def _attempt(self, context: Context, finish: Callable[[Loaded[Root]], tuple[T, IdempotencyRecord | None]]) -> T:
        (root,) = load(self.store, [self.root])
        others = load(self.store, self.others or [])
        events = self.decide(self.command, root.state, *([] if self.others is None else [[o.state for o in others]]))
        written = records([root, *others], events, context)
        after = [before.then([e for e in written if e.stream == before.ref.stream]) for before in (root, *others)]
        result, record = finish(after[0])
        if written or record:
            places = [place for event in events if (place := placement(event))]
            self.store.append(Append(written, placements=places, record=record))
        for before, now in zip((root, *others), after, strict=True):
            snapshot_if_due(self.store, before.version, now)
        return result


def _answer(result: Loaded[Any]) -> Answer:
    """Return the stream's name and version, and the entity as the read model will show it."""
    answer = {"stream": result.ref.stream, "version": result.version, "entity": entity(result)}
    return Answer(json.dumps(answer, ensure_ascii=False))


def entity(result: Loaded[Any]) -> dict[str, Any]:
    """Return the fields that the read model will have."""
    times = {"created_at": result.created_at.isoformat(), "updated_at": result.updated_at.isoformat()}
    fields: dict[str, Any] = adapter(Any).dump_python(document(result.state), mode="json")
    return fields | times
