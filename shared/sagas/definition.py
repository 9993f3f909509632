"""A saga as a table of steps, and how it moves.

A saga (Garcia-Molina & Salem, 1987) is a long transaction cut into steps that each commit by
themselves. When a step fails, the steps before it are undone in reverse by their compensations.
Here a saga follows the stream of one aggregate: every step and every compensation records its
outcome there, so the saga's state is a fold of that stream plus its clock, and a saga that was lost
is rebuilt from the stream.

`advance(saga, progress, event, now)` returns the new progress and the commands to send. It is pure;
the caller feeds it the events of the stream in order and each once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class Retries:
    """How often an unanswered command is sent again. Each wait is `factor` times the one before."""

    times: int
    factor: float = 2.0


@dataclass(frozen=True)
class Step:
    """`until` completes the step, `unless` fails it. `within`: the wait for the first answer.
    `undo`, `undone`: the compensation and the event that completes it; None for nothing to undo."""

    send: Callable[[UUID], Any]
    until: type[Any]
    within: timedelta
    retries: Retries
    unless: type[Any] | None = None
    undo: Callable[[UUID], Any] | None = None
    undone: type[Any] | None = None


@dataclass(frozen=True)
class Saga:
    """`turned_back_by`: the events that start the compensations at any step. `gives_up_with`: the
    command, made of id and reason, that ends the saga after them; `ended_by`: its outcomes."""

    name: str
    starts_on: type[Any]
    steps: tuple[Step, ...]
    turned_back_by: tuple[type[Any], ...]
    gives_up_with: Callable[[UUID, str], Any]
    ended_by: tuple[type[Any], ...]
    undo_within: timedelta
    undo_retries: Retries

    @property
    def commands(self) -> tuple[Callable[..., Any], ...]:
        """Every command that the saga may send."""
        undoing = (step.undo for step in self.steps if step.undo)
        return (*(step.send for step in self.steps), *undoing, self.gives_up_with)

    def at_pace(self, factor: float) -> "Saga":
        """Return the same saga with all its deadlines multiplied."""
        steps = tuple(replace(step, within=step.within * factor) for step in self.steps)
        return replace(self, steps=steps, undo_within=self.undo_within * factor)


class SagaStatus(Enum):
    STARTED = "STARTED"
    COMPENSATING = "COMPENSATING"
    STUCK = "STUCK"  # a compensation was never answered: the saga needs an admin or the late answer
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


END = -1
"""The place below the first step, where a saga that turned back ends its aggregate."""


@dataclass(frozen=True)
class Progress:
    """Where one saga stands.

    `step`: index of the step in flight or being undone; END once every step is undone. `attempts`:
    how often its command was sent. `deadline_at`: UTC; None when no answer is awaited. `seen`: the
    last version read from the stream. `compensated`: True when there was a step to undo. `undone`:
    the steps whose compensation has happened, and END when the aggregate has ended.
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
    """Ignore an event that means nothing in this state."""
    if progress.ended:
        return progress, []
    if isinstance(event, saga.steps[-1].until):  # the last success wins over a deadline that passed
        return _ended(progress, SagaStatus.COMPLETED)
    undone = {index for index, step in enumerate(saga.steps) if step.undone and isinstance(event, step.undone)}
    undone |= {END} if isinstance(event, saga.ended_by) else set()
    progress = replace(progress, undone=progress.undone | undone)
    if progress.status is SagaStatus.STARTED:
        return _while_going_forward(saga, progress, event, now)
    return _while_compensating(saga, progress, event, now)


def resume(saga: Saga, progress: Progress, now: datetime) -> Advance:
    """Send a stuck saga's compensation again, with as many retries as the first time."""
    return _send(saga, replace(progress, status=SagaStatus.COMPENSATING, attempts=0), now)


def _while_going_forward(saga: Saga, progress: Progress, event: object, now: datetime) -> Advance:
    step = saga.steps[progress.step]
    if isinstance(event, step.until):
        return _forward(saga, progress, progress.step + 1, now)
    if step.unless and isinstance(event, step.unless):
        return _backward(saga, _because(progress, event), progress.step - 1, now)
    if progress.undone or isinstance(event, saga.turned_back_by):  # the step in flight may still happen: undo it too
        return _backward(saga, _because(progress, event), progress.step, now)
    if isinstance(event, DeadlinePassed):
        if progress.attempts <= step.retries.times:
            return _send(saga, progress, now)
        late = replace(progress, reason=f"no {step.until.__name__} in time")
        return _backward(saga, late, progress.step, now)
    return progress, []


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
        return _ended(progress, SagaStatus.COMPLETED)
    return _send(saga, replace(progress, step=index, attempts=0), now)


def _backward(saga: Saga, progress: Progress, index: int, now: datetime) -> Advance:
    """Undo the last step up to `index` that is not undone and has a compensation; below all,
    end."""
    compensated = progress.compensated or any(step.undo for step in saga.steps[: index + 1])
    while index in progress.undone or (index >= 0 and not saga.steps[index].undo):
        index -= 1
    undoing = replace(progress, status=SagaStatus.COMPENSATING, step=index, attempts=0, compensated=compensated)
    if index < END:
        return _ended(replace(undoing, step=END), SagaStatus.FAILED)
    return _send(saga, undoing, now)


def _send(saga: Saga, progress: Progress, now: datetime) -> Advance:
    """Send the step's command or compensation, or at END the command that ends the aggregate."""
    step = saga.steps[progress.step] if progress.step >= 0 else None
    if step and progress.status is SagaStatus.STARTED:
        command, within, retries = step.send(progress.saga_id), step.within, step.retries
    else:
        undo = step.undo if step else None
        command = undo(progress.saga_id) if undo else saga.gives_up_with(progress.saga_id, progress.reason or "unknown")
        within, retries = saga.undo_within, saga.undo_retries
    deadline_at = now + within * retries.factor**progress.attempts
    return replace(progress, attempts=progress.attempts + 1, deadline_at=deadline_at), [command]


def _because(progress: Progress, event: object) -> Progress:
    return replace(progress, reason=getattr(event, "reason", None) or type(event).__name__)


def _ended(progress: Progress, status: SagaStatus) -> Advance:
    return replace(progress, status=status, deadline_at=None), []
