"""The same random calls of a port get the same answers from the engine in memory and from the real
one.

So the simulation, which runs on the engines in memory, says something about PostgreSQL and
Firestore.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid5

import pytest
from google.cloud.firestore import AsyncClient, Client
from uuid_utils.compat import uuid7

from shared.dead_letters.memory import MemoryDeadLetters
from shared.dead_letters.postgres import PostgresDeadLetters
from shared.dead_letters.protocol import DeadLetter, DeadLetters, LetterDelivery, LetterFilter
from shared.domain.aggregate import Place, Remove
from shared.domain.errors import ShopError
from shared.erasure.memory import MemoryPersonKeys
from shared.erasure.postgres import PostgresPersonKeys, Unwrapped
from shared.erasure.protocol import Erasure, PersonKey, PersonKeys
from shared.event_store.memory import MemoryEventStore
from shared.event_store.postgres import EVENT_OUTBOX, PostgresEventStore
from shared.event_store.protocol import Append, EventRecord, EventStore, IdempotencyRecord, Snapshot
from shared.messaging.envelope import Message
from shared.messaging.memory import MemoryOutbox
from shared.messaging.outbox import Outbox
from shared.messaging.postgres import PostgresOutbox
from shared.monitoring.gauges import GaugeHistory, Gauges
from shared.monitoring.memory import MemoryGaugeHistory
from shared.monitoring.postgres import PostgresGaugeHistory
from shared.observability.context import Context
from shared.postgres.pool import Pool
from shared.read_models.firestore import FirestoreQueries, FirestoreReadModels
from shared.read_models.memory import MemoryReadModels
from shared.read_models.protocol import Change, Find, Increment, Queries, ReadModels
from shared.resilience.breakers import Breaker
from shared.sagas.definition import Progress
from shared.sagas.memory import MemorySagaStore
from shared.sagas.outbox import SAGA_OUTBOX
from shared.sagas.postgres import PostgresSagaStore
from shared.sagas.status import SagaStatus
from shared.sagas.store import HistoryEntry, SagaStore, StoredSaga
from tests.simulation.tape import Tape

SEQUENCES, LENGTH = 200, 12
CONTEXT = Context("correlation", "causation", "hanako")
NOW = datetime(2026, 1, 1, 9, tzinfo=UTC)
T = TypeVar("T")
Call = Callable[[int], Any]
"""A call of the engine with this number, 0 for memory. Returns what is compared."""


def answer(call: Callable[[], Any]) -> Any:
    """Return the result, or the type of the error that the caller gets."""
    try:
        return call()
    except ShopError as error:
        return type(error).__name__


def alike(calls: Callable[[int, Tape], Iterator[Call]]) -> None:
    """Make every sequence of calls on both engines, and compare each answer.

    `calls`: yields functions that take the number of the engine, 0 for memory.
    """
    for seed in range(SEQUENCES):
        for number, call in enumerate(calls(seed, Tape(seed))):
            in_memory, real = call(0), call(1)
            assert in_memory == real, f"call {number} of sequence {seed}"


def on(engines: Sequence[Any], method: str, *arguments: Any, shown: Callable[[Any], Any] = lambda it: it) -> Call:
    """Return the call of a method with these arguments; `shown`: what of its result is compared."""

    def call(one: int) -> Any:
        return answer(lambda: shown(getattr(engines[one], method)(*arguments)))

    return call


@dataclass
class Ids:
    """Ids of one sequence, which no other sequence has."""

    space: UUID

    def __call__(self, name: object) -> UUID:
        return uuid5(self.space, str(name))


@pytest.fixture
def event_stores(event_store_pool: Pool) -> list[tuple[EventStore, Outbox]]:
    outbox = MemoryOutbox(lease_seconds=-1)
    real = PostgresEventStore(event_store_pool, lease_seconds=-1)
    return [(MemoryEventStore(outbox), outbox), (real, PostgresOutbox(event_store_pool, EVENT_OUTBOX, -1))]


def test_event_stores_answer_alike(event_stores: list[tuple[EventStore, Outbox]]) -> None:
    def calls(seed: int, tape: Tape) -> Iterator[Call]:
        ids, versions = Ids(uuid7()), dict.fromkeys("ab", 0)
        stores = [store for store, _ in event_stores]
        starts = [store.end() for store in stores]
        streams = {name: f"thing-{ids(name)}" for name in versions}
        for _ in range(LENGTH):
            names = [name for name in versions if tape.choose("stream", 3)]
            match tape.choose("call", 7):
                case 0 | 1 | 2:
                    events = []
                    for name in names:
                        first = versions[name] + (1, 1, 1, 2, 0)[tape.choose("expected version", 5)]
                        events += [_event(ids, streams[name], first + n) for n in range(1 + tape.choose("events", 2))]
                    key = f"key {ids(tape.choose('key', 3))}"
                    record = IdempotencyRecord(key, "print", "{}") if tape.choose("record", 2) else None
                    parent = (None, streams["a"], streams["b"])[tape.choose("parent", 3)]
                    place = Place(streams["a"], parent, f"{ids('name')}"), Remove(streams["b"])
                    places = [place[tape.choose("placement", 2)]] if not tape.choose("placed", 3) else []
                    if any(event.version < 1 for event in events):
                        continue
                    append = Append(events, places, record)
                    yield on(stores, "append", append)
                    found = stores[0].read(list(streams.values()))
                    versions = {name: len(found[streams[name]]) for name in versions}
                case 3:
                    after = {streams[name]: tape.choose("after", 3) for name in names}
                    yield on(stores, "read", list(streams.values()), after)
                case 4:
                    where = streams["a"], tape.choose("after", 3), 1 + tape.choose("limit", 3)
                    yield on(stores, "read_stream", *where, shown=lambda entries: [one.event for one in entries])
                case 5:
                    version = 1 + tape.choose("snapshot", 4)
                    snapshot = Snapshot(streams["a"], version, 1 + tape.choose("schema", 2), {"n": version}, NOW, NOW)
                    yield on(stores, "save_snapshot", snapshot)
                    yield on(stores, "snapshots", list(streams.values()), 1)
                case _:
                    yield on(stores, "recorded", f"key {ids(tape.choose('key', 3))}")
        yield lambda one: [entry.event for entry in stores[one].read_all(starts[one], 100)]
        yield lambda one: _taken(event_stores[one][1])

    alike(calls)


def _event(ids: Ids, stream: str, version: int) -> EventRecord:
    return EventRecord(uuid7(), stream, version, "Happened", 1, {"at": version}, CONTEXT, NOW)


def _taken(outbox: Outbox) -> list[Message]:
    """Return what waits in an outbox, and empty it."""
    messages = outbox.claim(1000)
    outbox.delete([message.id for message in messages])
    return sorted(messages, key=lambda message: message.id)


@pytest.fixture
def saga_stores(command_pool: Pool) -> list[tuple[SagaStore, Outbox]]:
    outbox = MemoryOutbox(lease_seconds=-1)
    real = PostgresSagaStore(command_pool)
    return [(MemorySagaStore(outbox), outbox), (real, PostgresOutbox(command_pool, SAGA_OUTBOX))]


def test_saga_stores_answer_alike(saga_stores: list[tuple[SagaStore, Outbox]]) -> None:
    def calls(seed: int, tape: Tape) -> Iterator[Call]:
        ids, versions = Ids(uuid7()), dict.fromkeys(range(2), 0)
        stores = [store for store, _ in saga_stores]
        for _ in range(LENGTH):
            number = tape.choose("saga", 2)
            saga_id = ids(number)
            match tape.choose("call", 5):
                case 0 | 1:
                    status = (SagaStatus.STARTED, SagaStatus.STUCK, SagaStatus.COMPLETED)[tape.choose("status", 3)]
                    deadline = (
                        NOW + timedelta(seconds=tape.choose("deadline", 3)) if status is SagaStatus.STARTED else None
                    )
                    progress = Progress(saga_id, status, tape.choose("step", 3), 1, deadline, 3, "why")
                    version = max(0, versions[number] - (0, 0, 1)[tape.choose("version", 3)])
                    saga = StoredSaga("OrderSaga", progress, version, f"{ids('correlation')}")
                    entries = [HistoryEntry("timer", "DeadlinePassed", {"a": 1})][: tape.choose("entries", 2)]
                    messages = [Message("t", "T", f"{saga_id}", {"n": 1}, CONTEXT, uuid7(), NOW)][
                        : tape.choose("sent", 2)
                    ]
                    yield on(stores, "save", saga, entries, messages)
                    stored = stores[0].load(saga_id)
                    versions[number] = stored.version if stored else 0
                case 2:
                    yield on(stores, "load_many", [ids(one) for one in range(tape.choose("sagas", 3))])
                case 3:
                    yield on(stores, "history", saga_id)
                case _:
                    now = NOW + timedelta(seconds=tape.choose("now", 3))
                    yield on(stores, "due", now, 10_000, shown=lambda due: {*due} & {ids(0), ids(1)})
        yield lambda one: [sorted(saga_stores[one][1].about(f"{ids(n)}"), key=lambda sent: sent.id) for n in range(2)]

    alike(calls)


@pytest.fixture
def gauge_histories(command_pool: Pool) -> list[GaugeHistory]:
    return [MemoryGaugeHistory(), PostgresGaugeHistory(command_pool)]


def test_histories_of_gauges_answer_alike(gauge_histories: list[GaugeHistory]) -> None:
    def calls(seed: int, tape: Tape) -> Iterator[Call]:
        for _ in range(LENGTH):
            minute = NOW + timedelta(minutes=tape.choose("minute", 6))
            match tape.choose("call", 5):
                case 0 | 1 | 2:
                    seconds = (None, 0.0, 1.5)[tape.choose("lag", 3)]
                    kept = Gauges(minute, seconds, None, tape.choose("waiting", 3), sagas_stuck=seed)
                    yield on(gauge_histories, "keep", kept)
                case 3:
                    yield on(gauge_histories, "since", minute)
                case _:
                    yield on(gauge_histories, "forget", minute, 1 + tape.choose("limit", 3))
        yield on(gauge_histories, "since", NOW)

    alike(calls)


@dataclass
class NumberedKeys:
    """Calls a store of keys in one sequence. Ids and secrets, which it makes by chance, are
    answered as numbers in the order of their first answer. Other sequences' are left out."""

    store: PersonKeys
    ids: list[UUID] = field(default_factory=list)
    secrets: list[bytes] = field(default_factory=list)

    def current(self, person: str) -> tuple[int, int | None]:
        return self._shown(self.store.current(person))

    def of(self, numbers: Sequence[int], never_made: UUID) -> list[tuple[int, int | None]]:
        """Ask for keys that are or were there; for one that never was where there are fewer."""
        asked = [self.ids[number] if number < len(self.ids) else never_made for number in numbers]
        return sorted(map(self._shown, self.store.of(asked).values()))

    def destroy(self, person: str) -> int | None:
        erasure = self.store.destroy(person, "ann", "asked for it")
        return self.ids.index(erasure.key) if erasure else None

    def unfinished(self) -> list[int]:
        return [self.ids.index(one.key) for one in self._erasures()]

    def finish_first(self) -> None:
        for erasure in self._erasures()[:1]:
            self.store.finish(erasure)

    def _erasures(self) -> list[Erasure]:
        return [one for one in self.store.unfinished(10_000) if one.key in self.ids]

    def _shown(self, key: PersonKey) -> tuple[int, int | None]:
        secret = None if key.secret is None else _number(self.secrets, key.secret)
        return _number(self.ids, key.id), secret


