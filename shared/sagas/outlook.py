"""Say what a saga does now and what comes next, from its definition and its progress alone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from shared.sagas.definition import Progress, Saga, SagaStatus


@dataclass(frozen=True)
class Outlook:
    """`command`: the one whose answer the saga awaits. `attempt` of `attempts`: how often it was
    sent, and how often it will be at most. `next_at`: when the next attempt, or `then`, begins;
    None for a stuck saga. `then`: the commands that follow when the last attempt has no answer;
    empty when the saga gets stuck."""

    command: str
    attempt: int
    attempts: int
    next_at: datetime | None
    then: tuple[str, ...]

    def __str__(self) -> str:
        """Return a sentence such as `ProcessPayment: attempt 3 of 4, next at 13:48:07 UTC, then
        RefundPayment`."""
        if self.next_at is None:
            return f"{self.command} was sent {self.attempt} times without an answer; an admin must retry the saga"
        at, after = f"{self.next_at:%H:%M:%S} UTC", ", ".join(self.then) or "an admin must retry the saga"
        wait = f"next at {at}" if self.attempt < self.attempts else f"waits for its answer until {at}"
        return f"{self.command}: attempt {self.attempt} of {self.attempts}, {wait}, then {after}"


def outlook(saga: Saga, progress: Progress) -> Outlook | None:
    """Return what an unfinished saga does; None when it has ended."""
    if progress.ended:
        return None
    retries, then = saga.undo_retries, list[Callable[..., Any]]()
    if progress.status is SagaStatus.STARTED:
        retries = saga.steps[progress.step].retries
        undoing = [step.undo for n, step in enumerate(saga.steps[: progress.step + 1]) if n not in progress.undone]
        then = [*(undo for undo in reversed(undoing) if undo), saga.gives_up_with]
    names = tuple(map(command_name, then))
    return Outlook(awaited(saga, progress), progress.attempts, retries.times + 1, progress.deadline_at, names)


def awaited(saga: Saga, progress: Progress) -> str:
    """Return the name of the command whose answer an unfinished saga awaits."""
    step = saga.steps[progress.step] if progress.step >= 0 else None
    if step and progress.status is SagaStatus.STARTED:
        return command_name(step.send)
    return command_name(step.undo if step and step.undo else saga.gives_up_with)


def command_name(command: Callable[..., Any]) -> str:
    return str(attrgetter("__name__")(command))
