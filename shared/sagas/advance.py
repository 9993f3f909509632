"""How a saga moves: `advance(definition, progress, event, now)` gives the new progress and the commands to send.

Pure: what arrives twice is kept out by the caller, which feeds the stream in order, each event once.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shared.sagas.definition import DeadlinePassed, Progress, Retries, Saga, Status

Advance = tuple[Progress, list[Any]]


def begin(saga: Saga, saga_id: UUID, now: datetime) -> Advance:
    return _forward(saga, Progress(saga_id), 0, now)


def advance(saga: Saga, progress: Progress, event: object, now: datetime) -> Advance:
    """An event that means nothing in this state changes nothing."""
    match progress.status:
        case Status.STARTED:
            return _while_going_forward(saga, progress, event, now)
        case Status.COMPENSATING | Status.STUCK:
            return _while_compensating(saga, progress, event, now)
        case Status.COMPLETED | Status.FAILED:
            return progress, []


def resume(saga: Saga, progress: Progress, now: datetime) -> Advance:
    """Send a stuck saga's compensation again, as patiently as the first time."""
    again = replace(progress, status=Status.COMPENSATING, attempts=0)
    return _send(again, _undoing(saga, again), saga.undo_within, now)


def _while_going_forward(saga: Saga, progress: Progress, event: object, now: datetime) -> Advance:
    step = saga.steps[progress.step]
    if isinstance(event, step.until):
        return _forward(saga, progress, progress.step + 1, now)
    if step.unless and isinstance(event, step.unless):
        return _backward(saga, _because(progress, event), progress.step - 1, now)
    if isinstance(event, saga.cancelled_by):  # the step in flight may or may not happen, so it is undone too
        return _backward(saga, _because(progress, event), progress.step, now)
    if isinstance(event, DeadlinePassed):
        if progress.attempts <= step.retries.times:
            return _send(progress, step.send(progress.saga_id), _patience(step.within, step.retries, progress), now)
        late = replace(progress, reason=f"no {step.until.__name__} in time")
        return _backward(saga, late, progress.step, now)
    return progress, []


def _while_compensating(saga: Saga, progress: Progress, event: object, now: datetime) -> Advance:
    if isinstance(event, saga.steps[-1].until):  # the last step won the race with its deadline: nothing was undone
        return _ended(progress, Status.COMPLETED)
    if isinstance(event, saga.given_up):
        return _ended(progress, Status.FAILED)
    undone = saga.steps[progress.step].undone if progress.step >= 0 else None
    if undone and isinstance(event, undone):
        return _backward(saga, progress, progress.step - 1, now)
    if isinstance(event, DeadlinePassed):
        if progress.attempts <= saga.undo_retries.times:
            return _send(
                progress, _undoing(saga, progress), _patience(saga.undo_within, saga.undo_retries, progress), now
            )
        return replace(progress, status=Status.STUCK, deadline_at=None), []
    return progress, []


def _forward(saga: Saga, progress: Progress, index: int, now: datetime) -> Advance:
    if index == len(saga.steps):
        return _ended(progress, Status.COMPLETED)
    step = saga.steps[index]
    there = replace(progress, step=index, attempts=0)
    return _send(there, step.send(progress.saga_id), step.within, now)


def _backward(saga: Saga, progress: Progress, index: int, now: datetime) -> Advance:
    """Undo from the step `index` down; below the first there is only giving up."""
    while index >= 0 and not saga.steps[index].undo:
        index -= 1
    there = replace(progress, status=Status.COMPENSATING, step=index, attempts=0)
    return _send(there, _undoing(saga, there), saga.undo_within, now)


def _undoing(saga: Saga, progress: Progress) -> Any:
    if progress.step < 0:
        return saga.gives_up_with(progress.saga_id, progress.reason or "unknown")
    undo = saga.steps[progress.step].undo
    assert undo is not None  # _backward stops only at steps that have one
    return undo(progress.saga_id)


def _send(progress: Progress, command: Any, within: timedelta, now: datetime) -> Advance:
    return replace(progress, attempts=progress.attempts + 1, deadline_at=now + within), [command]


def _patience(within: timedelta, retries: Retries, progress: Progress) -> timedelta:
    return within * retries.factor**progress.attempts


def _because(progress: Progress, event: object) -> Progress:
    return replace(progress, reason=getattr(event, "reason", None) or type(event).__name__)


def _ended(progress: Progress, status: Status) -> Advance:
    return replace(progress, status=status, deadline_at=None), []
