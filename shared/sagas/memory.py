"""Sagas in the memory of this process: the store and the log of all sagas."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from threading import RLock
from uuid import UUID

from shared.domain.errors import ConcurrencyError
from shared.event_store.protocol import Checkpoint, Moment
from shared.messaging.envelope import Message
from shared.messaging.memory import MemoryOutbox
from shared.messaging.outbox import AfterCommit, Traffic
from shared.postgres.slices import Slice
from shared.resilience import clock
from shared.sagas.definition import Progress
from shared.sagas.status import SagaGroup, SagaStatus
from shared.sagas.store import (
    ALL,
    HeldUp,
    HistoryEntry,
    ListedSaga,
    SagaBacklog,
    SagaCount,
    SagaEntry,
    SagaExtent,
    Sagas,
    StepCount,
    StoredSaga,
)


class MemorySagaStore:
    def __init__(self, outbox: MemoryOutbox | None = None, after_commit: AfterCommit | None = None) -> None:
        self._lock = RLock()
        self._sagas: dict[UUID, ListedSaga] = {}  # in the order of their creation
        self._histories: dict[UUID, list[HistoryEntry]] = {}  # with the data of events
        self.entries: list[SagaEntry] = []  # the log of all sagas, in order
        self.end = Checkpoint()
        self.sent: dict[str, Traffic] = {}  # by command, forgotten ones included; `lately` is always 0
        self._outbox = outbox or MemoryOutbox()
        self._after_commit = after_commit

    def load(self, saga_id: UUID) -> StoredSaga | None:
        return self.load_many([saga_id]).get(saga_id)

    def load_many(self, saga_ids: Collection[UUID]) -> Mapping[UUID, StoredSaga]:
        return {saga_id: self._sagas[saga_id].saga for saga_id in saga_ids if saga_id in self._sagas}

    def save(self, saga: StoredSaga, history: Sequence[HistoryEntry], messages: Sequence[Message]) -> None:
        saga_id, now = saga.progress.saga_id, clock.now()
        with self._lock:
            new = ListedSaga(replace(saga, version=0), now, now, [])
            before = self._sagas.get(saga_id, new)
            if before.saga.version != saga.version:
                raise ConcurrencyError("another process moved the saga at the same moment")
            shown = [_without_event_data(entry) for entry in history]
            entries = [*before.history, *((now, entry) for entry in shown)]
            after = replace(saga, version=saga.version + 1)
            self._sagas[saga_id] = ListedSaga(after, before.created_at, now, entries)
            self._histories.setdefault(saga_id, []).extend(history)
            self._log(saga_id, now, shown)
            self._outbox.add(messages)
        if self._after_commit:
            self._after_commit(messages)

    def _log(self, saga_id: UUID, now: datetime, history: Sequence[HistoryEntry]) -> None:
        for number, entry in enumerate(history, 1):
            self.end = Checkpoint(1, self.end.position + 1, self.end.position + 1)
            saga = self._sagas[saga_id] if number == len(history) else None
            self.entries.append(SagaEntry(self.end, saga_id, now, entry, saga))
            if entry.message:
                self.sent[entry.name] = self.sent.get(entry.name, Traffic()) + Traffic(1, 0, now)

    def postpone(self, message: Message, seconds: float) -> None:
        self._outbox.add([message], seconds)

    def due(self, now: datetime, limit: int) -> list[UUID]:
        return [saga_id for deadline, saga_id in sorted(self._deadlines()) if deadline <= now][:limit]

    def _deadlines(self) -> list[tuple[datetime, UUID]]:
        progress = (one.saga.progress for one in self._sagas.copy().values())
        return [(one.deadline_at, one.saga_id) for one in progress if one.deadline_at]

    def backlog(self, since: datetime) -> SagaBacklog:
        overdue = sum(deadline <= since for deadline, _ in self._deadlines())
        return SagaBacklog(overdue, len(self.newest(len(self._sagas), 0, Sagas(SagaStatus.STUCK))))

    def counts(self) -> Mapping[SagaStatus, SagaCount]:
        created: dict[SagaStatus, list[datetime]] = {}
        for one in self._sagas.copy().values():
            created.setdefault(one.saga.progress.status, []).append(one.created_at)
        return {status: SagaCount(len(times), min(times)) for status, times in created.items()}

    def history(self, saga_id: UUID) -> list[HistoryEntry]:
        return list(self._histories.get(saga_id, ()))

    def newest(self, limit: int, offset: int = 0, which: Sagas = ALL) -> list[ListedSaga]:
        return self._matching(which)[::-1][offset : offset + limit]

    def page(self, which: Sagas, part: Slice) -> list[ListedSaga]:
        return part.of(self._matching(which), lambda one: (one.created_at, one.saga.progress.saga_id))

    def count(self, which: Sagas) -> int:
        return len(self._matching(which))

    def _matching(self, which: Sagas) -> list[ListedSaga]:
        return [one for one in self._sagas.copy().values() if _matches(one, which)]

    def listed(self, saga_id: UUID) -> ListedSaga | None:
        return self._sagas.get(saga_id)

    def held_up(self, since: datetime, limit: int) -> list[ListedSaga]:
        ways: dict[str, list[ListedSaga]] = {}
        for one in sorted(self._sagas.copy().values(), key=lambda one: one.updated_at):
            if way := _held_up(one.saga.progress, since):
                ways.setdefault(way, []).append(one)
        return sorted(chain(*(found[:limit] for found in ways.values())), key=lambda one: one.updated_at)

    def count_held_up(self, since: datetime) -> HeldUp:
        ways = Counter(_held_up(one.saga.progress, since) for one in self._sagas.copy().values())
        return HeldUp(ways["stuck"], ways["overdue"], ways["repeating"])

    def at_steps(self) -> list[StepCount]:
        unfinished = [one.saga.progress for one in self._matching(Sagas("ACTIVE"))]
        found = Counter((one.version, one.steps, one.step, one.status) for one in unfinished)
        return [StepCount(*place, number) for place, number in found.items()]

    def extent(self) -> SagaExtent:
        sagas = self._sagas.copy().values()
        statuses = Counter(_extent_status(one.saga.progress) for one in sagas)
        updated_at = max((one.updated_at for one in sagas), default=None)
        return SagaExtent(statuses, sum(len(one.history) for one in sagas), updated_at)

    def forget_histories(self, before: datetime, limit: int) -> int:
        left = limit
        with self._lock:
            for saga_id, one in self._sagas.items():
                if one.saga.progress.ended and one.updated_at < before:
                    number = min(left, len(one.history))
                    self._sagas[saga_id] = replace(one, history=one.history[number:])
                    del self._histories[saga_id][:number]
                    first = [entry.checkpoint for entry in self.entries if entry.saga_id == saga_id][:number]
                    self.entries = [entry for entry in self.entries if entry.checkpoint not in first]
                    left -= number
        return limit - left


def _extent_status(progress: Progress) -> str:
    return "COMPENSATED" if progress.status is SagaStatus.FAILED and progress.compensated else progress.status.value


def _is(progress: Progress, status: SagaStatus | SagaGroup | None) -> bool:
    if status == "ACTIVE":
        return not progress.ended
    if status == "COMPENSATED":
        return progress.status is SagaStatus.FAILED and progress.compensated
    return status in (None, progress.status)


def _matches(one: ListedSaga, which: Sagas) -> bool:
    progress = one.saga.progress
    return (
        _is(progress, which.status)
        and which.type in (None, one.saga.type)
        and which.id in (None, progress.saga_id)
        and which.correlation_id in (None, one.saga.correlation_id)
        and (which.started_after is None or which.started_after <= one.created_at)
        and (which.started_before is None or one.created_at < which.started_before)
        and (which.step is None or which.step == _step_of(progress))
    )


def _held_up(progress: Progress, since: datetime) -> str | None:
    """Return in which way a saga is held up, if it is."""
    if progress.status is SagaStatus.STUCK:
        return "stuck"
    if progress.deadline_at is None:
        return None
    return "overdue" if progress.deadline_at <= since else "repeating" if progress.attempts > 1 else None


def _step_of(progress: Progress) -> str | None:
    """Return the command of the step that an unfinished saga is at."""
    at_one = not progress.ended and 0 <= progress.step < len(progress.steps)
    return progress.steps[progress.step] if at_one else None


def _without_event_data(entry: HistoryEntry) -> HistoryEntry:
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

    def sent(self, commands: Sequence[str], after: Moment | None, limit: int) -> list[SagaEntry]:
        sent = [((e.at, e.checkpoint.position), e) for e in self._sent() if e.entry.name in commands]
        sent.sort(key=lambda placed: placed[0], reverse=after is None)
        return [entry for place, entry in sent if after is None or place > after][:limit]

    def traffic(self, since: datetime, until: datetime) -> Mapping[str, Traffic]:
        lately = Counter(entry.entry.name for entry in self._sent() if since < entry.at <= until)
        return {name: replace(traffic, lately=lately[name]) for name, traffic in self._store.sent.items()}

    def _sent(self) -> list[SagaEntry]:
        return [entry for entry in self._store.entries if entry.entry.message]
