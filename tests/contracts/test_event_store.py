"""The contract of an event store. The same tests run on PostgreSQL and in memory."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from shared.domain.aggregate import Place, Remove
from shared.domain.errors import CircularParent, ConcurrencyError, NameTaken, ParentMissing, StillInUse
from shared.event_store.aggregates import announced
from shared.event_store.memory import MemoryEventStore
from shared.event_store.postgres import EVENT_OUTBOX, PostgresEventStore
from shared.event_store.protocol import (
    AlreadyRecorded,
    Append,
    Checkpoint,
    EventRecord,
    EventStore,
    IdempotencyRecord,
    Snapshot,
)
from shared.messaging.memory import MemoryOutbox
from shared.messaging.outbox import Backlog, Outbox
from shared.messaging.postgres import PostgresOutbox
from shared.observability.context import Context
from shared.postgres.pool import Pool
from shared.resilience import clock
from tests.fakes import MovableClock

CONTEXT = Context("correlation", "causation", "hanako", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> EventStore:
    if request.param == "memory":
        return MemoryEventStore()
    pool: Pool = request.getfixturevalue("event_store_pool")
    return PostgresEventStore(pool)


def event(stream: str, version: int, **data: Any) -> EventRecord:
    return EventRecord(uuid7(), stream, version, "Happened", 1, data, CONTEXT, datetime.now(UTC))


def everything(store: EventStore, limit: int = 7) -> list[EventRecord]:
    read, after = [], Checkpoint()
    while entries := store.read_all(after, limit):
        read += [entry.event for entry in entries]
        after = entries[-1].checkpoint
    return read


def test_appended_events_are_read_back_unchanged(store: EventStore) -> None:
    written = [event("a", 1, name="お茶 🍵", amount="298800"), event("a", 2, nested={"list": [1, None, True]})]
    store.append(Append(written))
    assert store.read(["a"]) == {"a": written}


def test_an_unknown_stream_is_empty(store: EventStore) -> None:
    assert store.read(["nothing"]) == {"nothing": []}


def test_a_stream_is_read_from_a_version_on(store: EventStore) -> None:
    written = [event("a", n) for n in range(1, 6)]
    store.append(Append(written))
    assert store.read(["a", "b"], {"a": 3}) == {"a": written[3:], "b": []}


def test_several_streams_are_appended_together(store: EventStore) -> None:
    written = [event("b", 1), event("a", 1), event("b", 2)]
    store.append(Append(written))
    assert store.read(["a", "b"]) == {"a": [written[1]], "b": [written[0], written[2]]}


@pytest.mark.parametrize("version", [1, 2, 4, 5])
def test_only_the_next_version_can_be_appended(store: EventStore, version: int) -> None:
    store.append(Append([event("a", 1), event("a", 2)]))
    with pytest.raises(ConcurrencyError):
        store.append(Append([event("a", version)]))
    assert [entry.version for entry in store.read(["a"])["a"]] == [1, 2]


def test_a_new_stream_begins_with_version_1(store: EventStore) -> None:
    with pytest.raises(ConcurrencyError):
        store.append(Append([event("a", 2)]))
    assert everything(store) == []


def test_versions_within_an_append_follow_each_other(store: EventStore) -> None:
    with pytest.raises(ValueError, match="does not follow"):
        store.append(Append([event("a", 1), event("a", 3)]))
    assert everything(store) == []


def test_a_conflict_in_one_stream_undoes_the_whole_append(store: EventStore) -> None:
    store.append(Append([event("a", 1)]))
    with pytest.raises(ConcurrencyError):
        store.append(
            Append(
                [event("a", 1), event("b", 1)],
                [Place("b", None, "b")],
                IdempotencyRecord("key", "print", "result"),
            )
        )
    assert store.read(["b"]) == {"b": []}
    assert store.recorded("key") is None
    store.append(Append([event("c", 1)], placements=[Place("c", None, "b")]))


def test_the_same_event_is_not_recorded_twice(store: EventStore) -> None:
    first = event("a", 1)
    store.append(Append([first]))
    with pytest.raises(ConcurrencyError):
        store.append(Append([first]))


def test_the_log_holds_every_event_once_in_each_streams_order(store: EventStore) -> None:
    written = [event(f"s{n % 3}", n // 3 + 1) for n in range(30)]
    for entry in written:
        store.append(Append([entry]))
    assert everything(store) == written


def test_the_end_of_the_log_is_the_place_of_the_last_event_read(store: EventStore) -> None:
    assert store.end() == Checkpoint()
    for number in range(1, 4):
        store.append(Append([event("a", number), event(f"b-{number}", 1)]))
        assert store.end() == store.read_all(Checkpoint(), 100)[-1].checkpoint
    assert store.read_all(store.end(), 100) == []


def test_a_streams_events_have_the_places_that_they_have_in_the_log(store: EventStore) -> None:
    for number in range(1, 5):
        store.append(Append([event("a", number), event("b", number)]))
    of_a = [entry for entry in store.read_all(Checkpoint(), 100) if entry.event.stream == "a"]
    assert store.read_stream("a", 0, 100) == of_a
    assert store.read_stream("a", 1, 2) == of_a[1:3]
    assert store.read_stream("a", 4, 100) == store.read_stream("nothing", 0, 100) == []


def test_an_idempotency_key_works_once(store: EventStore) -> None:
    record = IdempotencyRecord("key", "print", '{"version": 1, "name": "お茶"}')
    store.append(Append([event("a", 1)], record=record))
    assert store.recorded("key") == record
    with pytest.raises(AlreadyRecorded):
        store.append(Append([event("b", 1)], record=record))
    assert store.read(["b"]) == {"b": []}


KEPT = timedelta(hours=1)


@dataclass
class Forgetful:
    """An event store that keeps an idempotency key for `KEPT`. `pass_by`: lets that time pass."""

    store: EventStore
    pass_by: Callable[[], None]


@pytest.fixture(params=["memory", "postgres"])
def forgetful(request: pytest.FixtureRequest) -> Iterator[Forgetful]:
    if request.param == "memory":
        machine = MovableClock()
        with clock.use(machine):
            yield Forgetful(MemoryEventStore(keys_kept=KEPT), lambda: machine.move(KEPT.total_seconds() + 1))
        return
    pool: Pool = request.getfixturevalue("event_store_pool")

    def pass_by() -> None:
        with pool.connection() as connection:
            connection.execute("UPDATE idempotency SET recorded_at = recorded_at - %s", (KEPT,))

    yield Forgetful(PostgresEventStore(pool, keys_kept=KEPT), pass_by)


def test_an_expired_key_is_like_a_new_one(forgetful: Forgetful) -> None:
    store = forgetful.store
    first, second = IdempotencyRecord("key", "print", "first"), IdempotencyRecord("key", "other", "second")
    store.append(Append([event("a", 1)], record=first))
    assert store.recorded("key") == first
    forgetful.pass_by()
    assert store.recorded("key") is None
    store.append(Append([event("a", 2)], record=second))
    assert store.recorded("key") == second
    with pytest.raises(AlreadyRecorded):
        store.append(Append([event("a", 3)], record=first))


def test_of_several_concurrent_appends_with_one_key_one_happens(store: EventStore) -> None:
    def append(n: int) -> bool:
        try:
            store.append(Append([event(f"s{n}", 1)], record=IdempotencyRecord("key", "print", str(n))))
        except AlreadyRecorded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        happened = list(pool.map(append, range(8)))
    assert happened.count(True) == 1
    assert len(everything(store)) == 1


def test_the_latest_snapshot_of_the_requested_schema_is_kept(store: EventStore) -> None:
    now = datetime.now(UTC)
    first, second = Snapshot("a", 100, 1, {"n": 1}, now, now), Snapshot("a", 200, 1, {"n": 2}, now, now)
    store.save_snapshot(second)
    store.save_snapshot(first)
    assert store.snapshots(["a", "b"], 1) == {"a": second}
    assert store.snapshots(["a"], 2) == {}
    newer_schema = Snapshot("a", 150, 2, {"m": 3}, now, now)
    store.save_snapshot(newer_schema)
    assert store.snapshots(["a"], 2) == {"a": newer_schema}


def test_siblings_have_different_names(store: EventStore) -> None:
    store.append(Append([event("a", 1)], placements=[Place("a", None, "tea")]))
    with pytest.raises(NameTaken):
        store.append(Append([event("b", 1)], placements=[Place("b", None, "tea")]))
    store.append(Append([event("b", 1)], placements=[Place("b", "a", "tea")]))
    store.append(Append([event("a", 2)], placements=[Place("a", None, "coffee")]))
    store.append(Append([event("c", 1)], placements=[Place("c", None, "tea")]))


def test_siblings_without_a_name_do_not_conflict(store: EventStore) -> None:
    store.append(Append([event("a", 1)], placements=[Place("a", None, "tea")]))
    for stream in ("b", "c"):
        store.append(Append([event(stream, 1)], placements=[Place(stream, "a", None)]))


def test_a_place_lies_below_a_place_that_exists(store: EventStore) -> None:
    with pytest.raises(ParentMissing):
        store.append(Append([event("b", 1)], placements=[Place("b", "a", None)]))
    assert everything(store) == []


def test_a_place_with_children_cannot_be_removed(store: EventStore) -> None:
    store.append(Append([event("a", 1)], placements=[Place("a", None, "tea")]))
    store.append(Append([event("b", 1)], placements=[Place("b", "a", None)]))
    with pytest.raises(StillInUse):
        store.append(Append([event("a", 2)], placements=[Remove("a")]))
    store.append(Append([event("b", 2)], placements=[Remove("b")]))
    store.append(Append([event("a", 2)], placements=[Remove("a")]))


def test_a_place_cannot_be_moved_below_itself(store: EventStore) -> None:
    for stream, parent in (("a", None), ("b", "a"), ("c", "b")):
        store.append(Append([event(stream, 1)], placements=[Place(stream, parent, stream)]))
    with pytest.raises(CircularParent):
        store.append(Append([event("a", 2)], placements=[Place("a", "c", "a")]))
    assert len(store.read(["a"])["a"]) == 1


def test_a_new_category_is_not_placed_below_itself(store: EventStore) -> None:
    with pytest.raises(CircularParent):
        store.append(Append([event("a", 1)], [Place("a", "a", "tea")]))
    assert store.read(["a"]) == {"a": []}


def race(*actions: Callable[[], None]) -> list[Exception | None]:
    def attempt(action: Callable[[], None]) -> Exception | None:
        try:
            action()
        except Exception as error:
            return error
        return None

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(attempt, actions))


@pytest.mark.parametrize("round_number", range(10))
def test_of_several_concurrent_siblings_with_one_name_one_gets_it(store: EventStore, round_number: int) -> None:
    outcomes = race(
        *[lambda s=s: store.append(Append([event(s, 1)], placements=[Place(s, None, "tea")])) for s in ("a", "b", "c")]
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert all(isinstance(outcome, NameTaken) for outcome in outcomes if outcome)


@pytest.mark.parametrize("round_number", range(10))
def test_a_category_is_deleted_or_gets_a_product_never_both(store: EventStore, round_number: int) -> None:
    store.append(Append([event("a", 1)], placements=[Place("a", None, "tea")]))
    deleted, filled = race(
        lambda: store.append(Append([event("a", 2)], placements=[Remove("a")])),
        lambda: store.append(Append([event("b", 1)], placements=[Place("b", "a", None)])),
    )
    assert (deleted is None) != (filled is None)
    assert isinstance(deleted or filled, StillInUse | ParentMissing)


@pytest.mark.parametrize("round_number", range(10))
def test_two_concurrent_moves_close_no_circle(store: EventStore, round_number: int) -> None:
    for stream in ("a", "b"):
        store.append(Append([event(stream, 1)], placements=[Place(stream, None, stream)]))
    outcomes = race(
        lambda: store.append(Append([event("a", 2)], placements=[Place("a", "b", "a")])),
        lambda: store.append(Append([event("b", 2)], placements=[Place("b", "a", "b")])),
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert any(isinstance(outcome, CircularParent) for outcome in outcomes)


def test_writers_of_the_same_two_streams_in_any_order_never_deadlock(store: EventStore) -> None:
    def write(seed: int) -> None:
        shuffled = random.Random(seed)
        for _ in range(20):
            while True:
                there = store.read(["a", "b"])
                events = [event(stream, len(there[stream]) + 1) for stream in ("a", "b")]
                shuffled.shuffle(events)
                try:
                    store.append(Append(events))
                    break
                except ConcurrencyError:
                    continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [entry.version for entry in store.read(["a"])["a"]] == list(range(1, 81))


@pytest.fixture(params=["memory", "postgres"])
def with_outbox(request: pytest.FixtureRequest) -> tuple[EventStore, Outbox, list[UUID]]:
    """Return a store, its outbox, and the ids of the messages that were handed over for
    publishing."""
    handed: list[UUID] = []

    def hand_over(messages: Any) -> None:
        handed.extend(message.id for message in messages)

    if request.param == "memory":
        outbox = MemoryOutbox(lease_seconds=0)
        return MemoryEventStore(outbox, hand_over), outbox, handed
    pool: Pool = request.getfixturevalue("event_store_pool")
    return (
        PostgresEventStore(pool, hand_over, lease_seconds=-1),
        PostgresOutbox(pool, EVENT_OUTBOX, lease_seconds=0),
        handed,
    )


def test_messages_are_handed_over_after_the_append_and_stay_until_deleted(
    with_outbox: tuple[EventStore, Outbox, list[UUID]],
) -> None:
    store, outbox, handed = with_outbox
    written = [event("a", 1), event("a", 2, name="お茶 🍵")]
    store.append(Append(written))
    assert handed == [entry.id for entry in written]
    claimed = outbox.claim(10)
    assert [announced(message) for message in claimed] == written
    outbox.delete(handed)
    assert outbox.claim(10) == []


def test_the_backlog_counts_waiting_events_and_knows_the_oldest(
    with_outbox: tuple[EventStore, Outbox, list[UUID]],
) -> None:
    store, outbox, _ = with_outbox
    assert outbox.backlog() == Backlog(0, None)
    written = [event("a", 1), event("b", 1)]
    old = replace(event("c", 1), recorded_at=written[0].recorded_at - timedelta(minutes=5))
    for entry in (*written, old):
        store.append(Append([entry]))
    assert outbox.backlog() == Backlog(3, old.recorded_at)
    outbox.claim(10)
    assert outbox.backlog().waiting == 3
    outbox.delete([old.id])
    assert outbox.backlog() == Backlog(2, written[0].recorded_at)


def test_messages_of_a_failed_append_are_never_handed_over(
    with_outbox: tuple[EventStore, Outbox, list[UUID]],
) -> None:
    store, outbox, handed = with_outbox
    with pytest.raises(ConcurrencyError):
        store.append(Append([event("a", 7)]))
    assert (handed, outbox.claim(10)) == ([], [])


def test_old_idempotency_keys_are_deleted(store: EventStore) -> None:
    for n in range(3):
        store.append(Append((), record=IdempotencyRecord(f"key {n}", "print", "{}")))
    now = datetime.now(UTC)
    assert store.forget_keys(now - timedelta(hours=24), 10) == 0
    assert store.recorded("key 0")
    assert [store.forget_keys(now + timedelta(hours=1), 2) for _ in range(3)] == [2, 1, 0]
    assert store.recorded("key 0") is None
