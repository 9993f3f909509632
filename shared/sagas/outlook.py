"""Say what a saga does now and what comes next, from its definition and its progress alone."""

from dataclasses import dataclass
from datetime import datetime

from shared.observability.sentences import Sentence, said
from shared.sagas.definition import Progress, Saga, command_name
from shared.sagas.releases import in_version


@dataclass(frozen=True)
class Outlook:
    """`command`: the one whose answer the saga awaits. `attempt` of `attempts`: how often it was
    sent, and how often it will be at most; None for without end. `next_at`: when the next attempt,
    or `then`, begins; None for a stuck compensation. `then`: what follows when the last attempt has
    no answer; `otherwise`: the same, for a person who has done nothing until then."""

    command: str
    attempt: int
    attempts: int | None
    next_at: datetime | None
    then: Sentence
    otherwise: Sentence

    @property
    def is_last_attempt(self) -> bool:
        return self.attempts is not None and self.attempt >= self.attempts

    @property
    def sentence(self) -> Sentence:
        """Return a sentence such as `ProcessPayment: attempt 3 of 4, next at 13:48:07 UTC, then
        RefundPayment`."""
        if self.next_at is None:
            return said("SAGA_UNANSWERED", command=self.command, attempts=self.attempt)
        if self.attempts is None:
            return said("SAGA_UNTIL_SUCCESS", command=self.command, attempt=self.attempt, at=self.next_at)
        about = said(
            "SAGA_LAST_ATTEMPT" if self.is_last_attempt else "SAGA_ATTEMPT",
            command=self.command,
            attempt=self.attempt,
            attempts=self.attempts,
            at=self.next_at,
        )
        return about + self.then


def outlook(saga: Saga, progress: Progress) -> Outlook | None:
    """Return what an unfinished saga does; None when it has ended."""
    if progress.ended:
        return None
    saga, progress = in_version(saga, progress)
    times: int | None = saga.undo_retries.times + 1
    then, otherwise = said("THEN_ADMIN"), said("ELSE_ADMIN")
    if saga.goes_forward(progress):
        step = saga.steps[progress.step]
        times = step.retries.times + 1
        then, otherwise = said("THEN_UNDO", commands=_turning_back(saga, progress)), said("ELSE_FAILED")
        if step.best_effort:
            then, otherwise = said("THEN_WITHOUT"), Sentence()
        elif progress.step > saga.last_return:
            times, otherwise = None, Sentence()
    return Outlook(awaited(saga, progress), progress.attempts, times, progress.deadline_at, then, otherwise)


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
