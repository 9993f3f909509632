"""Find what stands still, why, what it waits for and what a person can do about it.

Each function reads one store with indexed statements, and finds nothing when all is well.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from shared.dead_letters.failures import Failure, OpenBreaker
from shared.dead_letters.protocol import DeadLetters
from shared.event_store.protocol import EventLog
from shared.messaging.outbox import Outbox
from shared.monitoring.counts import ExecutionTotals, Tally
from shared.monitoring.lag import Lag
from shared.monitoring.reports import SWEEPS_MISSED, age
from shared.monitoring.schedules import Run
from shared.observability.sentences import Sentence, said
from shared.read_models.generations import Generations
from shared.read_models.stops import Stop
from shared.resilience import clock
from shared.sagas.definition import Saga, SagaStatus
from shared.sagas.outlook import Outlook, outlook
from shared.sagas.overtaken import step_subscriptions
from shared.sagas.store import ListedSaga, SagaStore

Kind = Literal[
    "DEPENDENCY", "SCHEDULE", "PROJECTION_STOPPED", "OUTBOX", "SAGA_OVERDUE", "SAGA_STUCK", "DEAD_LETTER",
    "STEP_REPEATED", "EVENT_LOG", "READ_MODEL", "REBUILD",
]  # fmt: skip
"""Causes before their consequences."""

LATE_SECONDS = 60.0
"""The age from which a message, a read model or a transaction is reported."""
MOST = 50
"""The most entries of one kind."""
_BREAKER_SEEN = timedelta(seconds=150)  # in the cloud a waiting message is tried again every minute
_PASSES = 4  # after as many vain passes a rebuild becomes less frequent


@dataclass(frozen=True)
class Stuck:
    """One thing that does not go on. `since`: UTC, None if unknown. `next_try`: when it is tried
    again by itself, None if never or unknown."""

    kind: Kind
    subject: str
    waiting_for: Sentence
    what_to_do: Sentence
    since: datetime | None = None
    last_error: str | None = None
    attempts: int | None = None
    next_try: datetime | None = None


def causes_first(found: Iterable[Stuck]) -> list[Stuck]:
    return sorted(found, key=lambda one: (get_args(Kind).index(one.kind), one.subject))


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
    held_up = [one for one in store.held_up(clock.now() - SWEEPS_MISSED, MOST) if one.saga.type == saga.name]
    found = [(one, now) for one in held_up if (now := outlook(saga, one.saga.progress))]
    places = step_subscriptions()
    messages = [
        (places[now.command], message)
        for one, now in found
        for _, message in sent(one, now.command)
        if now.command in places
    ]
    failures = letters.failures(messages) if messages else {}
    return [of_saga(one, now, failures) for one, now in found]


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


def dead_letters(letters: DeadLetters) -> list[Stuck]:
    """Return the subscriptions that have pending letters."""
    return [
        Stuck(
            "DEAD_LETTER",
            one.source,
            said("ADMIN_FOR_LETTERS", number=one.number, subject=one.subject)
            if one.subject
            else said("ADMIN_FOR_LETTERS_OF_NO_STREAM", number=one.number),
            said("DO_RETRY_LETTERS", source=one.source),
            one.since,
            one.error,
            one.attempts,
        )
        for one in letters.pending_by_source()[:MOST]
    ]


def open_breakers(letters: DeadLetters, executed: ExecutionTotals) -> list[OpenBreaker]:
    """Return the dependencies that messages wait for, without those that have answered since."""

    def answered(one: OpenBreaker) -> bool:
        succeeded_at = executed.ever.get(("delivery", one.subscription), Tally()).succeeded_at
        return succeeded_at is not None and succeeded_at > one.at

    return [one for one in letters.open_breakers(clock.now() - _BREAKER_SEEN) if not answered(one)]


def dependencies(letters: DeadLetters, executed: ExecutionTotals, states: Mapping[str, str]) -> list[Stuck]:
    """Return the dependencies whose breakers are open. `states`: of this process's own breakers."""
    found = [
        Stuck(
            "DEPENDENCY",
            one.dependency,
            said("ANSWER_FOR_MESSAGES", messages=one.messages, subscription=one.subscription),
            said("DO_RESTORE_WITHIN_A_MINUTE"),
            last_error=one.error,
        )
        for one in open_breakers(letters, executed)
    ]
    known = {one.subject for one in found}
    return found + [
        Stuck("DEPENDENCY", name, said("ANSWER_BREAKER_OPEN"), said("DO_RESTORE_BREAKER_CLOSES"))
        for name, state in states.items()
        if state == "open" and name not in known
    ]