def _number(seen: list[T], one: T) -> int:
    if one not in seen:
        seen.append(one)
    return seen.index(one)


def test_keys_of_persons_answer_alike(command_pool: Pool) -> None:
    stores: Sequence[PersonKeys] = MemoryPersonKeys(), PostgresPersonKeys(command_pool, Unwrapped())

    def calls(seed: int, tape: Tape) -> Iterator[Call]:
        ids, numbered = Ids(uuid7()), [NumberedKeys(store) for store in stores]
        for _ in range(LENGTH):
            person = f"{ids(tape.choose('person', 2))}"
            match tape.choose("call", 6):
                case 0 | 1:
                    yield on(numbered, "current", person)
                case 2:
                    asked = [tape.choose("key", 3) for _ in range(tape.choose("keys", 3))]
                    yield on(numbered, "of", asked, ids("never made"))
                case 3:
                    yield on(numbered, "destroy", person)
                case 4:
                    yield on(numbered, "unfinished")
                case _:
                    yield on(numbered, "finish_first")

    alike(calls)


@pytest.fixture
def letter_stores(command_pool: Pool) -> list[DeadLetters]:
    return [MemoryDeadLetters(), PostgresDeadLetters(command_pool)]


def test_stores_of_dead_letters_answer_alike(letter_stores: list[DeadLetters]) -> None:
    def calls(seed: int, tape: Tape) -> Iterator[Call]:
        ids = Ids(uuid7())
        source, claimed = f"consumer-{ids('source')}.things", ([], [])  # type: tuple[str, tuple[list[DeadLetter], ...]]

        def claim(one: int) -> Any:
            claimed[one][:] = letter_stores[one].claim(LetterFilter(None, source), 2)
            return [letter.id for letter in claimed[one]]

        for _ in range(LENGTH):
            letter_id, count = ids(tape.choose("letter", 3)), tape.choose("times", 3)
            match tape.choose("call", 8):
                case 0 | 1:
                    letter = DeadLetter(letter_id, source, "things", "T", "s", {}, "e30=", 3, None, None, NOW, NOW)
                    delivery = LetterDelivery(letter, f"{letter_id}{count}", f"{letter_id}")
                    yield on(letter_stores, "record", delivery)
                case 2:
                    yield on(letter_stores, "note_failure", source, f"{letter_id}", f"broken {count}")
                case 3:
                    yield on(letter_stores, "load", letter_id, shown=_shown)
                case 4:
                    yield claim
                case 5:
                    yield lambda one: letter_stores[one].release(claimed[one])
                case 6:
                    yield lambda one: letter_stores[one].settle(claimed[one], NOW, "ann")
                    yield lambda one: claimed[one].clear()
                case _:
                    yield on(letter_stores, "discard", letter_id, "tidying", "ann")
            yield on(letter_stores, "pending", source)
        yield lambda one: [_shown(letter_stores[one].load(ids(n))) for n in range(3)]

    alike(calls)


