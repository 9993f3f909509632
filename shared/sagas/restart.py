"""Send a stuck saga forward again, once the cause of its failure has been removed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from shared.domain.errors import Invalid, Rejected
from shared.domain.faults import shown
from shared.sagas.definition import Advance, Progress, Saga, resume
from shared.sagas.status import SagaStatus
from shared.sagas.steps import name_of

FROM_STEP = ("from_step",)


def restart(saga: Saga, progress: Progress, happened: Sequence[object], from_step: str, now: datetime) -> Advance:
    """Go forward from `from_step`, or from the first step after it that has not succeeded yet.

    `happened`: all events of the saga's stream. Raise Invalid for an unknown step. Raise Rejected
    unless the saga is stuck on the way back, every step before `from_step` has succeeded, and
    nothing has been undone: each step would find that and do nothing.
    """
    index = _index(saga, from_step)
    _require_stuck(saga, progress)
    if index > saga.last_return:
        raise Rejected(f"{from_step} comes after the point of no return; {_up_to(saga)}", FROM_STEP)
    _require_open(saga, happened)
    given_up = {one.step for one in progress.given_up}
    ready = [n in given_up or any(isinstance(e, step.until) for e in happened) for n, step in enumerate(saga.steps)]
    first_open = ready.index(False)
    if first_open < index:
        missing = name_of(saga.steps[first_open])
        raise Rejected(f"{missing}, a step before {from_step}, has not succeeded; restart from {missing}", FROM_STEP)
    forward = replace(progress, status=SagaStatus.STARTED, step=first_open, reason=None, compensated=False)
    return resume(saga, forward, now)


def _index(saga: Saga, from_step: str) -> int:
    names = [name_of(step) for step in saga.steps]
    if from_step not in names:
        raise Invalid(f"{saga.name} has no step {shown(from_step)}; its steps are {', '.join(names)}", FROM_STEP)
    return names.index(from_step)


def _require_stuck(saga: Saga, progress: Progress) -> None:
    if progress.status is not SagaStatus.STUCK:
        then = "its effects stay as they are" if progress.ended else "it goes on by itself"
        raise Rejected(f"the saga is {progress.status.value}; only a STUCK saga can be restarted: {then}", ("id",))
    if progress.step > saga.last_return:
        passed = name_of(saga.steps[saga.last_return])
        raise Rejected(f"the saga is past its point of no return, {passed}; retrySaga sends its command again", ("id",))


def _require_open(saga: Saga, happened: Sequence[object]) -> None:
    """Raise Rejected when an event has closed the stream, so that none of the steps begins."""
    if not happened:
        raise Rejected("the saga's stream is not in the event store; retrySaga ends the saga", ("id",))
    refusals = [step.unless for step in saga.steps if step.unless and not step.best_effort]
    undone = [step.undone for step in saga.steps if step.undone]
    closing = (*saga.turned_back_by, *saga.ended_by, *refusals, *undone)
    for event in happened:
        if isinstance(event, closing):
            name = type(event).__name__
            raise Rejected(f"{name} is recorded, so no step begins again; retrySaga goes on undoing them", ("id",))


def _up_to(saga: Saga) -> str:
    return f"restart from {', '.join(name_of(step) for step in saga.steps[: saga.last_return + 1])}"
