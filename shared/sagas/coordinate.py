"""Run a saga against its stores: read what happened on the stream it follows, advance, save, send.

Like a projection, it takes a message only as a hint and reads every event once, in order, from the stream itself; so
duplicates, late and reordered messages change nothing, and the last message that arrives makes up for all that didn't.
"""

from collections.abc import Callable, Sequence
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
    """`follows`: the aggregate whose stream a saga of the same id reads."""

    saga: Saga
    follows: Aggregate[Any]
    events: EventStore
    sagas: SagaStore

    def follow(self, saga_id: UUID) -> None:
        """Take in what has happened on the stream since last time."""
        self._until_saved(saga_id)

    def retry(self, saga_id: UUID, actor: str) -> None:
        """Resume a stuck saga, or start the one of a stream that has none. Raises NotFound, or Rejected saying why not."""
        self._until_saved(saga_id, lambda run: run.retry(actor))

    def sweep(self, now: datetime, limit: int = 1000) -> int:
        """Fire the deadlines that have passed, and return how many were due.

        A saga that has moved since has another deadline and is not changed. Raises an ExceptionGroup when some sagas
        failed; the others have been swept.
        """
        due = self.sagas.due(now, limit)
        return attempt_all("sweeping sagas", {str(saga_id): partial(self._sweep, saga_id) for saga_id in due})

    def _sweep(self, saga_id: UUID) -> int:
        self._until_saved(saga_id, _Run.look_at_the_clock)
        return 1

    def _until_saved(self, saga_id: UUID, then: "Callable[[_Run], None] | None" = None) -> None:
        """`then`: what else there is to do once the stream has been read."""
        for attempt in range(ATTEMPTS):
            try:
                self._once(saga_id, then)
                return
            except ConcurrencyError:
                if attempt == ATTEMPTS - 1:
                    raise

    def _once(self, saga_id: UUID, then: "Callable[[_Run], None] | None") -> None:
        stored = self.sagas.load(saga_id)
        seen = stored.progress.seen if stored else 0
        stream = self.follows.stream(saga_id)
        run = _Run(self, stored, stream)
        for event in self.events.read([stream], {stream: 0 if then else seen})[stream]:
            run.see(event)
        if then:
            then(run)
        run.save()


class _Run:
    """One pass over what is new, collecting what there is to save."""

    def __init__(self, coordinator: Coordinator, stored: StoredSaga | None, stream: str) -> None:
        self._coordinator = coordinator
        self._version = stored.version if stored else 0
        self._progress = stored.progress if stored else None
        self._correlation_id = stored.correlation_id if stored else ""
        self._found = stored.progress.status if stored else None
        self._stream = stream
        self._trace: str | None = None  # the order's; that of a sweep or an admin knows nothing of it
        self._history: list[HistoryEntry] = []
        self._messages: list[Message] = []

    def see(self, record: EventRecord) -> None:
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
        self._moved(replace(progress, seen=record.version), commands, caused_by(record.metadata, str(record.id)))

    def look_at_the_clock(self) -> None:
        now = clock.now()
        if self._progress is None or self._progress.deadline_at is None or self._progress.deadline_at > now:
            return
        progress, commands = advance(self._coordinator.saga, self._progress, DeadlinePassed(), now)
        deadline = self._progress.deadline_at.isoformat()
        self._history.append(HistoryEntry("timer", "DeadlinePassed", {"deadline_at": deadline}))
        with span("DeadlinePassed", parent=self._trace):
            context = Context(self._correlation_id, str(self._progress.saga_id), traceparent=self._trace)
            self._moved(progress, commands, context)

    def retry(self, actor: str) -> None:
        """An answer that came late may have moved it already."""
        if self._progress is None:
            raise NotFound("there is neither a saga nor an order with this id", ("id",))
        if self._found is SagaStatus.COMPENSATING:  # somebody has just retried it
            return
        if self._found not in (None, SagaStatus.STUCK):
            raise Rejected(f"the saga is {self._found.value}; only one that is STUCK can be retried", ("id",))
        if self._progress.status is SagaStatus.STUCK:
            progress, commands = resume(self._coordinator.saga, self._progress, clock.now())
            self._history.append(HistoryEntry("retry", "Retried", {"actor": actor}))
            self._moved(progress, commands, Context(self._correlation_id, current().causation_id))

    def _moved(self, progress: Progress, commands: Sequence[Any], context: Context) -> None:
        self._progress = progress
        context = replace(context, actor="system", traceparent=traceparent() or context.traceparent)
        for command in commands:
            message = command_message(command, self._stream, context)
            self._messages.append(message)
            self._history.append(HistoryEntry("command", message.type, message.data, message.id))

    def save(self) -> None:
        if self._progress is None or not self._history:
            return
        saga = StoredSaga(self._coordinator.saga.name, self._progress, self._version, self._correlation_id)
        self._coordinator.sagas.save(saga, self._history, self._messages)
        if self._progress.status is SagaStatus.STUCK:
            reason = f"step {self._progress.step} is not undone: {self._progress.reason}"
            _log.error("a saga is stuck", saga_id=str(self._progress.saga_id), reason=reason)
