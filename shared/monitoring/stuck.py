"""Find what stands still, why, what it waits for and what a person can do about it.

Each function reads one store with indexed statements, and finds nothing when all is well.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from shared.dead_letters.failures import LetterCause, OpenBreaker
from shared.dead_letters.protocol import DeadLetters
from shared.event_store.protocol import EventLog
from shared.messaging.outbox import Outbox
from shared.monitoring.counts import ExecutionTotals, Tally
from shared.monitoring.lag import Lag
from shared.monitoring.reports import age
from shared.monitoring.schedules import Run
from shared.observability.sentences import Sentence, said
from shared.read_models.generations import Generations
from shared.read_models.stop import Stop
from shared.resilience import clock

Kind = Literal[
    "DEPENDENCY", "SCHEDULE", "PROJECTION_STOPPED", "OUTBOX", "SAGA_OVERDUE", "SAGA_STUCK", "DEAD_LETTER",
    "STEP_REPEATED", "EVENT_LOG", "READ_MODEL", "REBUILD",
]  # fmt: skip
"""Causes before their consequences."""

LATE_SECONDS = 60.0
"""The age from which a message, a read model or a transaction is reported."""
MOST = 50
"""The most listed sagas of a kind, and the most listed causes of dead letters."""
_BREAKER_SEEN = timedelta(seconds=150)  # in the cloud a waiting message is tried again every minute
_PASSES = 4  # after as many vain passes a rebuild becomes less frequent


@dataclass(frozen=True)
class Stuck:
    """One thing that does not go on. `since`: UTC, None if unknown. `next_try`: when it is tried
    again by itself, None if never or unknown. `of_kind`: how many there are of its kind, listed or
    not; None if unknown. `dead_letters`: what they have in common."""

    kind: Kind
    subject: str
    waiting_for: Sentence
    what_to_do: Sentence
    since: datetime | None = None
    last_error: str | None = None
    attempts: int | None = None
    next_try: datetime | None = None
    of_kind: int | None = None
    dead_letters: LetterCause | None = None


def causes_first(found: Iterable[Stuck]) -> list[Stuck]:
    return sorted(found, key=lambda one: (get_args(Kind).index(one.kind), one.subject))


def dead_letters(letters: DeadLetters) -> list[Stuck]:
    """Return the causes of pending letters, those of the most letters first."""
    causes = letters.pending_by_cause(MOST)
    of_kind = letters.causes() if len(causes) == MOST else len(causes)
    return [
        Stuck(
            "DEAD_LETTER",
            one.source,
            said("ADMIN_FOR_LETTERS", number=one.count, type=one.type, source=one.source)
            if one.type
            else said("ADMIN_FOR_LETTERS_OF_NO_TYPE", number=one.count, source=one.source),
            said("DO_RETRY_LETTERS"),
            one.first_recorded_at,
            one.error,
            one.attempts,
            of_kind=of_kind,
            dead_letters=one,
        )
        for one in causes
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


def stopped(stops: Mapping[str, Stop], named: bool = True) -> list[Stuck]:
    """`stops`: by read model. `named`: say which admin it was, which is for admins only."""
    return [
        Stuck(
            "PROJECTION_STOPPED",
            name,
            said("STOPPED_UNTIL", at=one.until, by=one.by, projection=f"project_{name}")
            if named
            else said("STOPPED_UNTIL_BY_ADMIN", at=one.until, projection=f"project_{name}"),
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
