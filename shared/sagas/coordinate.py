"""Run a saga against its stores: read its stream, advance, save, send.

A message is only a hint that the stream has new events. Every event is read in order from the
stream itself, so duplicate, late and reordered messages change nothing, and one message makes up
for all lost ones.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from shared.domain.aggregate import Aggregate
from shared.domain.errors import ConcurrencyError, NotFound, Rejected
from shared.domain.personal import forget
from shared.event_store.aggregates import CODEC
from shared.event_store.protocol import EventRecord, EventStore
from shared.messaging.envelope import Message, command_message
from shared.observability.context import Context, caused_by, current, span, traceparent, within
from shared.resilience import clock
from shared.resilience.calls import attempt_all
from shared.sagas.definition import DeadlinePassed, Progress, Saga, advance, begin, command_name, resume
from shared.sagas.outlook import awaited
from shared.sagas.releases import in_version
from shared.sagas.restart import restart
from shared.sagas.status import SagaStatus
from shared.sagas.store import HistoryEntry, SagaStore, StoredSaga

ATTEMPTS = 10

_log = structlog.get_logger()


@dataclass(frozen=True)
class Coordinator:
    """`follows`: the aggregate whose stream has the same id as the saga."""

    saga: Saga
    follows: Aggregate[Any]
    events: EventStore
    sagas: SagaStore

    def follow(self, saga_id: UUID) -> None:
        """Read the new events of the stream and act on them."""
        self._run(saga_id, None)

    def retry(self, saga_id: UUID, actor: str) -> None:
        """Resume a stuck saga, or rebuild one that is missing. Raise NotFound or Rejected."""
        self._run(saga_id, lambda run: run.retry(actor))

    def restart(self, saga_id: UUID, from_step: str, actor: str) -> None:
        """Send a stuck saga forward again from a step. Doing so twice is no error.

        Raise NotFound, and what `restart` of restart.py raises."""
        self._run(saga_id, lambda run: run.restart(from_step, actor))

    def sweep(self, now: datetime, limit: int = 1000) -> int:
        """Fire the deadlines that have passed and return how many there were.

        A saga that moved meanwhile has another deadline and stays as it is. Raise an ExceptionGroup
        at the end when some sagas could not be moved; all others have been swept.
        """
        due = self.sagas.due(now, limit)
        tasks = {str(saga_id): partial(self._run, saga_id, _Run.fire_deadline) for saga_id in due}
        return attempt_all("sweeping sagas", tasks)

    def _run(self, saga_id: UUID, then: "Callable[[_Run], None] | None") -> int:
        """Read the new events of the stream, call `then`, save, and return 1: the number of sagas.

        Retry at once after a conflict. tenacity would add 50 ms to each cold start.
        """
        for attempt in range(ATTEMPTS):
            run = _Run(self, saga_id)
            if then:
                then(run)
            with suppress(ConcurrencyError) if attempt < ATTEMPTS - 1 else nullcontext():
                run.save()
                break
        return 1


class _Run:
    """One pass over a stream, with the history to save and the command to send.

    A saga that is lost, or ahead of a stream that was restored to an earlier moment, is rebuilt
    from the whole stream. A stuck saga reads the whole stream again: it may have missed its own
    end.
    """

    def __init__(self, coordinator: Coordinator, saga_id: UUID) -> None:
        self._coordinator = coordinator
        stored = coordinator.sagas.load(saga_id)  # before the stream, or another process could be ahead of it
        self._stream = coordinator.follows.stream(saga_id)
        self._records = records = coordinator.events.read([self._stream])[self._stream]
        self._version = stored.version if stored else 0
        self._correlation_id = stored.correlation_id if stored else ""
        self._trace = records[0].metadata.traceparent if records else None  # a sweep and an admin have their own
        ahead = stored and records and records[-1].version < stored.progress.seen
        self._saga, self._progress = coordinator.saga, None
        if stored and not ahead:
            self._saga, self._progress = in_version(coordinator.saga, stored.progress)
        self._history: list[HistoryEntry] = []
        self._messages: list[Message] = []
        again = self._progress is not None and self._progress.status is SagaStatus.STUCK
        for record in records:
            if again or self._progress is None or record.version > self._progress.seen:
                self._read(record)

    def _read(self, record: EventRecord) -> None:
        # A saga keeps why it turned back: without a person's words, which no erasure would reach.
        event, saga, now = forget(CODEC.decode(record), instead=record.type), self._saga, clock.now()
        if self._progress is None:
            if not isinstance(event, saga.starts_on):
                return
            self._correlation_id = record.metadata.correlation_id
            progress, commands = begin(saga, getattr(event, f"{self._coordinator.follows.name}_id"), now)
        else:
            progress, commands = advance(saga, self._progress, event, now)
            if progress == self._progress and record.version <= progress.seen:
                return
        self._history.append(HistoryEntry("event", record.type, {}))
        progress = replace(progress, seen=max(progress.seen, record.version))
        self._move(progress, commands, caused_by(record.metadata, str(record.id)))

    def fire_deadline(self) -> None:
        """Advance the saga when its deadline has passed."""
        now = clock.now()
        if self._progress is None or self._progress.deadline_at is None or self._progress.deadline_at > now:
            return
        progress, commands = advance(self._saga, self._progress, DeadlinePassed(), now)
        missed = {"deadline_at": self._progress.deadline_at.isoformat(), "command": awaited(self._saga, self._progress)}
        self._history.append(HistoryEntry("timer", "DeadlinePassed", missed))
        with span("DeadlinePassed", parent=self._trace):
            context = Context(self._correlation_id, str(self._progress.saga_id), traceparent=self._trace)
            self._move(progress, commands, context)

    def retry(self, actor: str) -> None:
        """Resume a stuck saga. Any other saga only reads the events that it has missed."""
        if self._progress is None:
            raise NotFound("there is neither a saga nor an order with this id", ("id",))
        status = self._progress.status
        if status is SagaStatus.STUCK:
            gone = replace(self._progress, status=SagaStatus.FAILED, reason="its stream is not in the event store")
            move = resume(self._saga, self._progress, clock.now()) if self._records else (gone, [])
            self._history.append(HistoryEntry("retry", "Retried", {"actor": actor}))
            self._move(*move, Context(self._correlation_id, current().causation_id))
        elif not self._history and not self._may_be_retried(self._progress):  # another admin may have just done so
            raise Rejected(f"the saga is {status.value}; only a STUCK saga can be retried", ("id",))

    def _may_be_retried(self, progress: Progress) -> bool:
        is_beyond = progress.step > self._saga.last_return
        return not progress.ended and (is_beyond or progress.status is SagaStatus.COMPENSATING)

    def restart(self, from_step: str, actor: str) -> None:
        """Send a stuck saga forward again, unless this has just been done."""
        if self._progress is None:
            raise NotFound("there is no saga with this id", ("id",))
        if self._is_restarted(self._progress, from_step):
            return
        happened = [CODEC.decode(record) for record in self._records]
        move = restart(self._saga, self._progress, happened, from_step, clock.now())
        self._history.append(HistoryEntry("retry", "Restarted", {"actor": actor, "from_step": from_step}))
        self._move(*move, Context(self._correlation_id, current().causation_id))

    def _is_restarted(self, progress: Progress, from_step: str) -> bool:
        """Return whether the same restart was the last thing that an admin or a timer did, and the
        saga is not stuck again."""
        entries = self._coordinator.sagas.history(progress.saga_id)
        last = next((entry for entry in reversed(entries) if entry.kind in ("retry", "timer")), None)
        restarted = last is not None and last.data.get("from_step") == from_step
        return restarted and progress.status is not SagaStatus.STUCK

    def _move(self, progress: Progress, commands: Sequence[Any], context: Context) -> None:
        """Replace the command of an earlier event of this pass: the stream holds its answer."""
        saga, known = self._saga, len(self._progress.given_up) if self._progress else 0
        for one in progress.given_up[known:]:
            data = {"command": command_name(saga.steps[one.step].send), "reason": one.reason}
            self._history.append(HistoryEntry("note", "StepGivenUp", data))
        if commands or progress.deadline_at is None:
            context = replace(context, actor="system", traceparent=traceparent() or context.traceparent)
            self._messages = [command_message(command, self._stream, context) for command in commands]
        self._progress = replace(progress, steps=saga.step_names, version=saga.version)

    def save(self) -> None:
        """Save the pass. Raise ConcurrencyError when another process saved the saga first."""
        if self._progress is None or not self._history:
            return
        sent = [HistoryEntry("command", message.type, message.data, message.id) for message in self._messages]
        saga = StoredSaga(self._saga.name, self._progress, self._version, self._correlation_id)
        self._coordinator.sagas.save(saga, [*self._history, *sent], self._messages)
        if self._progress.status is SagaStatus.STUCK:
            command = awaited(self._saga, self._progress)
            reason = f"{command} has no answer: {self._progress.reason}"
            with within(Context(self._correlation_id, str(self._progress.saga_id), "system", self._trace)):
                _log.error("a saga is stuck", order=str(self._progress.saga_id), reason=reason)
