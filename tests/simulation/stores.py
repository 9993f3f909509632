"""Databases as unkind as the real ones, on top of the shop's engines in memory."""

import copy
import io
import pickle
from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from types import FunctionType, MethodType
from typing import Any
from uuid import UUID

from shared.dead_letters.memory import MemoryDeadLetters
from shared.erasure.memory import MemoryPersonKeys
from shared.erasure.protocol import Erasure
from shared.erasure.sealed import all_opened
from shared.event_store.memory import MemoryEventStore
from shared.event_store.memory_log import MemoryEventLog
from shared.event_store.protocol import (
    Append,
    Checkpoint,
    EventCounts,
    EventRecord,
    HeldBack,
    LogEntry,
    PositionedEvent,
)
from shared.messaging.memory import MemoryOutbox
from shared.read_models.generations import GENERATIONS
from shared.read_models.memory import MemoryReadModels
from shared.read_models.protocol import Change, Extent, Fields, Find, MakeChange, Where
from shared.resilience import clock
from shared.sagas.memory import MemorySagaStore
from tests.simulation.world import this_task

Pause = Callable[[], None]
_SHARED = (type(RLock()), FunctionType, MethodType)


class EventDatabase(MemoryEventStore):
    """Events whose transactions take time: a later one may commit first, and the log's readers wait
    for the oldest.

    `pause`: called between a transaction's begin and its commit. `committed`: told of each append's
    events.
    """

    def __init__(self, outbox: MemoryOutbox, pause: Pause, committed: Callable[[Append], None]) -> None:
        super().__init__(outbox)
        self.outbox, self.pause, self.committed = outbox, pause, committed
        self.epoch, self._transactions, self._positions = 1, 0, 0
        self._running: set[int] = set()
        self.entries: list[LogEntry] = []  # in the log's order
        self._of_stream: dict[str, list[LogEntry]] = {}  # in the order of versions

    def append(self, append: Append) -> None:
        self._transactions += 1
        transaction = self._transactions
        self._running.add(transaction)
        try:
            self.pause()
            super().append(append)
            for event in sorted(append.events, key=lambda event: (event.stream, event.version)):
                self._positions += 1
                place = Checkpoint(self.epoch, transaction, self._positions)
                entry = LogEntry(place, event)
                insort(self.entries, entry, key=lambda entry: entry.checkpoint)
                self._of_stream.setdefault(event.stream, []).append(entry)
            self.committed(append)
        finally:
            self._running.discard(transaction)

    def restored(self) -> "EventDatabase":
        """Return a copy of this backup as a running database, with a new epoch open."""
        twin: EventDatabase = duplicate(self)
        twin.epoch = max(twin.epoch + 1, int(clock.now().timestamp() * 1000))
        twin._running = set()
        return twin

    @property
    def streams(self) -> Collection[str]:
        """Return the names of all streams."""
        return self._of_stream.keys()

    @property
    def held_back(self) -> int:
        """Return how many committed events the log's readers do not see yet."""
        return len(self.entries) - len(self._settled())

    def read_all(self, after: Checkpoint, limit: int) -> list[LogEntry]:
        settled = self._settled()
        start = bisect_right(settled, after, key=lambda entry: entry.checkpoint)
        return settled[start : start + limit]

    def end(self) -> Checkpoint:
        settled = self._settled()
        return settled[-1].checkpoint if settled else Checkpoint()

    def read_stream(self, stream: str, after: int, limit: int) -> list[LogEntry]:
        return self._of_stream.get(stream, [])[after : after + limit]

    def _settled(self) -> list[LogEntry]:
        """Return what readers of the log may see: below the oldest running transaction, or of an
        earlier epoch."""
        if not self._running:
            return self.entries
        return self.entries[
            : bisect_right(self.entries, Checkpoint(self.epoch, min(self._running)), key=lambda one: one.checkpoint)
        ]


