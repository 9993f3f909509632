"""Many writers and a reader that follows the log: it sees every event once, and every stream in
order."""

import multiprocessing
import random
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime

import psycopg
from uuid_utils.compat import uuid7

from shared.domain.errors import ConcurrencyError
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, Checkpoint, EventRecord
from shared.observability.context import Context
from shared.postgres.pool import Pool, connect

WRITERS, APPENDS, SHARED_STREAMS = 8, 150, 3
CONTEXT = Context("correlation", "causation")


def event(stream: str, version: int) -> EventRecord:
    return EventRecord(uuid7(), stream, version, "Happened", 1, {}, CONTEXT, datetime.now(UTC))


def write(url: str, writer: int) -> list[str]:
    """Append to the writer's own stream and to shared streams; return the ids of the recorded
    events."""
    chosen = random.Random(writer)
    recorded = []
    with connect(url, 1) as pool:
        store = PostgresEventStore(pool)
        for version in range(1, APPENDS + 1):
            events = [event(f"own-{writer}", version)]
            shared = f"shared-{chosen.randrange(SHARED_STREAMS)}"
            while True:
                there = len(store.read([shared])[shared])
                batch = [*events, event(shared, there + 1)] if chosen.random() < 0.3 else events
                try:
                    store.append(Append(batch))
                    break
                except ConcurrencyError:
                    continue
            recorded += [str(entry.id) for entry in batch]
    return recorded


def test_a_reader_that_follows_the_log_sees_every_event_once_and_every_stream_in_order(
    event_store_url: str, event_store_pool: Pool
) -> None:
    store = PostgresEventStore(event_store_pool)
    read: list[EventRecord] = []
    after = Checkpoint()
    with ProcessPoolExecutor(WRITERS, multiprocessing.get_context("spawn")) as processes:
        writing = [processes.submit(write, event_store_url, writer) for writer in range(WRITERS)]
        while not all(task.done() for task in writing) or store.read_all(after, 1):
            entries = store.read_all(after, 50)
            read += [entry.event for entry in entries]
            after = entries[-1].checkpoint if entries else after
        recorded = [event_id for task in writing for event_id in task.result()]
    assert sorted(str(entry.id) for entry in read) == sorted(recorded)
    streams: dict[str, list[int]] = defaultdict(list)
    for entry in read:
        streams[entry.stream].append(entry.version)
    assert all(versions == list(range(1, len(versions) + 1)) for versions in streams.values())
    assert len(recorded) > WRITERS * APPENDS


def test_an_event_that_commits_late_is_not_skipped(event_store_url: str, event_store_pool: Pool) -> None:
    """A scalar position would lose it: an earlier position becomes visible after a later one was
    read."""
    store = PostgresEventStore(event_store_pool)
    with psycopg.connect(event_store_url) as slow:
        _insert(slow, event("slow", 1))  # has a position but is not committed
        store.append(Append([event("fast", 1)]))
        assert store.read_all(Checkpoint(), 10) == []  # held back, not skipped
        assert store.end() == Checkpoint()  # a reader that begins here will see it
        slow.commit()
    seen = [entry.event.stream for entry in store.read_all(Checkpoint(), 10)]
    assert seen == ["slow", "fast"]


def test_a_lower_transaction_with_a_higher_position_is_not_skipped(
    event_store_url: str, event_store_pool: Pool
) -> None:
    store = PostgresEventStore(event_store_pool)
    with psycopg.connect(event_store_url) as early:
        early.execute("SELECT pg_current_xact_id()")
        store.append(Append([event("b", 1)]))
        _insert(early, event("a", 1))
        early.commit()
    entries = store.read_all(Checkpoint(), 1)
    entries += store.read_all(entries[-1].checkpoint, 10)
    assert [entry.event.stream for entry in entries] == ["a", "b"]
    assert entries[0].checkpoint.position > entries[1].checkpoint.position


def test_an_abandoned_transaction_holds_the_log_back_only_for_a_while(event_store_pool: Pool) -> None:
    with event_store_pool.connection() as connection:
        limits = [connection.execute(f"SHOW {name}_timeout".encode()).fetchone() for name in _LIMITED]
    assert all(limit is not None and limit[0] not in ("0", "0s") for limit in limits)


_LIMITED = ("idle_in_transaction_session", "statement", "lock")


def _insert(connection: psycopg.Connection, entry: EventRecord) -> None:
    connection.execute(
        "INSERT INTO events (id, stream, version, type, schema_version, data, metadata, recorded_at)"
        " VALUES (%s, %s, %s, %s, 1, '{}', %s, %s)",
        (
            entry.id,
            entry.stream,
            entry.version,
            entry.type,
            '{"correlation_id": "x", "causation_id": "y"}',
            entry.recorded_at,
        ),
    )


def test_a_transaction_that_only_reads_holds_no_reader_back(event_store_url: str, event_store_pool: Pool) -> None:
    """Transactions that only read get no transaction id."""
    store = PostgresEventStore(event_store_pool)
    with psycopg.connect(event_store_url) as reader:
        reader.execute("SELECT count(*) FROM events")
        store.append(Append([event("a", 1)]))
        deadline = time.monotonic() + 60  # another transaction of the server may hold it back for a moment
        while not (entries := store.read_all(Checkpoint(), 10)) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(entries) == 1
