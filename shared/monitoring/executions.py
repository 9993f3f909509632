"""Keep a history of executions for a while: what was asked of the shop, and with what result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from shared.postgres.slices import Slice
from shared.resilience import clock

Kind = Literal["command", "query", "delivery", "run", "operation"]


class NotStorable(Exception):
    """The store cannot hold a value."""


@dataclass(frozen=True)
class Execution:
    """One command, query, delivery, run of a scheduled function, or operation of an admin.
    `status`: `success`, or the code of the error. `subject`: the stream that it was about. `data`:
    JSON, as the caller sent it."""

    kind: Kind
    name: str
    status: str
    milliseconds: int
    correlation_id: str
    error: str | None = None
    subject: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    id: UUID = field(default_factory=clock.new_id)
    recorded_at: datetime = field(default_factory=clock.now)


@dataclass(frozen=True)
class ExecutionFilter:
    """Select the executions of a kind, optionally with this name, with this status and recorded
    after this moment and id."""

    kind: Kind
    name: str | None = None
    status: str | None = None
    after: tuple[datetime, UUID] | None = None
    limit: int = 100


SortedBy = Literal["recorded_at", "milliseconds"]


@dataclass(frozen=True)
class ListedExecutions:
    """The executions to list, sorted by time or duration, and id; None matches everything.
    `recorded_before`: exclusive. `by`: the actor of operations. `trace_id`: of the request's
    trace."""

    kind: Kind
    name: str | None = None
    status: str | None = None
    recorded_after: datetime | None = None
    recorded_before: datetime | None = None
    by: str | None = None
    trace_id: str | None = None
    correlation_id: str | None = None
    id: UUID | None = None


class Executions(Protocol):
    def write(self, executions: Sequence[Execution]) -> None:
        """Add executions, each once however often it is written. Raise Unavailable, TimedOut and
        NotStorable."""

    def find(self, wanted: ExecutionFilter) -> list[Execution]:
        """Return the newest first; with `after`, the oldest first, so that the caller can continue
        after the last."""

    def page(self, which: ListedExecutions, by: SortedBy, part: Slice) -> list[Execution]:
        """Return a slice of the executions."""

    def count(self, which: ListedExecutions) -> int: ...

    def of_correlation(self, correlation_id: str, limit: int) -> list[Execution]:
        """Return executions of all kinds, the oldest first."""

    def expire(self, before: datetime, limit: int) -> int:
        """Delete up to `limit` older executions, but no admin's operation; return how many were
        deleted."""