class Log(MemoryEventLog):
    """What the shop asks the log for: some answers have events that its readers do not see yet, as
    in PostgreSQL."""

    def __init__(self, store: EventDatabase) -> None:
        super().__init__(store)
        self.store = store

    def recent(self, limit: int, types: Sequence[str] = ()) -> list[PositionedEvent]:
        return [_positioned(one) for one in self.store.entries[::-1] if not types or one.event.type in types][:limit]

    def of_types(self, types: Sequence[str], after: int, limit: int) -> list[PositionedEvent]:
        last = max((one for one in self.store.entries if one.checkpoint.position <= after), key=_position, default=None)
        settled = self.store.read_all(last.checkpoint if last else Checkpoint(), 10**9)
        return [_positioned(one) for one in settled if one.event.type in types][:limit]

    def last_of(self, streams: Sequence[str], until: Checkpoint) -> list[PositionedEvent]:
        seen = [one for one in self.store.entries if one.event.stream in streams and one.checkpoint <= until]
        return list({one.event.stream: _positioned(one) for one in seen}.values())

    def of_places(self, places: Sequence[tuple[str, int]]) -> list[PositionedEvent]:
        return [_positioned(one) for one in self.store.entries if (one.event.stream, one.event.version) in places]

    def of_ids(self, ids: Sequence[UUID]) -> list[PositionedEvent]:
        return [_positioned(one) for one in self.store.entries if one.event.id in ids]

    def of_key(self, key: UUID, limit: int) -> list[str]:
        erased = {one.event.stream for one in self.store.entries if one.event.type == "OrderErased"}
        begun = [one.event for one in self.store.entries if one.event.type == "OrderCreated"]
        of_key = [one.stream for one in begun if one.data["sealed"]["key"] == str(key)]
        return [stream for stream in of_key if stream not in erased][:limit]

    def held_back(self) -> HeldBack:
        return HeldBack(1.0 if self.store.held_back else 0.0, self.store.held_back)

    def counts(self) -> EventCounts:
        settled = self.store.read_all(Checkpoint(), 10**9)
        counts = Counter((one.event.type, one.event.stream.partition("-")[0]) for one in settled)
        return EventCounts(counts, len(settled), settled[-1].event.recorded_at if settled else None)


def _position(entry: LogEntry) -> int:
    return entry.checkpoint.position


def _positioned(entry: LogEntry) -> PositionedEvent:
    return PositionedEvent(entry.checkpoint.position, entry.event)


class Documents(dict[str, Fields]):
    """Documents that were read, by key, and the collection that they are from."""

    def __init__(self, collection: str, documents: Mapping[str, Fields]) -> None:
        super().__init__(documents)
        self.collection = collection


class ReadModels:
    """Documents that are changed as Firestore does it: read, call the change function, and commit
    if nothing has changed meanwhile; else, and now and then without a reason, call it again.

    `pause`: called before the commit; True makes this attempt fail. `documents`: by collection and
    key; a change makes a new one. `under_way`: updates that have begun, by collection. `switches`:
    of a live generation while others were under way.
    """

    def __init__(self, pause: Callable[[], bool]) -> None:
        self.pause, self.under_way, self.switches = pause, Counter[str](), 0
        self.documents: dict[str, dict[str, Fields]] = defaultdict(dict)

    @property
    def busy(self) -> bool:
        """Return whether a document is being written."""
        return any(times for name, times in self.under_way.items() if name != GENERATIONS)

    def update(self, collection: str, key: str, change: MakeChange, version: int | None = None) -> None:
        self.under_way[collection] += 1
        try:
            while not self._attempt(collection, key, change):
                pass
        finally:
            self.under_way[collection] -= 1

    def _attempt(self, collection: str, key: str, change: MakeChange) -> bool:
        documents, task = self.documents[collection], this_task()
        found = documents.get(key)
        task.in_engine = False  # the change function is the shop's code
        made = change(copy.copy(found))
        if self.pause() or documents.get(key) is not found:
            return False
        if made:
            if collection == GENERATIONS and made.fields["live"] != (found or made.fields)["live"]:
                self.switches += self.busy
            documents[key] = {**(found or {}), **made.fields}
            for one in made.increments:
                owner = self.documents[one.collection].get(one.key, {})
                sums = {name: owner.get(name, 0) + amount for name, amount in one.amounts.items()}
                self.documents[one.collection][one.key] = {**owner, **one.about, **sums}
        return True

    def create(self, collection: str, changes: Mapping[str, Change]) -> int:
        new = [key for key in changes if key not in self.documents[collection]]
        for key in new:
            self.update(collection, key, lambda found, key=key: None if found else changes[key])  # type: ignore[misc]
        return len(new)

    def delete(self, collection: str, limit: int) -> int:
        deleted = list(self.documents[collection])[:limit]
        for key in deleted:
            del self.documents[collection][key]
        return len(deleted)

    async def get_many(self, collection: str, keys: Sequence[str], only: Sequence[str] = ()) -> "Documents":
        found = {key: self.documents[collection][key] for key in keys if key in self.documents[collection]}
        documents = {key: {name: one[name] for name in only or one if name in one} for key, one in found.items()}
        return Documents(collection, documents)

    async def find(self, find: Find) -> Sequence[Fields]:
        return await self._in_memory(find.collection).find(find)

    async def count(self, collection: str, where: Sequence[Where]) -> int:
        return await self._in_memory(collection).count(collection, where)

    async def extent(self, collection: str) -> Extent:
        return await self._in_memory(collection).extent(collection)

    def _in_memory(self, collection: str) -> MemoryReadModels:
        """Return the shop's own engine with this collection, for queries."""
        models = MemoryReadModels()
        for key, fields in self.documents[collection].items():
            models.update(collection, key, lambda _, fields=fields: Change(fields))  # type: ignore[misc]
        return models


