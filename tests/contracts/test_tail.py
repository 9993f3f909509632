"""The tail gives every subscriber every event, also one that commits late, on either store."""

import asyncio
import time
from contextlib import aclosing
from datetime import UTC, datetime

import psycopg
import pytest
from uuid_utils.compat import uuid7

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


SOON = 60
"""Seconds within which every expected event arrives."""


def everything(_: LogEntry) -> bool:
    return True


BEGINNING = Checkpoint()


async def taken(tail: Tail[LogEntry], number: int, after: Checkpoint = BEGINNING, only: str = "") -> list[EventRecord]:
    found: list[EventRecord] = []
    async with asyncio.timeout(SOON), aclosing(tail.after(after, lambda e: e.event.stream.startswith(only))) as entries:
        while len(found) < number:
            found.append((await anext(entries)).event)
    return found


async def begun(tail: Tail[LogEntry]) -> None:
    async with asyncio.timeout(SOON):
        while not tail.queues:
            await asyncio.sleep(0.01)


def test_every_subscriber_gets_the_same_whenever_and_wherever_it_joins(store: EventStore) -> None:
    async def follow() -> None:
        tail = Tail(store, 100, page=3)
        following = []
        for number in range(1, 31):
            following.append(asyncio.create_task(taken(tail, 60)))
            await asyncio.to_thread(store.append, Append([event("a", number), event("b", number)]))
            await asyncio.sleep(0.01)
        log = [entry.event for entry in store.read_all(Checkpoint(), 100)]
        assert len(log) == 60
        assert all(found == log for found in await asyncio.gather(*following))
        assert await taken(tail, 30, only="b") == [entry for entry in log if entry.stream == "b"]
        assert tail.subscribers == len(tail.queues) == 0

    asyncio.run(follow())


def test_a_subscriber_that_comes_again_finds_the_tail_running_or_starts_it(store: EventStore) -> None:
    tail = Tail(store, 10)
    store.append(Append([event("a", 1)]))
    for _ in range(3):  # in a new event loop each time
        assert [entry.version for entry in asyncio.run(taken(tail, 1))] == [1]


def test_an_event_that_commits_late_is_not_skipped(event_store_url: str, event_store_pool: Pool) -> None:
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
            late = asyncio.create_task(
                taken(tail, 2, store.end())
            )  # a subscriber that joins now begins before both events
            await asyncio.sleep(0.1)
        assert await late == await following
        return await following

    assert [entry.stream for entry in asyncio.run(follow())] == ["slow", "fast"]


def test_a_subscriber_that_reads_nothing_is_dropped_and_its_queue_emptied(store: EventStore) -> None:
    async def follow() -> None:
        tail = Tail(store, 3)
        async with aclosing(tail.after(Checkpoint(), everything)) as slow:
            first = asyncio.ensure_future(anext(slow))
            await begun(tail)
            (queue,) = tail.queues
            store.append(Append([event("a", 1)]))
            assert (await first).event.version == 1
            store.append(Append([event("a", version) for version in range(2, 10)]))
            assert [entry.version for entry in await taken(tail, 9)] == list(range(1, 10))
            async with asyncio.timeout(SOON):
                while not queue.dropped:
                    await asyncio.sleep(0.01)
            assert len(queue) == 0
            with pytest.raises(TooSlow, match="too slow"):
                await anext(slow)
        assert tail.subscribers == len(tail.queues) == 0

    asyncio.run(follow())


class CountingLog(MemoryEventStore):
    """Takes a moment for each page, and counts them."""

    pages = 0

    def read_all(self, after: Checkpoint, limit: int) -> list[LogEntry]:
        self.pages += 1
        time.sleep(0.005)
        return super().read_all(after, limit)


def test_one_clients_many_subscribers_that_have_missed_much_leave_others_their_turn() -> None:
    store = CountingLog()
    store.append(Append([event("a", version) for version in range(1, 61)]))

    async def follow() -> None:
        tail = Tail(store, 100, page=3)
        greedy = [asyncio.create_task(anext(tail.after(BEGINNING, lambda _: False, "greedy"))) for _ in range(30)]
        await asyncio.sleep(0.05)
        before = store.pages
        async with aclosing(tail.after(BEGINNING, everything, "other")) as entries:
            for _ in range(60):
                await anext(entries)
        assert store.pages - before < 100  # its own 20, as many of the other client's, and those of the tail
        for task in greedy:
            task.cancel()
        await asyncio.gather(*greedy, return_exceptions=True)

    asyncio.run(follow())


def test_the_quota_limits_the_process_and_each_client() -> None:
    quota = SubscriptionQuota(3, 2)
    leave = [quota.take("ann"), quota.take("ann")]
    assert (quota.open, quota.full, quota.exhausted_by("ann"), quota.exhausted_by("bob")) == (2, False, True, False)
    leave.append(quota.take("bob"))
    assert (quota.full, quota.exhausted_by("bob")) == (True, False)
    for end in leave:
        end()
    assert (quota.open, quota.full, quota.exhausted_by("ann"), quota.clients) == (0, False, False, 0)


def test_one_client_may_have_any_number_when_no_limit_is_set() -> None:
    quota = SubscriptionQuota(100, 0)
    for _ in range(99):
        quota.take("ann")
    assert not quota.exhausted_by("ann")
    assert not quota.full
