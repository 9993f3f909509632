"""Sagas in the memory of this process: the store and the log of all sagas."""

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
from shared.sagas.definition import Progress, SagaStatus
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
        """Sent commands by name, forgotten ones included; `lately` is always 0."""
        self._outbox = outbox or MemoryOutbox()
        self._after_commit = after_commit

    def load(self, saga_id: UUID) -> StoredSaga | None:
        with self._lock:
            return self._sagas.get(saga_id)

    def save(self, saga: StoredSaga, history: Sequence[HistoryEntry], messages: Sequence[Message]) -> None:
        saga_id = saga.progress.saga_id
        with self._lock:
            stored = self._sagas.get(saga_id)
            if (stored.version if stored else 0) != saga.version:
                raise ConcurrencyError("another process moved the saga at the same moment")
            self._sagas[saga_id] = replace(saga, version=saga.version + 1)
            now = clock.now()
            self._times[saga_id] = self._times.get(saga_id, (now, now))[0], now
            self._history.setdefault(saga_id, []).extend((now, entry) for entry in history)
            self._log(saga_id, now, history)
            self._outbox.add(messages)
        if self._after_commit:
            self._after_commit(messages)

    def _log(self, saga_id: UUID, now: datetime, history: Sequence[HistoryEntry]) -> None:
        for number, entry in enumerate(history, 1):
            self.end = Checkpoint(1, self.end.position + 1, self.end.position + 1)
            saga = self._listed(saga_id) if number == len(history) else None
            self.entries.append(SagaEntry(self.end, saga_id, now, _without_personal_data(entry), saga))
            if entry.message:
                self.sent |= added_up([*self.sent.items(), (entry.name, Traffic(1, 0, now))])

    def due(self, now: datetime, limit: int) -> list[UUID]:
        with self._lock:
            return [saga_id for deadline, saga_id in sorted(self._deadlines()) if deadline <= now][:limit]

    def _deadlines(self) -> list[tuple[datetime, UUID]]:
        deadlines = ((saga.progress.deadline_at, saga_id) for saga_id, saga in self._sagas.items())
        return [(deadline, saga_id) for deadline, saga_id in deadlines if deadline]

    def backlog(self, since: datetime) -> SagaBacklog:
        with self._lock:
            overdue = sum(deadline <= since for deadline, _ in self._deadlines())
            return SagaBacklog(overdue, sum(saga.progress.status is SagaStatus.STUCK for saga in self._sagas.values()))

    def counts(self) -> Mapping[SagaStatus, SagaCount]:
        created: dict[SagaStatus, list[datetime]] = {}
        with self._lock:
            for saga_id, saga in self._sagas.items():
                created.setdefault(saga.progress.status, []).append(self._times[saga_id][0])
        return {status: SagaCount(len(times), min(times)) for status, times in created.items()}

    def history(self, saga_id: UUID) -> list[HistoryEntry]:
        with self._lock:
            return [entry for _, entry in self._history.get(saga_id, ())]

    def newest(self, limit: int, offset: int = 0, which: Sagas = ALL) -> list[ListedSaga]:
        with self._lock:
            matching = [
                saga_id
                for saga_id, saga in self._sagas.items()
                if which.status in (None, saga.progress.status) and which.type in (None, saga.type)
            ]
            return [self._listed(saga_id) for saga_id in matching[::-1][offset : offset + limit]]

    def listed(self, saga_id: UUID) -> ListedSaga | None:
        with self._lock:
            return self._listed(saga_id) if saga_id in self._sagas else None

    def _listed(self, saga_id: UUID) -> ListedSaga:
        history = [(at, _without_personal_data(entry)) for at, entry in self._history[saga_id]]
        return ListedSaga(self._sagas[saga_id], *self._times[saga_id], history)

    def extent(self) -> SagaExtent:
        with self._lock:
            statuses = Counter(_extent_status(saga.progress) for saga in self._sagas.values())
            updated_at = max((updated for _, updated in self._times.values()), default=None)
            return SagaExtent(statuses, sum(map(len, self._history.values())), updated_at)

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
        first = [entry.checkpoint for entry in self.entries if entry.saga_id == saga_id][:number]
        return [entry for entry in self.entries if entry.checkpoint not in first]


def _extent_status(progress: Progress) -> str:
    return "COMPENSATED" if progress.status is SagaStatus.FAILED and progress.compensated else progress.status.value


def _without_personal_data(entry: HistoryEntry) -> HistoryEntry:
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
        sent = [entry for entry in self._sent() if entry.entry.name in commands and (after is None or entry.at > after)]
        return sorted(sent, key=lambda entry: (entry.at, entry.checkpoint), reverse=after is None)[:limit]

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        lately = Counter(entry.entry.name for entry in self._sent() if since < entry.at <= until)
        return {name: replace(traffic, lately=lately[name]) for name, traffic in self._store.sent.items()}

    def _sent(self) -> list[SagaEntry]:
        return [entry for entry in self._store.entries if entry.entry.message]
