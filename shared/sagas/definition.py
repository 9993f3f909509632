"""A saga as a table of steps, and how it moves.

A saga (Garcia-Molina & Salem, 1987) is a long transaction cut into steps that each commit by
themselves. When a step fails, the steps before it are undone in reverse by their compensations.
Once a step without return has succeeded, nothing is undone any more: later steps are retried until
they succeed. A best-effort step never turns a saga back: the saga goes on without it.

A saga follows the stream of one aggregate: every step and every compensation records its outcome
there, so the saga's state is a fold of that stream plus its clock, and can be rebuilt from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from operator import attrgetter
from typing import Any
from uuid import UUID

from shared.sagas.status import SagaStatus


@dataclass(frozen=True)
class Retries:
    """How often an unanswered command is sent again. Each wait is `factor` times the one before."""

    times: int
    factor: float = 2.0


@dataclass(frozen=True)
class Step:
    """`until` completes the step, `unless` fails it. `within`: the wait for the first answer.
    `undo`, `undone`: the compensation and the event that completes it; None for nothing to undo.

    `best_effort`: when the step fails, or its last attempt has no answer in time, the saga gives it
    up and goes on. `no_return`: once the step has succeeded, no step is undone any more.
    """

    send: Callable[[UUID], Any]
    until: type[Any]
    within: timedelta
    retries: Retries
    unless: type[Any] | None = None
    undo: Callable[[UUID], Any] | None = None
    undone: type[Any] | None = None
    best_effort: bool = False
    no_return: bool = False


def command_name(command: Callable[..., Any]) -> str:
    return str(attrgetter("__name__")(command))


@dataclass(frozen=True)
class Saga:
    """`turned_back_by`: the events that start the compensations at any step up to the point of no
    return. `gives_up_with`: the command, made of id and reason, that ends the saga after them;
    `ended_by`: its outcomes. `former`: earlier versions, with which sagas under way go on."""

    name: str
    starts_on: type[Any]
    steps: tuple[Step, ...]
    turned_back_by: tuple[type[Any], ...]
    gives_up_with: Callable[[UUID, str], Any]
    ended_by: tuple[type[Any], ...]
    undo_within: timedelta
    undo_retries: Retries
    version: int = 1
    former: tuple["Saga", ...] = ()

    @cached_property
    def last_return(self) -> int:
        """Return the index of the step whose success is the point of no return."""
        return next((n for n, step in enumerate(self.steps) if step.no_return), len(self.steps) - 1)

    @cached_property
    def step_names(self) -> tuple[str, ...]:
        return tuple(command_name(step.send) for step in self.steps)

    def goes_forward(self, progress: "Progress") -> bool:
        """Return whether the saga awaits a step's own command, and not a compensation."""
        return progress.status is SagaStatus.STARTED or progress.step > self.last_return

    @property
    def commands(self) -> tuple[Callable[..., Any], ...]:
        """Every command that a saga of any kept version may send, each once."""
        undoing = (step.undo for step in self.steps if step.undo)
        former = (command for one in self.former for command in one.commands)
        return tuple(dict.fromkeys((*(step.send for step in self.steps), *undoing, self.gives_up_with, *former)))

    def at_pace(self, factor: float) -> "Saga":
        """Return the same saga with all its deadlines multiplied."""
        steps = tuple(replace(step, within=step.within * factor) for step in self.steps)
        former = tuple(one.at_pace(factor) for one in self.former)
        return replace(self, steps=steps, former=former, undo_within=self.undo_within * factor)


@dataclass(frozen=True)
class GivenUp:
    """A best-effort step, by its index, that failed or was not answered, and why."""

    step: int
    reason: str


END = -1  # the place below the first step, where a saga that turned back ends its aggregate


@dataclass(frozen=True)
class Progress:
    """Where one saga stands.

    `step`: index of the step in flight or being undone; END once every step is undone. `attempts`:
    how often its command was sent. `deadline_at`: UTC; None when no answer is awaited. `seen`: the
    last version read from the stream. `compensated`: True when there was a step to undo. `undone`:
    the steps whose compensation has happened, and END when the aggregate has ended. `given_up`: the
    best-effort steps without which the saga went on. `version`, `steps`: what the indices count.
    """

    saga_id: UUID
    status: SagaStatus = SagaStatus.STARTED
    step: int = 0
    attempts: int = 0
    deadline_at: datetime | None = None
    seen: int = 0
    reason: str | None = None
    compensated: bool = False
    undone: frozenset[int] = frozenset()
    given_up: tuple[GivenUp, ...] = ()
    steps: tuple[str, ...] = ()
    version: int = 1

    @property
    def ended(self) -> bool:
        return self.status in (SagaStatus.COMPLETED, SagaStatus.FAILED)


@dataclass(frozen=True)
class DeadlinePassed:
    """The clock's event: the answer that the saga awaits did not come in time."""


Advance = tuple[Progress, list[Any]]


def begin(saga: Saga, saga_id: UUID, now: datetime) -> Advance:
    return _forward(saga, Progress(saga_id), 0, now)


