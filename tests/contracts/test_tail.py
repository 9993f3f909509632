"""Following the log for many: nothing that commits late is skipped, on either store."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime

import psycopg
import pytest
from uuid_utils.compat import uuid7

from shared.event_store import tail as module
from shared.event_store.memory import MemoryEventStore
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, Checkpoint, EventRecord, EventStore, LogEntry
from shared.event_store.tail import SubscriptionQuota, Tail, TooSlow
from shared.observability.context import fresh
from shared.postgres.pool import Pool


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> EventStore:
    if request.param == "memory":
        return MemoryEventStore()
    pool: Pool = request.getfixturevalue("event_store_pool")
    return PostgresEventStore(pool)


def event(stream: str, version: int) -> EventRecord:
    return EventRecord(uuid7(), stream, version, "Happened", 1, {}, fresh(), datetime.now(UTC))


def everything(_: LogEntry) -> bool:
    return True


BEGINNING = Checkpoint()


async def taken(tail: Tail[LogEntry], number: int, after: Checkpoint = BEGINNING, only: str = "") -> list[EventRecord]:
    found: list[EventRecord] = []
    async with asyncio.timeout(10), aclosing(tail.after(after, lambda e: e.event.stream.startswith(only))) as entries:
        while len(found) < number:
            found.append((await anext(entries)).event)
    return found


async def begun(tail: Tail[LogEntry]) -> None:
    async with asyncio.timeout(10):
        while not tail._waiting:
            await asyncio.sleep(0.01)


def test_whoever_joins_when_and_from_where_ever_gets_the_same(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 3)

    async def follow() -> None:
        tail = Tail(store, 100)
        following = []
        for number in range(1, 31):
            following.append(asyncio.create_task(taken(tail, 60)))
            await asyncio.to_thread(store.append, Append([event("a", number), event("b", number)]))
            await asyncio.sleep(0.01)
        log = [entry.event for entry in store.read_all(Checkpoint(), 100)]
        assert len(log) == 60
        assert all(found == log for found in await asyncio.gather(*following))
        assert await taken(tail, 30, only="b") == [one for one in log if one.stream == "b"]
        assert tail._subscribers == len(tail._waiting) == 0

    asyncio.run(follow())


def test_who_comes_again_finds_the_tail_running_or_starts_it(store: EventStore) -> None:
    tail = Tail(store, 10)
    store.append(Append([event("a", 1)]))
    for _ in range(3):  # in another loop each time
        assert [one.version for one in asyncio.run(taken(tail, 1))] == [1]


def test_what_commits_late_is_not_skipped_by_who_is_subscribed(event_store_url: str, event_store_pool: Pool) -> None:
    store = PostgresEventStore(event_store_pool)

    async def follow() -> list[EventRecord]:
        tail = Tail(store, 10)
        following = asyncio.create_task(taken(tail, 2))
        await begun(tail)
        with psycopg.connect(event_store_url) as slow:
            slow.execute(
                "INSERT INTO events (id, stream, version, type, schema_version, data, metadata, recorded_at)"
                " VALUES (%s, 'slow', 1, 'Happened', 1, '{}', %s, now())",
                (uuid7(), '{"correlation_id": "x", "causation_id": "y"}'),
            )
            await asyncio.to_thread(store.append, Append([event("fast", 1)]))
            await asyncio.sleep(0.5)
            assert not following.done()
            late = asyncio.create_task(taken(tail, 2, store.end()))  # whoever comes now begins before both
            await asyncio.sleep(0.1)
        assert await late == await following
        return await following

    assert [one.stream for one in asyncio.run(follow())] == ["slow", "fast"]


def test_who_takes_nothing_is_dropped_and_keeps_nothing(store: EventStore) -> None:
    async def follow() -> None:
        tail = Tail(store, 3)
        async with aclosing(tail.after(Checkpoint(), everything)) as slow:
            first = asyncio.ensure_future(anext(slow))
            await begun(tail)
            (waiting,) = tail._waiting
            store.append(Append([event("a", 1)]))
            assert (await first).event.version == 1
            store.append(Append([event("a", version) for version in range(2, 10)]))
            assert [one.version for one in await taken(tail, 9)] == list(range(1, 10))
            async with asyncio.timeout(10):
                while not waiting._dropped:
                    await asyncio.sleep(0.01)
            assert len(waiting._entries) == 0
            with pytest.raises(TooSlow, match="too slow"):
                await anext(slow)
        assert tail._subscribers == len(tail._waiting) == 0

    asyncio.run(follow())


def test_there_are_as_many_seats_as_are_set() -> None:
    seats = SubscriptionQuota(3, 2)
    leave = [seats.take("ann"), seats.take("ann")]
    assert (seats.open, seats.full, seats.enough_of("ann"), seats.enough_of("bob")) == (2, False, True, False)
    leave.append(seats.take("bob"))
    assert (seats.full, seats.enough_of("bob")) == (True, False)
    for one in leave:
        one()
    assert (seats.open, seats.full, seats.enough_of("ann"), len(seats._taken)) == (0, False, False, 0)


def test_one_client_may_have_any_number_where_none_is_set() -> None:
    seats = SubscriptionQuota(100, 0)
    for _ in range(99):
        seats.take("ann")
    assert not seats.enough_of("ann")
    assert not seats.full