def _shown(letter: DeadLetter | None) -> Any:
    """Return what does not depend on when the store was asked."""
    if letter is None:
        return None
    kinds = sorted(entry.kind for entry in letter.history)
    return letter.status, letter.version, letter.attempts, letter.error, letter.first_error, kinds


Models = list[tuple[ReadModels, Callable[[], Queries]]]


@pytest.fixture
def models(firestore: str) -> Models:
    memory = MemoryReadModels()
    real = FirestoreReadModels(Client("alike"), Breaker("Firestore", 10, 1))
    return [
        (memory, lambda: memory),
        (real, lambda: FirestoreQueries(AsyncClient("alike"), Breaker("Firestore", 10, 1))),
    ]


def _writing(models: Models, things: str, key: str, change: Change | None) -> Call:
    return lambda one: models[one][0].update(things, key, lambda _: change)


def test_query_databases_answer_alike(models: Models) -> None:
    def calls(seed: int, tape: Tape) -> Iterator[Call]:
        things, totals = f"things-{uuid7().hex}", f"totals-{uuid7().hex}"

        def get(one: int) -> Any:
            return asyncio.run(models[one][1]().get_many(things, list("abc")))

        def find(one: int) -> Any:
            return asyncio.run(models[one][1]().find(Find(things, "n", descending=bool(seed % 2), limit=2)))

        for _ in range(LENGTH // 2):
            key = "abc"[tape.choose("key", 3)]
            match tape.choose("call", 5):
                case 0 | 1:
                    fields = {"n": tape.choose("n", 5), "id": key} if tape.choose("fields", 3) else {"other": "x"}
                    more = [Increment(totals, "sum", {"n": tape.choose("amount", 3)}, {"about": "sums"})][
                        : tape.choose("increments", 2)
                    ]
                    change = None if not tape.choose("nothing", 6) else Change(fields, more)
                    yield _writing(models, things, key, change)
                case 2:
                    yield lambda one: models[one][0].delete(things, 10)
                case 3:
                    yield get
                case _:
                    yield find
        yield get
        yield lambda one: asyncio.run(models[one][1]().get_many(totals, ["sum"]))

    alike(calls)
