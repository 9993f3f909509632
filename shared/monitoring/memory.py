"""Keep executions, counts and gauges in memory, for the profile `memory` and for tests."""

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice, takewhile
from threading import Lock
from uuid import UUID

from shared.dead_letters.memory import MemoryDeadLetters
from shared.monitoring.counts import WINDOW, Batch, ExecutionTotals, MinuteTally, RecordTotals, Tally
from shared.monitoring.executions import Execution, ExecutionFilter, Kind, ListedExecutions, SortedBy
from shared.monitoring.gauges import Gauges
from shared.postgres.slices import Slice
from shared.resilience import clock
from shared.sagas.memory import MemorySagaStore


class MemoryExecutions:
    """Keeps the newest 10,000, and every operation of an admin."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._ids: set[UUID] = set()
        self._sorted: list[Execution] = []  # by time and id
        self._by_correlation: dict[str, list[Execution]] = {}  # each sorted likewise

    def write(self, executions: Sequence[Execution]) -> None:
        with self._lock:
            for one in executions:
                if one.id not in self._ids:
                    self._ids.add(one.id)
                    insort(self._sorted, one, key=_place)
                    insort(self._by_correlation.setdefault(one.correlation_id, []), one, key=_place)
            self._delete([one for one in self._sorted[:-10_000] if one.kind != "operation"])

    def find(self, wanted: ExecutionFilter) -> list[Execution]:
        same = [(name, value) for name in ("kind", "name", "status") if (value := getattr(wanted, name))]
        part = Slice(wanted.limit, descending=wanted.after is None, after=wanted.after)
        with self._lock:
            placed = (self._sorted[n] for n in part.range_of(self._sorted, _place))
            alike = (one for one in placed if all(getattr(one, name) == value for name, value in same))
            return list(islice(alike, wanted.limit))

    def page(self, which: ListedExecutions, by: SortedBy, part: Slice) -> list[Execution]:
        with self._lock:
            if by != "recorded_at":
                return part.of(self._matching(which, self._sorted), lambda one: (getattr(one, by), one.id))
            placed = (self._sorted[n] for n in part.range_of(self._sorted, _place))
            return list(islice(self._matching(which, placed), part.limit))

    def count(self, which: ListedExecutions) -> int:
        with self._lock:
            return sum(1 for _ in self._matching(which, self._sorted))

    def _matching(self, which: ListedExecutions, among: Iterable[Execution]) -> Iterator[Execution]:
        return (
            one
            for one in among
            if one.kind == which.kind
            and which.id in (None, one.id)
            and which.name in (None, one.name)
            and which.status in (None, one.status)
            and (which.recorded_after is None or which.recorded_after <= one.recorded_at)
            and which.by in (None, one.data.get("by"))
            and which.trace_id in (None, one.data.get("trace"))
            and which.correlation_id in (None, one.correlation_id)
            and (which.recorded_before is None or one.recorded_at < which.recorded_before)
        )

    def of_correlation(self, correlation_id: str, limit: int) -> list[Execution]:
        with self._lock:
            return self._by_correlation.get(correlation_id, [])[:limit]

    def expire(self, before: datetime, limit: int) -> int:
        with self._lock:
            older = takewhile(lambda one: one.recorded_at < before, self._sorted)
            old = list(islice((one for one in older if one.kind != "operation"), limit))
            self._delete(old)
        return len(old)

    def extent(self) -> tuple[int, datetime | None]:
        """Return how many there are, and when the newest was recorded."""
        with self._lock:
            return len(self._sorted), self._sorted[-1].recorded_at if self._sorted else None

    def _delete(self, old: Sequence[Execution]) -> None:
        if not old:
            return
        gone = {one.id for one in old}
        self._ids -= gone
        self._sorted = [one for one in self._sorted if one.id not in gone]
        for correlation_id in {one.correlation_id for one in old}:
            left = [one for one in self._by_correlation.pop(correlation_id) if one.id not in gone]
            if left:
                self._by_correlation[correlation_id] = left


def _place(execution: Execution) -> tuple[datetime, UUID]:
    return execution.recorded_at, execution.id


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


class MemoryGaugeHistory:
    def __init__(self) -> None:
        self._lock = Lock()
        self._minutes: dict[datetime, Gauges] = {}

    def keep(self, gauges: Gauges) -> None:
        with self._lock:
            self._minutes.setdefault(gauges.minute, gauges)

    def since(self, moment: datetime) -> list[Gauges]:
        with self._lock:
            return [self._minutes[minute] for minute in sorted(self._minutes) if minute >= moment]

    def forget(self, before: datetime, limit: int) -> int:
        with self._lock:
            old = [minute for minute in sorted(self._minutes) if minute < before][:limit]
            for minute in old:
                del self._minutes[minute]
            return len(old)