def outboxes(named: Mapping[str, Outbox]) -> list[Stuck]:
    found = {name: outbox.backlog() for name, outbox in named.items()}
    return [
        Stuck("OUTBOX", name, said("RELAY", messages=backlog.waiting), said("DO_SEE_RELAY"), backlog.oldest)
        for name, backlog in found.items()
        if age(backlog.oldest) >= LATE_SECONDS
    ]


def event_log(log: EventLog) -> list[Stuck]:
    seconds, events = log.held_back()
    if seconds < LATE_SECONDS:
        return []
    waiting_for = said("OLD_TRANSACTION", seconds=round(seconds), events=events)
    since = clock.now() - timedelta(seconds=seconds)
    return [Stuck("EVENT_LOG", "events", waiting_for, said("DO_END_TRANSACTION"), since)]


def is_late(lag: Lag) -> bool:
    """Return whether a read model is behind by a minute, or by an unknown time."""
    return lag.events > 0 and (lag.seconds is None or lag.seconds >= LATE_SECONDS)


def stopped(stops: Mapping[str, Stop]) -> list[Stuck]:
    return [
        Stuck(
            "PROJECTION_STOPPED",
            name,
            said("STOPPED_UNTIL", at=one.until, by=one.by, projection=f"project_{name}"),
            said("DO_START_PROJECTION", projection=f"project_{name}"),
            one.since,
            next_try=one.until,
        )
        for name, one in stops.items()
    ]


def read_models(lags: Mapping[str, Lag], errors: Mapping[str, str | None]) -> list[Stuck]:
    """`lags`, `errors`: by read model; an error is that of the last failed delivery to its
    projection."""
    found = []
    for name, lag in lags.items():
        if lag.ahead:
            waiting_for = said("REBUILD_FOR_AHEAD", events=lag.ahead)
            found.append(Stuck("READ_MODEL", name, waiting_for, said("DO_REBUILD", projection=f"project_{name}")))
        elif is_late(lag):
            function = f"project_{name}"
            waiting_for = said("PROJECTION_TO_APPLY", projection=function, events=lag.events)
            fix = said("DO_SEE_QUERY_SERVICE", projection=function)
            found.append(Stuck("READ_MODEL", name, waiting_for, fix, lag.since, errors.get(name)))
    return found


def rebuilds(generations: Mapping[str, Generations]) -> list[Stuck]:
    return [
        Stuck(
            "REBUILD",
            name,
            said("STREAMS_LACKING", streams=one.behind, passes=one.passes),
            said("DO_SEE_GENERATIONS"),
            one.since,
            next((stream.error for stream in one.incomplete if stream.error), None),
            one.passes,
        )
        for name, one in generations.items()
        if one.state == "BUILDING" and one.passes > _PASSES
    ]


def schedules(all_runs: Sequence[Run], watching_since: datetime) -> list[Stuck]:
    return [
        Stuck(
            "SCHEDULE",
            run.function.name,
            said("SUCCESSFUL_RUN") if status == "FAILING" else said("NEXT_RUN", seconds=run.seconds),
            said("DO_READ_LOG") if status == "FAILING" else said("DO_SEE_SCHEDULE"),
            run.succeeded_at,
            run.last_error,
        )
        for run in all_runs
        if (status := run.status(watching_since)) in ("FAILING", "LATE")
    ]
