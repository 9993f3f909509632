"""Find the sagas that stand still, why, what they wait for and what a person can do about it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from shared.dead_letters.failures import Failure
from shared.dead_letters.protocol import DeadLetters
from shared.monitoring.reports import SWEEPS_MISSED
from shared.monitoring.stuck import MOST, Kind, Stuck
from shared.observability.sentences import Sentence, said
from shared.resilience import clock
from shared.sagas.definition import Saga
from shared.sagas.outlook import Outlook, outlook
from shared.sagas.overtaken import step_subscriptions
from shared.sagas.status import SagaStatus
from shared.sagas.store import HeldUp, ListedSaga, SagaStore


def sent(saga: ListedSaga, command: str) -> list[tuple[datetime, str]]:
    """Return when the saga sent this command in its present step, and the messages' ids, the oldest
    first."""
    found: list[tuple[datetime, str]] = []
    for at, entry in reversed(saga.history):
        if entry.kind == "command" and entry.name != command:
            break
        if entry.kind == "command":
            found.append((at, str(entry.message)))
    return found[::-1]


def sagas(store: SagaStore, letters: DeadLetters, saga: Saga) -> list[Stuck]:
    """Return the sagas that are stuck, overdue, or have sent a step's command again."""
    late = clock.now() - SWEEPS_MISSED
    held_up = [one for one in store.held_up(late, MOST) if one.saga.type == saga.name]
    of_kind = _of_kind(store.count_held_up(late)) if len(held_up) >= MOST else {}
    found = [(one, now) for one in held_up if (now := outlook(saga, one.saga.progress))]
    places = step_subscriptions()
    messages = [
        (places[now.command], message)
        for one, now in found
        for _, message in sent(one, now.command)
        if now.command in places
    ]
    failures = letters.failures(messages) if messages else {}
    entries = [of_saga(one, now, failures) for one, now in found]
    return [replace(entry, of_kind=of_kind.get(entry.kind)) for entry in entries]


def _of_kind(all_of_them: HeldUp) -> Mapping[Kind, int]:
    return {
        "SAGA_STUCK": all_of_them.stuck,
        "SAGA_OVERDUE": all_of_them.overdue,
        "STEP_REPEATED": all_of_them.repeating,
    }


def of_saga(listed: ListedSaga, now: Outlook, failures: Mapping[tuple[str, str], Failure]) -> Stuck:
    progress, messages = listed.saga.progress, sent(listed, now.command)
    source = step_subscriptions().get(now.command, "")
    known = [failures[source, message] for _, message in messages if (source, message) in failures]
    last = max(known, key=lambda failure: failure.at, default=None)
    since = min((at for at, _ in messages), default=listed.updated_at)
    kind, waiting_for, what_to_do = _state_of_saga(str(progress.saga_id), progress.status, now, last)
    telling = max(known, key=lambda failure: (failure.attempts > 0, failure.at), default=None)  # not the breaker's own
    error = telling.error if telling else None
    again = None if now.is_last_attempt else now.next_at
    return Stuck(kind, f"order-{progress.saga_id}", waiting_for, what_to_do, since, error, now.attempt, again)


def _state_of_saga(
    saga_id: str, status: SagaStatus, now: Outlook, last: Failure | None
) -> tuple[Kind, Sentence, Sentence]:
    dependency = last.waits_for if last else None
    waits_for = now.sentence + (said("BREAKER_OPEN", dependency=dependency) if dependency else Sentence())
    if status is SagaStatus.STUCK:
        retry = said("DO_RETRY_SAGA", id=saga_id)
        return "SAGA_STUCK", waits_for, retry + said("DO_OR_WAIT") if now.next_at else retry
    if now.next_at and now.next_at <= clock.now() - SWEEPS_MISSED:
        return "SAGA_OVERDUE", waits_for, said("DO_SEE_SWEEP")
    restore = said("DO_RESTORE_FOR_SAGA", dependency=dependency) if dependency else said("DO_REMOVE_CAUSE_FOR_SAGA")
    return "STEP_REPEATED", waits_for, restore + now.otherwise
