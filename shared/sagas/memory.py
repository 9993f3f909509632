"""The sagas of a machine without a database: the same as store.py and log.py, kept in this process."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from threading import RLock
from uuid import UUID

from shared.domain.errors import ConcurrencyError
from shared.event_store.protocol import Checkpoint
from shared.messaging.envelope import Message
from shared.messaging.memory import MemoryOutbox
from shared.messaging.outbox import AfterCommit, Traffic, added_up
from shared.resilience import clock
from shared.sagas.definition import SagaStatus
from shared.sagas.store import (
    ALL,
    HistoryEntry,
    ListedSaga,
    SagaBacklog,
    SagaCount,
    SagaEntry,
    SagaExtent,
    Sagas,
    StoredSaga,
)


class MemorySagaStore:
    def __init__(self, outbox: MemoryOutbox | None = None, after_commit: AfterCommit | None = None) -> None:
        self._lock = RLock()
        self._sagas: dict[UUID, StoredSaga] = {}
        self._history: dict[UUID, list[tuple[datetime, HistoryEntry]]] = {}
        self._times: dict[UUID, tuple[datetime, datetime]] = {}
        self.entries: list[SagaEntry] = []
        """The log of all sagas, in order."""
        self.end = Checkpoint()
        self.sent: dict[str, Traffic] = {}
        """Commands by name, also those that have been forgotten; `lately` is nobody's."""
        self._outbox = outbox or MemoryOutbox()
        self._after_commit = after_commit

    def load(self, saga_id: UUID) -> StoredSaga | None:
        with self._lock:
            return self._sagas.get(saga_id)

    def save(self, saga: StoredSaga, history: Sequence[HistoryEntry], messages: Sequence[Message]) -> None:
        saga_id = saga.progress.saga_id
        with self._lock:
            there = self._sagas.get(saga_id)
            if (there.version if there else 0) != saga.version:
                raise ConcurrencyError("the saga moved at the same moment")
            self._sagas[saga_id] = StoredSaga(saga.type, saga.progress, saga.version + 1, saga.correlation_id)
            now = clock.now()
            self._times[saga_id] = self._times.get(saga_id, (now, now))[0], now
            self._history.setdefault(saga_id, []).extend((now, entry) for entry in history)
            self._log(saga_id, now, history)
            self._outbox.add(messages)
        if self._after_commit:
            self._after_commit(messages)

    def _log(self, saga_id: UUID, now: datetime, history: Sequence[HistoryEntry]) -> None:
        for number, entry in enumerate(history, 1):
            there = Checkpoint(1, self.end.position + 1, self.end.position + 1)
            saga = self._listed(saga_id) if number == len(history) else None
            self.entries.append(SagaEntry(there, saga_id, now, _without_event(entry), saga))
            self.end = there
            if entry.message:
                self.sent |= added_up([*self.sent.items(), (entry.name, Traffic(1, 0, now))])

    def due(self, now: datetime, limit: int) -> list[UUID]:
        with self._lock:
            waiting = [(s.progress.deadline_at, i) for i, s in self._sagas.items() if s.progress.deadline_at]
        return [saga_id for deadline, saga_id in sorted(waiting) if deadline <= now][:limit]

    def backlog(self, since: datetime) -> SagaBacklog:
        with self._lock:
            all_of_them = [saga.progress for saga in self._sagas.values()]
        overdue = sum(one.deadline_at is not None and one.deadline_at <= since for one in all_of_them)
        return SagaBacklog(overdue, sum(one.status is SagaStatus.STUCK for one in all_of_them))

    def counts(self) -> Mapping[SagaStatus, SagaCount]:
        begun: dict[SagaStatus, list[datetime]] = {}
        with self._lock:
            for saga_id, saga in self._sagas.items():
                begun.setdefault(saga.progress.status, []).append(self._times[saga_id][0])
        return {status: SagaCount(len(times), min(times)) for status, times in begun.items()}

    def history(self, saga_id: UUID) -> list[HistoryEntry]:
        with self._lock:
            return [entry for _, entry in self._history.get(saga_id, ())]

    def newest(self, limit: int, offset: int = 0, which: Sagas = ALL) -> list[ListedSaga]:
        with self._lock:
            found = [
                saga_id
                for saga_id, saga in self._sagas.items()
                if which.status in (None, saga.progress.status) and which.type in (None, saga.type)
            ]
            return [self._listed(saga_id) for saga_id in found[::-1][offset : offset + limit]]

    def listed(self, saga_id: UUID) -> ListedSaga | None:
        with self._lock:
            return self._listed(saga_id) if saga_id in self._sagas else None

    def _listed(self, saga_id: UUID) -> ListedSaga:
        history = [(at, _without_event(e)) for at, e in self._history[saga_id]]
        return ListedSaga(self._sagas[saga_id], *self._times[saga_id], history)

    def extent(self) -> SagaExtent:
        with self._lock:
            all_of_them = [saga.progress for saga in self._sagas.values()]
            entries = sum(map(len, self._history.values()))
            updated_at = max((updated for _, updated in self._times.values()), default=None)
        failed = (one.status is SagaStatus.FAILED and one.compensated for one in all_of_them)
        named = ("COMPENSATED" if undone else one.status.value for one, undone in zip(all_of_them, failed, strict=True))
        return SagaExtent(Counter(named), entries, updated_at)

    def forget_histories(self, before: datetime, limit: int) -> int:
        left = limit
        with self._lock:
            for saga_id, saga in self._sagas.items():
                if saga.progress.ended and self._times[saga_id][1] < before:
                    old = self._history[saga_id][:left]
                    self._history[saga_id] = self._history[saga_id][len(old) :]
                    left -= len(old)
                    self.entries = self._without_first(saga_id, len(old))
        return limit - left

    def _without_first(self, saga_id: UUID, number: int) -> list[SagaEntry]:
        first = [one.checkpoint for one in self.entries if one.saga_id == saga_id][:number]
        return [one for one in self.entries if one.checkpoint not in first]


def _without_event(entry: HistoryEntry) -> HistoryEntry:
    """It may hold personal data."""
    return replace(entry, data={}) if entry.kind == "event" else entry


class MemorySagaLog:
    def __init__(self, store: MemorySagaStore) -> None:
        self._store = store

    def read_all(self, after: Checkpoint, limit: int) -> list[SagaEntry]:
        entries = self._store.entries
        start = bisect_right(entries, after, key=lambda entry: entry.checkpoint)
        return entries[start : start + limit]

    def end(self) -> Checkpoint:
        return self._store.end

    def sent(self, commands: Sequence[str], after: datetime | None, limit: int) -> list[SagaEntry]:
        wanted = [one for one in self._store.entries if one.entry.message and one.entry.name in commands]
        wanted.sort(key=lambda one: (one.at, one.checkpoint), reverse=after is None)
        return [one for one in wanted if after is None or one.at > after][:limit]

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        lately = [one.entry.name for one in self._store.entries if one.entry.message and since < one.at <= until]
        return {
            name: Traffic(all_of.count, lately.count(name), all_of.last_at) for name, all_of in self._store.sent.items()
        }
