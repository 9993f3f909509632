"""What people look up in the log: correct on both engines, and quick however long the log is."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import TupleRow
from uuid_utils.compat import uuid7

from shared.domain.errors import Unavailable
from shared.event_store.log import (
    EVERYTHING,
    LAST_MADE,
    LAST_MINUTE,
    LAST_OF,
    LATELY,
    MADE_AFTER,
    OF_IDS,
    OF_PLACES,
    OF_STREAMS,
    OF_TYPES,
    RECENT,
    RECENT_OF_TYPES,
    PostgresEventLog,
)
from shared.event_store.memory import MemoryEventStore
from shared.event_store.memory_log import MemoryEventLog
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, Checkpoint, EventLog, EventRecord, EventStore, HeldBack, Moment
from shared.messaging.outbox import Traffic
from shared.observability.context import Context
from shared.postgres.pool import Pool
from tests.databases import copy_database, nodes

NOW = datetime.now(UTC)
PLACE = {"epoch": 1, "transaction_id": 2**40, "position": 1}
Both = tuple[EventStore, EventLog]


@pytest.fixture(params=["memory", "postgres"])
def both(request: pytest.FixtureRequest) -> Both:
    if request.param == "memory":
        store = MemoryEventStore()
        return store, MemoryEventLog(store)
    pool: Pool = request.getfixturevalue("event_store_pool")
    return PostgresEventStore(pool), PostgresEventLog(pool)


def event(stream: str, version: int, kind: str = "Happened") -> EventRecord:
    return EventRecord(uuid7(), stream, version, kind, 1, {"name": "お茶"}, Context("c", "k"), datetime.now(UTC))


def written(store: EventStore) -> list[EventRecord]:
    events = [event(f"s-{n % 3}", n // 3 + 1, ["Made", "Sold", "Lost"][n % 2]) for n in range(12)]
    for entry in events:
        store.append(Append([entry]))
    return events


def test_everything_is_paged_in_the_logs_order(both: Both) -> None:
    store, log = both
    events, read, after = written(store), [], 0
    while page := log.everything(after, 5):
        read += [entry.event for entry in page]
        after = page[-1].position
    assert read == events


def test_one_type_is_paged_in_the_logs_order(both: Both) -> None:
    store, log = both
    events = written(store)
    sold = [entry for entry in events if entry.type == "Sold"]
    first = log.of_types(["Sold"], 0, 4)
    assert [entry.event for entry in first] == sold[:4]
    assert [entry.event for entry in log.of_types(["Sold"], first[-1].position, 4)] == sold[4:]
    assert [entry.event for entry in log.of_types(["Made", "Sold"], 0, 100)] == events
    assert log.of_types(["Lost"], 0, 100) == log.of_types([], 0, 100) == []


def test_a_stream_is_read_by_version_and_type(both: Both) -> None:
    store, log = both
    events = written(store)
    of_one = [entry for entry in events if entry.stream == "s-1"]
    found = log.of_streams(["s-1", "other-1"], [], 0, 100)
    assert [entry.event for entry in found] == of_one
    assert [entry.event for entry in log.of_streams(["s-1"], [], found[1].position, 1)] == of_one[2:3]
    assert [entry.event for entry in log.of_streams(["s-1"], ["Sold"], 0, 100)] == [
        o for o in of_one if o.type == "Sold"
    ]


def test_the_last_event_of_each_stream_up_to_a_place_is_found(both: Both) -> None:
    store, log = both
    events = written(store)
    last = {entry.stream: entry for entry in events}
    wanted = [*last, "other-1"]
    assert {entry.event.stream: entry.event for entry in log.last_of(wanted, store.end())} == last
    before = {entry.stream: entry for entry in events[:7]}
    place = store.read_all(Checkpoint(), 7)[-1].checkpoint
    assert {entry.event.stream: entry.event for entry in log.last_of(wanted, place)} == before
    assert log.last_of(wanted, Checkpoint()) == log.last_of([], store.end()) == []


def test_recent_events_come_newest_first(both: Both) -> None:
    store, log = both
    events = written(store)
    assert [entry.event for entry in log.recent(4)] == events[::-1][:4]


def test_recent_events_of_some_types_come_newest_first_however_old_they_are(both: Both) -> None:
    store, log = both
    events = written(store)
    made = [entry for entry in events[::-1] if entry.type == "Made"]
    store.append(Append([event("t-1", version, "Other") for version in range(1, 30)]))
    assert [entry.event for entry in log.recent(4, ["Made"])] == made[:4]
    assert [entry.event for entry in log.recent(100, ["Sold", "Made", "Nothing"])] == events[::-1]
    assert log.recent(4, ["Nothing"]) == []


def test_events_of_some_types_are_found_by_time(both: Both) -> None:
    store, log = both
    began = datetime.now(UTC)
    minutes = [3, 1, 2, 5, 4, 4]  # the clock jumps
    events = [
        replace(event(f"s-{n}", 1, "AB"[n % 2]), recorded_at=began + timedelta(minutes=m))
        for n, m in enumerate(minutes)
    ]
    for entry in events:
        store.append(Append([entry]))
    by_time = [events[n] for n in (1, 2, 0, 4, 5, 3)]
    assert [entry.event for entry in log.by_time(["A", "B"], None, 100)] == by_time[::-1]
    assert [entry.event for entry in log.by_time(["A", "B", "C"], None, 2)] == by_time[:-3:-1]
    assert [entry.event for entry in log.by_time(["A", "B"], Moment(began), 100)] == by_time
    assert [entry.event for entry in log.by_time(["B"], Moment(events[1].recorded_at), 2)] == [events[5], events[3]]
    assert (
        log.by_time(["A", "B"], Moment(events[3].recorded_at), 9)
        == log.by_time(["C"], None, 9)
        == log.by_time([], None, 9)
        == []
    )


def test_the_traffic_of_events_is_counted_by_aggregate(both: Both) -> None:
    store, log = both
    now = datetime.now(UTC)
    assert log.traffic(now, now) == {}
    for number, (stream, seconds) in enumerate([("a-1", 9), ("a-2", 5), ("b-1", 5), ("a-3", -1)]):
        at = now - timedelta(seconds=seconds)
        store.append(Append([replace(event(stream, 1, f"{stream[0]}{number % 2}"), recorded_at=at)]))
    latest = now + timedelta(seconds=1)
    assert log.traffic(now - timedelta(seconds=9), now) == {
        "a": Traffic(3, 1, latest),
        "b": Traffic(1, 1, now - timedelta(seconds=5)),
    }
    assert log.traffic(now - timedelta(seconds=10), latest)["a"] == Traffic(3, 3, latest)


def test_the_counts_are_those_of_the_log(both: Both) -> None:
    store, log = both
    assert (log.counts().events, log.counts().last_position) == ({}, 0)
    for _ in range(2):
        events = written(store) if not log.recent(1) else [event("t-1", 1, "Sold")]
        if events[0].stream == "t-1":
            store.append(Append(events))
        expected = Counter((entry.event.type, entry.event.stream[0]) for entry in log.everything(0, 100))
        counts = log.counts()
        assert counts.events == expected
        assert counts.last_position == log.recent(1)[0].position
        assert counts.last_recorded_at == log.recent(1)[0].event.recorded_at


def test_events_of_the_last_minute_are_counted_separately(both: Both) -> None:
    store, log = both
    assert log.counts().last_minute == 0
    for number, seconds in enumerate((3600, 70, 50, 2, 1, -3600)):
        happened = replace(event(f"s-{number}", 1), recorded_at=datetime.now(UTC) - timedelta(seconds=seconds))
        store.append(Append([happened]))
        log.counts()
    assert log.counts().last_minute == 3
    assert log.counts().of("s") == 6


def test_counts_of_seconds_are_deleted_after_two_minutes(event_store_pool: Pool) -> None:
    store, log = PostgresEventStore(event_store_pool), PostgresEventLog(event_store_pool)
    with event_store_pool.connection() as connection:
        connection.execute("INSERT INTO event_seconds SELECT now() - interval '3 minutes', 7")
        store.append(Append([event("s-1", 1)]))
        assert log.counts().last_minute == 1
        assert connection.execute("SELECT count(*) FROM event_seconds").fetchone() == (1,)


def test_no_number_is_returned_while_counting_takes_too_long(event_store_pool: Pool) -> None:
    store, log = PostgresEventStore(event_store_pool), PostgresEventLog(event_store_pool, counting_seconds=0, batch=2)
    store.append(Append([event("s-1", version) for version in range(1, 8)]))
    for _ in range(3):  # each call continues where the call before stopped
        with pytest.raises(Unavailable, match="still being counted"):
            log.counts()
    assert log.counts().of("s") == 7


def test_counting_during_appends_counts_every_event_once(event_store_pool: Pool) -> None:
    store, log = PostgresEventStore(event_store_pool), PostgresEventLog(event_store_pool)

    def write(n: int) -> None:
        for version in range(1, 41):
            store.append(Append([event(f"s-{n}", version)]))
            if version % 10 == 0:
                log.counts()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert log.counts().events == {("Happened", "s"): 160}


def test_events_are_found_by_their_ids(both: Both) -> None:
    store, log = both
    events = written(store)
    wanted = [events[7].id, events[2].id, uuid7()]
    assert [seen.event for seen in log.of_ids(wanted)] == [events[2], events[7]]
    assert log.of_ids([]) == []


def test_events_are_found_by_their_places(both: Both) -> None:
    store, log = both
    events = written(store)
    wanted = [(events[7].stream, events[7].version), (events[2].stream, events[2].version), ("s-0", 99)]
    assert [seen.event for seen in log.of_places(wanted)] == [events[2], events[7]]
    assert log.of_places([]) == []


def test_a_position_that_no_event_has_stands_for_the_event_below_it(both: Both) -> None:
    store, log = both
    written(store)
    last = log.recent(1)[0].position
    for number in (last + 1, 999_999_999, 2**62):
        assert log.everything(number, 10) == log.of_types(["Made"], number, 10) == []
    assert len(log.everything(0, 100)) == 12


def test_a_log_that_nothing_holds_back_is_complete(both: Both) -> None:
    store, log = both
    written(store)
    assert log.held_back() == HeldBack(0.0, 0)


def test_a_transaction_in_another_database_holds_the_log_back(command_url: str, event_store_pool: Pool) -> None:
    store, log = PostgresEventStore(event_store_pool), PostgresEventLog(event_store_pool)
    written(store)
    with psycopg.connect(command_url) as reading, psycopg.connect(command_url) as writing:
        reading.execute("SELECT count(*) FROM sagas")
        store.append(Append([event("t-1", 1)]))
        assert log.held_back() == HeldBack(0.0, 0)  # a transaction that only reads has no id
        writing.execute("SELECT pg_current_xact_id()")
        time.sleep(0.2)
        store.append(Append([event("t-1", 2)]))
        store.append(Append([event("t-1", 3)]))
        assert len(log.everything(0, 100)) == 13
        assert log.held_back().events == 2
        assert 0.2 <= log.held_back().oldest_transaction_seconds < 30
    assert log.held_back() == HeldBack(0.0, 0)
    assert len(log.everything(0, 100)) == 15


@pytest.fixture(scope="module")
def large(postgres: str) -> Iterator[psycopg.Connection[TupleRow]]:
    """Yield a log of 100,000 events. Plans are chosen by cost, so a longer log has the same
    plans."""
    with psycopg.connect(copy_database(postgres, "event_store"), autocommit=True) as connection:
        connection.execute(
            """INSERT INTO events (id, stream, version, type, schema_version, data, metadata, recorded_at)
               SELECT gen_random_uuid(), 'order-' || n / 5, n % 5 + 1, 'Type' || n % 20, 1, '{}',
                   '{"correlation_id": "c", "causation_id": "k"}', now() - interval '1 second' * (99999 - n)
               FROM generate_series(0, 99999) AS n"""
        )
        connection.execute("VACUUM ANALYZE events")
        yield connection


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (EVERYTHING, {"after": 90_000, "limit": 100}),
        (EVERYTHING, {"after": 0, "limit": 100}),
        (OF_TYPES, {"types": ["Type3", "Type4", "Nothing"], "after": 90_000, "limit": 100}),
        (OF_STREAMS, {"streams": ["order-7", "product-7"], "types": [], "after": 0, "limit": 100}),
        (OF_PLACES, {"streams": ["order-7"] * 50, "versions": [*range(1, 51)]}),
        (OF_IDS, {"ids": [uuid7() for _ in range(100)]}),
        (LAST_MINUTE, {}),
        (RECENT, {"limit": 50}),
        (LAST_MADE, {"types": ["Type3", "Type4", "Nothing"], "limit": 100}),
        (MADE_AFTER, {"types": ["Type3", "Type4"], "after": NOW - timedelta(days=1), "position": 1, "limit": 100}),
        (LATELY, {"types": ["Type3", "Type4"], "since": NOW - timedelta(minutes=5), "until": NOW}),
        (RECENT_OF_TYPES, {"types": ["Type3", "Type4", "Nothing"], "limit": 100}),
        (LAST_OF, {"streams": [f"order-{n}" for n in range(200)], **PLACE}),
        (LAST_OF, {"streams": [f"order-{n}" for n in range(200)], **PLACE, "epoch": 0}),
    ],
)
def test_no_query_reads_the_whole_log(large: psycopg.Connection[TupleRow], query: str, values: dict[str, Any]) -> None:
    row = large.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".encode(), values).fetchone()
    assert row is not None
    touched = sum(rows_of(node) for node in nodes(row[0][0]["Plan"]))
    assert touched < 3000, json.dumps(row[0], indent=1)


def rows_of(node: dict[str, Any]) -> float:
    """Return how many rows of the log a scan read."""
    if node.get("Relation Name") != "events":
        return 0
    looked: float = node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
    return looked


def test_counting_does_not_read_counted_events_again(large: psycopg.Connection[TupleRow]) -> None:
    while large.execute("SELECT count_events(20000)").fetchone() == (20000,):
        pass
    assert large.execute("SELECT sum(count) FROM event_counts").fetchone() == (100_000,)
    before = rows_read(large)
    assert large.execute("SELECT count_events(20000)").fetchone() == (0,)
    assert rows_read(large) - before < 100


def rows_read(connection: psycopg.Connection[TupleRow]) -> int:
    """Return how many rows of the log all sessions have read."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    query = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'events'"
    (read,) = connection.execute(query).fetchone() or (0,)
    return int(read)
