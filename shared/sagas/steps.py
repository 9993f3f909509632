"""What has become of each step of one saga, for people who look at it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from pydantic.alias_generators import to_snake

from shared.domain.values import NIL
from shared.sagas.definition import END, Progress, Saga, Step, command_name
from shared.sagas.releases import in_version
from shared.sagas.status import SagaStatus
from shared.sagas.store import ListedSaga, StepCount

StepStatus = Literal["PENDING", "RUNNING", "DONE", "FAILED", "UNDOING", "UNDONE", "STUCK", "GIVEN_UP"]


@dataclass(frozen=True)
class SagaStep:
    """`attempts`, `started_at`, `ended_at`, `undo_attempts`, `undone_at`: from the saga's history;
    None once that is forgotten, like the `status` of a step that was not undone. `deadline_at`: of
    the answer that is awaited."""

    name: str
    command: str
    compensation: str | None
    best_effort: bool
    status: StepStatus | None
    attempts: int | None
    started_at: datetime | None
    ended_at: datetime | None
    deadline_at: datetime | None
    last_error: str | None
    undone: bool
    undo_attempts: int | None
    undone_at: datetime | None


def steps_of(saga: Saga, listed: ListedSaga) -> Sequence[SagaStep]:
    """Return the steps of the definition that the saga goes on with, in order."""
    saga, progress = in_version(saga, listed.saga.progress)
    listed = replace(listed, saga=replace(listed.saga, progress=progress))
    return [_step(step, index, listed) for index, step in enumerate(saga.steps)]


def current_step(saga: Saga, progress: Progress) -> str | None:
    """Return the name of the step in flight or being undone; None at END and after it."""
    saga, progress = in_version(saga, progress)
    return None if progress.ended or progress.step == END else name_of(saga.steps[progress.step])


@dataclass(frozen=True)
class AtStep:
    """How many unfinished sagas are at a step. `step`: None at END. `active`: all of them."""

    step: str | None
    active: int = 0
    compensating: int = 0
    stuck: int = 0


def at_steps(saga: Saga, counts: Sequence[StepCount]) -> Sequence[AtStep]:
    """Return the counts of each step: of the definition, in order, then of former ones, then at
    END."""
    found: dict[str | None, Counter[SagaStatus]] = {name_of(step): Counter() for step in saga.steps}
    for one in counts:
        progress = Progress(NIL, one.status, one.step, version=one.version, steps=one.steps)
        found.setdefault(current_step(saga, progress), Counter())[one.status] += one.sagas
    last = found.pop(None, None)
    placed = [*found.items(), *([(None, last)] if last else [])]
    return [AtStep(step, sum(of.values()), of[SagaStatus.COMPENSATING], of[SagaStatus.STUCK]) for step, of in placed]


def name_of(step: Step) -> str:
    return to_snake(command_name(step.send))


def _step(step: Step, index: int, listed: ListedSaga) -> SagaStep:
    progress, forgotten = listed.saga.progress, not listed.history
    sent, undoing = _times(listed, step.send), _times(listed, step.undo)
    completed, refused = _times(listed, step.until), _times(listed, step.unless)
    given_up = next((one.reason for one in progress.given_up if one.step == index), None)
    is_late = progress.reason == f"no {step.until.__name__} in time" and not completed
    undone = index in progress.undone
    return SagaStep(
        name=name_of(step),
        command=command_name(step.send),
        compensation=command_name(step.undo) if step.undo else None,
        best_effort=step.best_effort,
        status="GIVEN_UP" if given_up else _status(listed, index, began=bool(sent), completed=bool(completed)),
        attempts=None if forgotten else len(sent),
        started_at=next(iter(sent), None),
        ended_at=next(iter([*completed, *refused]), None),
        deadline_at=progress.deadline_at if index == progress.step else None,
        last_error=given_up or (progress.reason if refused or is_late else None),
        undone=undone,
        undo_attempts=None if forgotten else len(undoing),
        undone_at=next(iter(_times(listed, step.undone)), None),
    )


def _status(listed: ListedSaga, index: int, began: bool, completed: bool) -> StepStatus | None:
    progress = listed.saga.progress
    if progress.status is SagaStatus.COMPLETED:
        return "DONE"
    if index in progress.undone:
        return "UNDONE"
    if index == progress.step and not progress.ended:
        now: dict[SagaStatus, StepStatus] = {SagaStatus.COMPENSATING: "UNDOING", SagaStatus.STUCK: "STUCK"}
        return now.get(progress.status, "RUNNING")
    if progress.ended and not listed.history:
        return None
    return "DONE" if completed else "FAILED" if began else "PENDING"


def _times(listed: ListedSaga, message: Any) -> list[datetime]:
    """Return when the saga sent or received messages of this type."""
    return [at for at, entry in listed.history if message is not None and entry.name == command_name(message)]
