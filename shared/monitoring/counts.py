"""Count exactly what was asked of the shop, and what the command database holds.

Everything is counted when it happens, by the database itself or in batches (0006_counting.sql), so
that a query reads a few rows however much there is. Executions are counted whether the history
keeps them or not. A process that is killed loses what it counted in the last second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from shared.monitoring.executions import Kind
from shared.sagas.status import SagaGroup, SagaStatus

WINDOW = timedelta(minutes=5)  # what `lately` means: this minute and the four before


@dataclass(frozen=True)
class Tally:
    """`count`: executions. `errors`: those that failed. `milliseconds`: of all together.
    `succeeded_at`: when a success was last counted, UTC."""

    count: int = 0
    errors: int = 0
    milliseconds: int = 0
    succeeded_at: datetime | None = None

    def __add__(self, other: "Tally") -> "Tally":
        succeeded_at = max((at for at in (self.succeeded_at, other.succeeded_at) if at), default=None)
        milliseconds = self.milliseconds + other.milliseconds
        return Tally(self.count + other.count, self.errors + other.errors, milliseconds, succeeded_at)


Tallies = Mapping[tuple[Kind, str], Tally]  # by kind and name


@dataclass(frozen=True)
class Batch:
    """What one process has counted since its previous batch. `counter`: the process's id. `number`:
    1 for its first batch, then one more for each."""

    counter: UUID
    number: int
    tallies: Tallies


@dataclass(frozen=True)
class ExecutionTotals:
    """`ever`: since counting began. `lately`: by kind, within WINDOW."""

    ever: Tallies = field(default_factory=dict)
    lately: Mapping[Kind, Tally] = field(default_factory=dict)

    def ever_of(self, kind: Kind) -> Tally:
        return sum((tally for (of, _), tally in self.ever.items() if of == kind), Tally())


class MinuteTally(NamedTuple):
    """The executions of a kind in one minute, which begins at `minute`, UTC."""

    minute: datetime
    kind: Kind
    tally: Tally


@dataclass(frozen=True)
class RecordTotals:
    """`sagas`: by status; a FAILED saga that had something to undo counts as COMPENSATED. `others`:
    history entries of sagas, dead letters and executions in the history. `updated_at`: when any of
    these was last added, changed or deleted, UTC."""

    sagas: Mapping[str, int]
    others: Mapping[str, int]
    updated_at: datetime | None

    def sagas_of(self, status: SagaStatus | SagaGroup | None) -> int:
        """Return the number of sagas with this status."""
        if status == "ACTIVE":
            return self.unfinished
        names = [status.value] if isinstance(status, SagaStatus) else [status] if status else list(self.sagas)
        names += ["COMPENSATED"] if status is SagaStatus.FAILED else []
        return sum(self.sagas.get(name, 0) for name in names)

    @property
    def unfinished(self) -> int:
        return sum(number for status, number in self.sagas.items() if status in ("STARTED", "COMPENSATING", "STUCK"))


class Counts(Protocol):
    """All methods raise Unavailable and TimedOut."""

    def add(self, batch: Batch) -> None:
        """Count a batch, once however often it is added. A process adds its batches in order. Also
        raise NotStorable."""

    def executions(self) -> ExecutionTotals: ...

    def minutes(self, since: datetime) -> Sequence[MinuteTally]:
        """Return the minutes since a moment in which something was executed, the oldest first. They
        are kept for a day."""

    def records(self) -> RecordTotals: ...

    def forget_minutes(self, before: datetime, limit: int) -> int:
        """Delete minutes, and processes that have added nothing since; return how many. The totals
        since counting began stay."""
