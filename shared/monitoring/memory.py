"""Keep executions and counts in memory, for the profile `memory` and for tests."""

from collections.abc import Sequence
from datetime import datetime
from threading import Lock
from uuid import UUID

from shared.dead_letters.memory import MemoryDeadLetters
from shared.monitoring.counts import WINDOW, Batch, ExecutionTotals, MinuteTally, RecordTotals, Tally
from shared.monitoring.executions import Execution, ExecutionFilter, Kind, ListedExecutions, SortedBy
from shared.postgres.slices import Slice
from shared.resilience import clock
from shared.sagas.memory import MemorySagaStore


class MemoryExecutions:
    """Keeps the newest 10,000."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_id: dict[UUID, Execution] = {}

    def write(self, executions: Sequence[Execution]) -> None:
        with self._lock:
            self._by_id |= {one.id: one for one in executions}
            for oldest in list(self._by_id)[:-10_000]:
                del self._by_id[oldest]

    def find(self, wanted: ExecutionFilter) -> list[Execution]:
        same = {name: value for name, value in vars(wanted).items() if value and name in ("kind", "name", "status")}
        alike = [one for one in self._sorted() if all(getattr(one, name) == value for name, value in same.items())]
        found = [one for one in alike if wanted.after is None or (one.recorded_at, one.id) > wanted.after]
        return (found if wanted.after else found[::-1])[: wanted.limit]

    def page(self, which: ListedExecutions, by: SortedBy, part: Slice) -> list[Execution]:
        return part.of(self._matching(which), lambda one: (getattr(one, by), one.id))

    def count(self, which: ListedExecutions) -> int:
        return len(self._matching(which))

    def _matching(self, which: ListedExecutions) -> list[Execution]:
        return [
            one
            for one in self._sorted()
            if one.kind == which.kind
            and which.name in (None, one.name)
            and which.status in (None, one.status)
            and (which.recorded_after is None or which.recorded_after <= one.recorded_at)
            and which.by in (None, one.data.get("by"))
            and (which.recorded_before is None or one.recorded_at < which.recorded_before)
        ]

    def of_correlation(self, correlation_id: str, limit: int) -> list[Execution]:
        return [one for one in self._sorted() if one.correlation_id == correlation_id][:limit]

    def expire(self, before: datetime, limit: int) -> int:
        old = [one for one in self._sorted() if one.recorded_at < before and one.kind != "operation"][:limit]
        with self._lock:
            for one in old:
                self._by_id.pop(one.id, None)
        return len(old)

    def extent(self) -> tuple[int, datetime | None]:
        """Return how many there are, and when the newest was recorded."""
        newest = max((one.recorded_at for one in self._sorted()), default=None)
        return len(self._by_id), newest

    def _sorted(self) -> list[Execution]:
        with self._lock:
            return sorted(self._by_id.values(), key=lambda one: (one.recorded_at, one.id))


class MemoryCounts:
    """Counts executions itself, and counts the records of the stores in memory when asked."""

    def __init__(self, sagas: MemorySagaStore, dead_letters: MemoryDeadLetters, executions: MemoryExecutions) -> None:
        self._sagas, self._dead_letters, self._executions = sagas, dead_letters, executions
        self._lock = Lock()
        self._ever: dict[tuple[Kind, str], Tally] = {}
        self._minutes: dict[tuple[datetime, Kind], Tally] = {}
        self._batches: dict[UUID, int] = {}

    def add(self, batch: Batch) -> None:
        now = clock.now()
        with self._lock:
            if self._batches.get(batch.counter, 0) >= batch.number:
                return
            self._batches[batch.counter] = batch.number
            for (kind, name), added in batch.tallies.items():
                tally = added + Tally(succeeded_at=now if added.count > added.errors else None)
                minute = now.replace(second=0, microsecond=0), kind
                self._ever[kind, name] = self._ever.get((kind, name), Tally()) + tally
                self._minutes[minute] = self._minutes.get(minute, Tally()) + tally

    def executions(self) -> ExecutionTotals:
        since, lately = clock.now() - WINDOW, dict[Kind, Tally]()
        with self._lock:
            for (minute, kind), tally in self._minutes.items():
                if minute > since:
                    lately[kind] = lately.get(kind, Tally()) + tally
            return ExecutionTotals(dict(self._ever), lately)

    def minutes(self, since: datetime) -> list[MinuteTally]:
        with self._lock:
            found = [MinuteTally(minute, kind, tally) for (minute, kind), tally in self._minutes.items()]
        return sorted((one for one in found if one.minute >= since), key=lambda one: one[:2])

    def records(self) -> RecordTotals:
        sagas = self._sagas.extent()
        letters, lettered_at = self._dead_letters.extent()
        executions, executed_at = self._executions.extent()
        others = {"saga_history": sagas.entries, "dead_letters": letters, "executions": executions}
        updated_at = max((at for at in (sagas.updated_at, lettered_at, executed_at) if at), default=None)
        return RecordTotals(sagas.statuses, others, updated_at)

    def forget_minutes(self, before: datetime, limit: int) -> int:
        with self._lock:
            old = [key for key in self._minutes if key[0] < before][:limit]
            for key in old:
                del self._minutes[key]
            return len(old)
