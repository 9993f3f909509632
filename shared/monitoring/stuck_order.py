"""Find why one order does not go on, from its events, its saga, its messages and its dead
letters."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from shared.dead_letters.failures import Failure
from shared.dead_letters.protocol import DeadLetters
from shared.domain.order import ORDER
from shared.event_store.protocol import EventRecord, EventStore
from shared.messaging.envelope import Message
from shared.messaging.outbox import Outbox
from shared.monitoring.reports import SWEEPS_MISSED
from shared.monitoring.stuck import Stuck, causes_first
from shared.monitoring.stuck_sagas import of_saga, sent
from shared.observability.sentences import Sentence, said
from shared.resilience import clock
from shared.sagas.coordinate import Coordinator
from shared.sagas.outlook import Outlook, outlook
from shared.sagas.overtaken import step_subscriptions
from shared.sagas.store import ListedSaga, SagaStore

SAGA, PROJECTION = "order-saga.order-events", "project-orders.order-events"
"""The subscriptions that must get every event of an order."""

OF_SAGAS = frozenset({"SAGA_STUCK", "SAGA_OVERDUE", "STEP_REPEATED"})
"""The kinds that the sentence about the saga says already."""


class OrderEngines(Protocol):
    """`outboxes`: of the event store and of the saga store."""

    @property
    def event_store(self) -> EventStore: ...
    @property
    def sagas(self) -> SagaStore: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def outboxes(self) -> Sequence[Outbox]: ...
    @property
    def order_saga(self) -> Coordinator: ...


class Outcome(NamedTuple):
    """`now`: what happens now. `facts`: what prevents it, the first cause
    first."""

    now: Sentence
    facts: list[Stuck]

    @property
    def sentence(self) -> Sentence:
        first = next((fact for fact in self.facts if fact.kind not in OF_SAGAS), None)
        return self.now + said("WAITS_FOR") + first.waiting_for if first else self.now


def outcome(engines: OrderEngines, order_id: UUID, applied: int | None) -> Outcome | None:
    """Return what happens to an order; None when it does not exist. Raise Unavailable and TimedOut.

    `applied`: the version of its document in the read models, None when that is unknown.
    """
    stream = ORDER.stream(order_id)
    events = engines.event_store.read([stream])[stream]
    if not events:
        return None
    saga = engines.sagas.listed(order_id)
    now = outlook(engines.order_saga.saga, saga.saga.progress) if saga else None
    messages = _messages(saga, now, events, applied)
    failures = engines.dead_letters.failures(list(messages)) if messages else {}
    again_at = now.next_at if now else None
    facts = [*_waiting(engines, stream)]
    facts += [_undelivered(one[0], messages[one], failures[one], again_at) for one in failures]
    facts += _late(saga, now, failures)
    telling = {(fact.kind, fact.subject): fact for fact in sorted(facts, key=lambda fact: fact.attempts or 0)}
    return Outcome(_sentence(saga, now, events), causes_first(telling.values()))


def _messages(
    saga: ListedSaga | None, now: Outlook | None, events: Sequence[EventRecord], applied: int | None
) -> Mapping[tuple[str, str], str]:
    """Return what each subscription has yet to handle for the order: the message's id and its
    type."""
    seen = saga.saga.progress.seen if saga else 0
    unread = {(SAGA, str(event.id)): event.type for event in events if event.version > seen}
    shown = len(events) if applied is None else applied
    unread |= {(PROJECTION, str(event.id)): event.type for event in events if event.version > shown}
    source = step_subscriptions().get(now.command) if now else None
    if saga and now and source:
        unread |= {(source, message): now.command for _, message in sent(saga, now.command)}
    return unread


def _waiting(engines: OrderEngines, stream: str) -> list[Stuck]:
    """Return the order's messages that wait in an outbox."""
    names = ("event_outbox", "saga_outbox")
    return [
        Stuck(
            "OUTBOX",
            name,
            *_why_unpublished(message),
            message.time,
        )
        for name, outbox in zip(names, engines.outboxes, strict=True)
        for message in outbox.about(stream)
        if not _is_for_another_read_model(message)
    ]


def _is_for_another_read_model(message: Message) -> bool:
    """Return whether only a read model waits that does not show the order itself."""
    waits = message.postponed.subscription if message.postponed else ""
    return waits.startswith("project-") and waits != PROJECTION


def _why_unpublished(message: Message) -> tuple[Sentence, Sentence]:
    """Return what the message waits for, and what to do."""
    if message.postponed:
        dependency = message.postponed.dependency
        waiting_for = said("DEPENDENCY_THEN_RELAY", dependency=dependency, type=message.type)
        return waiting_for, said("DO_RESTORE", dependency=dependency)
    return said("RELAY_OF_ONE", type=message.type), said("DO_SEE_PUBSUB")


def _undelivered(source: str, kind: str, failure: Failure, again_at: datetime | None) -> Stuck:
    """`again_at`: when the order's saga acts again by itself; it then settles its step's dead
    letter."""
    if failure.letter and again_at and source in step_subscriptions().values():
        retry = said("DO_NOTHING_OR_RETRY_LETTER", letter=str(failure.letter))
        waiting_for = said("DEADLINE_FOR_LETTER", at=again_at, type=kind)
        return Stuck("DEAD_LETTER", source, waiting_for, retry, failure.at, failure.error, failure.attempts)
    if failure.letter:
        retry = said("DO_RETRY_LETTER", letter=str(failure.letter))
        waiting_for = said("ADMIN_FOR_LETTER", type=kind)
        return Stuck("DEAD_LETTER", source, waiting_for, retry, failure.at, failure.error, failure.attempts)
    if failure.waits_for:
        waiting_for = said("OPEN_BREAKER", dependency=failure.waits_for)
        fix = said("DO_RESTORE_FOR_DELIVERY", dependency=failure.waits_for, type=kind)
        return Stuck("DEPENDENCY", failure.waits_for, waiting_for, fix, failure.at, failure.error, failure.attempts)
    waiting_for, fix = said("REDELIVERY", type=kind), said("DO_REMOVE_CAUSE_FOR_DELIVERY")
    return Stuck("STEP_REPEATED", source, waiting_for, fix, failure.at, failure.error, failure.attempts)


def _late(saga: ListedSaga | None, now: Outlook | None, failures: Mapping[tuple[str, str], Failure]) -> list[Stuck]:
    """Return the saga if it is stuck, overdue, or has sent its command again."""
    if saga is None or now is None:
        return []
    overdue = now.next_at is not None and now.next_at <= clock.now() - SWEEPS_MISSED
    return [of_saga(saga, now, failures)] if now.next_at is None or overdue or now.attempt > 1 else []


def _sentence(saga: ListedSaga | None, now: Outlook | None, events: Sequence[EventRecord]) -> Sentence:
    if saga is None:
        return said("SAGA_NOT_BEGUN")
    if now:
        return now.sentence
    unread = len(events) - saga.saga.progress.seen
    return said("ENDED") if unread <= 0 else said("SAGA_TO_READ", events=unread)
