"""Say what a saga does now and what comes next, from its definition and its progress alone."""

from dataclasses import dataclass
from datetime import datetime

from shared.sagas.definition import Progress, Saga
from shared.sagas.releases import command_name, in_version


@dataclass(frozen=True)
class Outlook:
    """`command`: the one whose answer the saga awaits. `attempt` of `attempts`: how often it was
    sent, and how often it will be at most; None for without end. `next_at`: when the next attempt,
    or `then`, begins; None for a stuck compensation. `then`: what follows when the last attempt has
    no answer."""

    command: str
    attempt: int
    attempts: int | None
    next_at: datetime | None
    then: str

    def __str__(self) -> str:
        """Return a sentence such as `ProcessPayment: attempt 3 of 4, next at 13:48:07 UTC, then
        RefundPayment`."""
        if self.next_at is None:
            return f"{self.command} was sent {self.attempt} times without an answer; an admin must retry the saga"
        at, after = f"{self.next_at:%H:%M:%S} UTC", self.then
        if self.attempts is None:
            return f"{self.command}: attempt {self.attempt}, next at {at}, and so on until it succeeds"
        wait = f"next at {at}" if self.attempt < self.attempts else f"waits for its answer until {at}"
        return f"{self.command}: attempt {self.attempt} of {self.attempts}, {wait}, then {after}"


def outlook(saga: Saga, progress: Progress) -> Outlook | None:
    """Return what an unfinished saga does; None when it has ended."""
    if progress.ended:
        return None
    saga, progress = in_version(saga, progress)
    times: int | None = saga.undo_retries.times + 1
    then = "an admin must retry the saga"
    if saga.goes_forward(progress):
        step = saga.steps[progress.step]
        times, then = step.retries.times + 1, _turning_back(saga, progress)
        if step.best_effort:
            then = "the saga goes on without it"
        elif progress.step > saga.last_return:
            times = None
    return Outlook(awaited(saga, progress), progress.attempts, times, progress.deadline_at, then)


def _turning_back(saga: Saga, progress: Progress) -> str:
    """Return the commands that undo an unfinished saga, in their order."""
    undoing = [step.undo for n, step in enumerate(saga.steps[: progress.step + 1]) if n not in progress.undone]
    return ", ".join(map(command_name, [*(undo for undo in reversed(undoing) if undo), saga.gives_up_with]))


def awaited(saga: Saga, progress: Progress) -> str:
    """Return the name of the command whose answer an unfinished saga awaits."""
    saga, progress = in_version(saga, progress)
    step = saga.steps[progress.step] if progress.step >= 0 else None
    if step and saga.goes_forward(progress):
        return command_name(step.send)
    return command_name(step.undo if step and step.undo else saga.gives_up_with)