class KeyDatabase(MemoryPersonKeys):
    """The keys of persons. `destroyed`: whose each destroyed key was, which the shop does not
    know."""

    def __init__(self) -> None:
        super().__init__()
        self.destroyed: dict[UUID, str] = {}

    def destroy(self, person: str, by: str, reason: str) -> Erasure | None:
        erasure = super().destroy(person, by, reason)
        if erasure:
            self.destroyed[erasure.key] = person
        return erasure

    def destroy_again(self, destroyed: Mapping[UUID, str]) -> None:
        """Destroy these keys in a restored database, as far as it has them."""
        for key, person in destroyed.items():
            if self._current.get(person) == key:
                self.destroy(person, "system", "erased after the backup")

    @property
    def forgotten(self) -> set[str]:
        """Return the erased persons who have not ordered again."""
        return {*self.destroyed.values()} - self._current.keys()


@dataclass
class Databases:
    """Both PostgreSQL databases, which a backup copies at one moment."""

    events: EventDatabase
    sagas: MemorySagaStore
    outboxes: list[MemoryOutbox]
    letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    keys: KeyDatabase = field(default_factory=KeyDatabase)

    @classmethod
    def new(cls, pause: Pause, committed: Callable[[Append], None]) -> "Databases":
        outboxes = [MemoryOutbox(), MemoryOutbox()]
        return cls(EventDatabase(outboxes[0], pause, committed), MemorySagaStore(outboxes[1]), outboxes)

    def backup(self) -> "Databases":
        twin: Databases = duplicate(self)
        return twin

    def restored(self, destroyed: Mapping[UUID, str]) -> "Databases":
        """Return a copy of this backup as running databases, with these keys destroyed again."""
        twin: Databases = duplicate(self)
        twin.events = twin.events.restored()
        twin.keys.destroy_again(destroyed)
        return twin

    def opened(self, events: Sequence[EventRecord]) -> list[EventRecord]:
        """Return the events as the shop reads them."""
        return all_opened(events, lambda: self.keys)

    def at_rest(self) -> bytes:
        """Return everything that is stored but the keys; words stand in it as they are."""
        return _pickled([self.events, self.sagas, self.outboxes, self.letters], [])


def duplicate(store: Any) -> Any:
    """Return a deep copy that shares locks and functions with the original."""
    shared: list[object] = []

    class Reader(pickle.Unpickler):
        def persistent_load(self, number: int) -> object:
            return shared[number]

    return Reader(io.BytesIO(_pickled(store, shared))).load()


def _pickled(store: Any, shared: list[object]) -> bytes:
    """Return the store's bytes. Its locks and functions are added to `shared` instead."""

    class Writer(pickle.Pickler):
        def persistent_id(self, value: object) -> int | None:
            if not isinstance(value, _SHARED):
                return None
            shared.append(value)
            return len(shared) - 1

    file = io.BytesIO()
    Writer(file).dump(store)
    return file.getvalue()