def advance(saga: Saga, progress: Progress, event: object, now: datetime) -> Advance:
    """Pure: the caller feeds it the events in order, each once. Some mean nothing in this state."""
    if progress.ended:
        return progress, []
    if progress.step <= saga.last_return:
        if isinstance(event, saga.steps[saga.last_return].until):  # it wins over a deadline that passed
            return _forward(saga, replace(progress, status=SagaStatus.STARTED), saga.last_return + 1, now)
        undone = {index for index, step in enumerate(saga.steps) if step.undone and isinstance(event, step.undone)}
        undone |= {END} if isinstance(event, saga.ended_by) else set()
        progress = replace(progress, undone=progress.undone | undone)
    if saga.goes_forward(progress):
        return _while_going_forward(saga, progress, event, now)
    return _while_compensating(saga, progress, event, now)


def resume(saga: Saga, progress: Progress, now: datetime) -> Advance:
    """Send a stuck saga's command again, with as many retries as the first time."""
    status = SagaStatus.STARTED if saga.goes_forward(progress) else SagaStatus.COMPENSATING
    return _send(saga, replace(progress, status=status, attempts=0), now)


def _while_going_forward(saga: Saga, progress: Progress, event: object, now: datetime) -> Advance:
    step = saga.steps[progress.step]
    if isinstance(event, step.until):
        return _forward(saga, replace(progress, status=SagaStatus.STARTED, reason=None), progress.step + 1, now)
    refused = step.unless is not None and isinstance(event, step.unless)
    unanswered = isinstance(event, DeadlinePassed) and progress.attempts > step.retries.times
    if step.best_effort and (refused or unanswered):
        return _give_up(saga, progress, event, now)
    if isinstance(event, DeadlinePassed) and not unanswered:
        return _send(saga, progress, now)
    if progress.step > saga.last_return:
        return _insist(saga, progress, event, now) if refused or unanswered else (progress, [])
    if refused:
        return _backward(saga, _because(saga, progress, event), progress.step - 1, now)
    if unanswered or progress.undone or isinstance(event, saga.turned_back_by):  # it may still happen: undo it too
        return _backward(saga, _because(saga, progress, event), progress.step, now)
    return progress, []


def _insist(saga: Saga, progress: Progress, event: object, now: datetime) -> Advance:
    """Go on with a step that must succeed: a refused one when its deadline passes, a silent one at
    once. From its last retry on the saga counts as stuck; it still sends the command again."""
    stuck = replace(_because(saga, progress, event), status=SagaStatus.STUCK)
    return _send(saga, stuck, now) if isinstance(event, DeadlinePassed) else (_because(saga, progress, event), [])


def _give_up(saga: Saga, progress: Progress, event: object, now: datetime) -> Advance:
    given_up = GivenUp(progress.step, _why(saga, progress, event))
    return _forward(saga, replace(progress, given_up=(*progress.given_up, given_up)), progress.step + 1, now)


def _while_compensating(saga: Saga, progress: Progress, event: object, now: datetime) -> Advance:
    if progress.step in progress.undone:
        return _backward(saga, progress, progress.step, now)
    if isinstance(event, DeadlinePassed):
        if progress.attempts <= saga.undo_retries.times:
            return _send(saga, progress, now)
        return replace(progress, status=SagaStatus.STUCK, deadline_at=None), []
    return progress, []


def _forward(saga: Saga, progress: Progress, index: int, now: datetime) -> Advance:
    if index == len(saga.steps):
        return replace(progress, status=SagaStatus.COMPLETED, deadline_at=None), []
    return _send(saga, replace(progress, step=index, attempts=0), now)


def _backward(saga: Saga, progress: Progress, index: int, now: datetime) -> Advance:
    """Undo the last step up to `index` that has a compensation left to do; below all, end."""
    compensated = progress.compensated or any(step.undo for step in saga.steps[: index + 1])
    while index in progress.undone or (index >= 0 and not saga.steps[index].undo):
        index -= 1
    undoing = replace(progress, status=SagaStatus.COMPENSATING, step=index, attempts=0, compensated=compensated)
    if index < END:
        return replace(undoing, step=END, status=SagaStatus.FAILED, deadline_at=None), []
    return _send(saga, undoing, now)


def _send(saga: Saga, progress: Progress, now: datetime) -> Advance:
    """Send the step's command or compensation, or at END the command that ends the aggregate."""
    step = saga.steps[progress.step] if progress.step >= 0 else None
    if step and saga.goes_forward(progress):
        command, within, retries = step.send(progress.saga_id), step.within, step.retries
    else:
        undo = step.undo if step else None
        command = undo(progress.saga_id) if undo else saga.gives_up_with(progress.saga_id, progress.reason or "unknown")
        within, retries = saga.undo_within, saga.undo_retries
    deadline_at = now + within * retries.factor ** min(progress.attempts, retries.times)
    return replace(progress, attempts=progress.attempts + 1, deadline_at=deadline_at), [command]


def _because(saga: Saga, progress: Progress, event: object) -> Progress:
    return replace(progress, reason=_why(saga, progress, event))


def _why(saga: Saga, progress: Progress, event: object) -> str:
    if isinstance(event, DeadlinePassed):
        return f"no {saga.steps[progress.step].until.__name__} in time"
    return getattr(event, "reason", None) or type(event).__name__
