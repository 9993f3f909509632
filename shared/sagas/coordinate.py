"""Run a saga against its stores: read its stream, advance, save, send.

A message is only a hint that the stream has new events. Every event is read once and in order from
the stream itself, so duplicate, late and reordered messages change nothing, and one message makes
up for all lost ones.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from shared.domain.aggregate import Aggregate
from shared.domain.errors import ConcurrencyError, NotFound, Rejected
from shared.event_store.aggregates import CODEC
from shared.event_store.protocol import EventRecord, EventStore
from shared.messaging.envelope import Message, command_message
from shared.observability.context import Context, caused_by, current, span, traceparent
from shared.resilience import clock
from shared.resilience.calls import attempt_all
from shared.sagas.definition import DeadlinePassed, Progress, Saga, SagaStatus, advance, begin, resume
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
        self._save_with_retries(saga_id, None)

    def retry(self, saga_id: UUID, actor: str) -> None:
        """Resume a stuck saga, or start one that is missing. Raise NotFound or Rejected."""
        self._save_with_retries(saga_id, lambda run: run.retry(actor))

    def sweep(self, now: datetime, limit: int = 1000) -> int:
        """Fire the deadlines that have passed and return how many there were.

        A saga that moved meanwhile has another deadline and stays as it is. Raise an ExceptionGroup
        at the end when some sagas could not be moved; all others have been swept.
        """
        due = self.sagas.due(now, limit)
        return attempt_all("sweeping sagas", {str(saga_id): partial(self._sweep, saga_id) for saga_id in due})

    def _sweep(self, saga_id: UUID) -> int:
        self._save_with_retries(saga_id, _Run.fire_deadline)
        return 1

    def _save_with_retries(self, saga_id: UUID, then: "Callable[[_Run], None] | None") -> None:
        """Retry at once after a conflict. tenacity would add 50 ms to each cold start."""
        for _ in range(ATTEMPTS - 1):
            with suppress(ConcurrencyError):
                self._run(saga_id, then)
                return
        self._run(saga_id, then)

    def _run(self, saga_id: UUID, then: "Callable[[_Run], None] | None") -> None:
        """Read the stream, call `then`, save. `then` needs the trace, which the first event has."""
        stored = self.sagas.load(saga_id)
        seen = stored.progress.seen if stored else 0
        stream = self.follows.stream(saga_id)
        run = _Run(self, stored, stream)
        for record in self.events.read([stream], {stream: 0 if then else seen})[stream]:
            run.read(record)
        if then:
            then(run)
        run.save()


class _Run:
    """One pass over the new events of a stream, with the history and messages to save."""

    def __init__(self, coordinator: Coordinator, stored: StoredSaga | None, stream: str) -> None:
        self._coordinator = coordinator
        self._version = stored.version if stored else 0
        self._progress = stored.progress if stored else None
        self._correlation_id = stored.correlation_id if stored else ""
        self._stored_status = stored.progress.status if stored else None
        self._stream = stream
        self._trace: str | None = None  # the order's trace; a sweep and an admin have their own
        self._history: list[HistoryEntry] = []
        self._messages: list[Message] = []

    def read(self, record: EventRecord) -> None:
        self._trace = self._trace or record.metadata.traceparent
        if self._progress and record.version <= self._progress.seen:
            return
        event = CODEC.decode(record)
        saga, now = self._coordinator.saga, clock.now()
        if self._progress is None:
            if not isinstance(event, saga.starts_on):
                return
            self._correlation_id = record.metadata.correlation_id
            progress, commands = begin(saga, getattr(event, f"{self._coordinator.follows.name}_id"), now)
        else:
            progress, commands = advance(saga, self._progress, event, now)
        self._history.append(HistoryEntry("event", record.type, record.data))
        self._move(replace(progress, seen=record.version), commands, caused_by(record.metadata, str(record.id)))

    def fire_deadline(self) -> None:
        """Advance the saga when its deadline has passed."""
        now = clock.now()
        if self._progress is None or self._progress.deadline_at is None or self._progress.deadline_at > now:
            return
        progress, commands = advance(self._coordinator.saga, self._progress, DeadlinePassed(), now)
        deadline = self._progress.deadline_at.isoformat()
        self._history.append(HistoryEntry("timer", "DeadlinePassed", {"deadline_at": deadline}))
        with span("DeadlinePassed", parent=self._trace):
            context = Context(self._correlation_id, str(self._progress.saga_id), traceparent=self._trace)
            self._move(progress, commands, context)

    def retry(self, actor: str) -> None:
        """Resume the saga unless a late answer, just read, has already moved it."""
        if self._progress is None:
            raise NotFound("there is neither a saga nor an order with this id", ("id",))
        if self._stored_status is SagaStatus.COMPENSATING:  # another admin has just retried it
            return
        if self._stored_status not in (None, SagaStatus.STUCK):
            raise Rejected(f"the saga is {self._stored_status.value}; only a STUCK saga can be retried", ("id",))
        if self._progress.status is SagaStatus.STUCK:
            progress, commands = resume(self._coordinator.saga, self._progress, clock.now())
            self._history.append(HistoryEntry("retry", "Retried", {"actor": actor}))
            self._move(progress, commands, Context(self._correlation_id, current().causation_id))

    def _move(self, progress: Progress, commands: Sequence[Any], context: Context) -> None:
        self._progress = progress
        context = replace(context, actor="system", traceparent=traceparent() or context.traceparent)
        for command in commands:
            message = command_message(command, self._stream, context)
            self._messages.append(message)
            self._history.append(HistoryEntry("command", message.type, message.data, message.id))

    def save(self) -> None:
        """Save the pass. Raise ConcurrencyError when another process saved the saga first."""
        if self._progress is None or not self._history:
            return
        saga = StoredSaga(self._coordinator.saga.name, self._progress, self._version, self._correlation_id)
        self._coordinator.sagas.save(saga, self._history, self._messages)
        if self._progress.status is SagaStatus.STUCK:
            reason = f"step {self._progress.step} is not undone: {self._progress.reason}"
            _log.error("a saga is stuck", saga_id=str(self._progress.saga_id), reason=reason)
