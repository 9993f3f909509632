"""A saga as a table: which command each step sends, what completes it, what fails it and what undoes it.

A saga (Garcia-Molina & Salem, 1987) is a long transaction cut into steps that each commit by themselves; when one can't
be done, those before it are undone in reverse by their compensations. Here it follows the stream of one aggregate: every
step records its outcome there, so the saga's own state is a fold of that stream plus its clock.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class Retries:
    """How often a command is sent again when nothing came back in time, waiting `factor` times longer each time."""

    times: int
    factor: float = 2.0


@dataclass(frozen=True)
class Step:
    """`within`: how long the first answer may take. `undo` and `undone`: the compensation's command and the event that
    completes it; a step without them leaves nothing to undo."""

    send: Callable[[UUID], Any]
    until: type[Any]
    within: timedelta
    retries: Retries
    unless: type[Any] | None = None
    undo: Callable[[UUID], Any] | None = None
    undone: type[Any] | None = None


@dataclass(frozen=True)
class Saga:
    """`cancelled_by`: the event that turns it round at any moment. `gives_up_with`: the command, made of the id and the
    reason, that ends it after everything is undone, completed by one of `given_up`."""

    name: str
    starts_on: type[Any]
    steps: tuple[Step, ...]
    cancelled_by: type[Any]
    gives_up_with: Callable[[UUID, str], Any]
    given_up: tuple[type[Any], ...]
    undo_within: timedelta
    undo_retries: Retries

    def at_pace(self, factor: float) -> "Saga":
        """The same saga with all its deadlines multiplied."""
        steps = tuple(replace(step, within=step.within * factor) for step in self.steps)
        return replace(self, steps=steps, undo_within=self.undo_within * factor)


class Status(Enum):
    STARTED = "STARTED"
    COMPENSATING = "COMPENSATING"
    STUCK = "STUCK"  # a compensation was never answered: it needs a person, or its late answer
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Progress:
    """Where one saga stands.

    `step`: index of the step in flight, or being undone; -1: giving up. `attempts`: how often its command was sent.
    `deadline_at`: UTC; None when nothing is awaited. `seen`: the version of the followed stream up to which it has
    read.
    """

    saga_id: UUID
    status: Status = Status.STARTED
    step: int = 0
    attempts: int = 0
    deadline_at: datetime | None = None
    seen: int = 0
    reason: str | None = None

    @property
    def ended(self) -> bool:
        return self.status in (Status.COMPLETED, Status.FAILED)


@dataclass(frozen=True)
class DeadlinePassed:
    """The clock's event: nothing came back in time for what the saga awaits."""
