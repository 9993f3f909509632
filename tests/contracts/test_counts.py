"""Counts are exact on both engines, count each batch once and are read quickly however much there
is."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import TupleRow
from uuid_utils.compat import uuid7

from shared.dead_letters.memory import MemoryDeadLetters
from shared.dead_letters.postgres import PostgresDeadLetters
from shared.dead_letters.protocol import DeadLetters, LetterFilter, decode_dead_letter
from shared.domain.errors import Unavailable
from shared.event_store.log import PostgresEventLog
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, EventRecord
from shared.messaging.envelope import Push, PushedMessage
from shared.monitoring.counts import Batch, Counts, RecordTotals, Tallies, Tally
from shared.monitoring.executions import Execution, Executions, Kind
from shared.monitoring.memory import MemoryCounts, MemoryExecutions
from shared.monitoring.postgres import EVER, LATELY, RECORDS, PostgresCounts, PostgresExecutions
from shared.monitoring.recorder import Recorder
from shared.observability.context import fresh
from shared.postgres.migrations import migrate
from shared.postgres.pool import Pool, Session, connect
from shared.sagas.definition import Progress
from shared.sagas.memory import MemorySagaStore
from shared.sagas.postgres import PostgresSagaStore
from shared.sagas.status import SagaStatus
from shared.sagas.store import HistoryEntry, SagaStore, StoredSaga
from tests.databases import COMMAND_DATABASE, copy_database, migrate_as_previously
from tests.new_saga import new_saga


@dataclass
class Stores:
    sagas: SagaStore
    letters: DeadLetters
    executions: Executions
    counts: Counts

    def decode_dead_letter(self, number: int) -> None:
        push = Push(PushedMessage(str(number)), "projects/p/subscriptions/record-dead-letter.worker.things.dead")
        self.letters.record(decode_dead_letter(push, "things"))


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "memory":
        memory = MemorySagaStore(), MemoryDeadLetters(), MemoryExecutions()
        return Stores(*memory, MemoryCounts(*memory))
    pool: Pool = request.getfixturevalue("command_pool")
    return Stores(PostgresSagaStore(pool), PostgresDeadLetters(pool), PostgresExecutions(pool), PostgresCounts(pool))


@pytest.fixture
def counts(stores: Stores) -> Counts:
    return stores.counts


def batch(number: int = 1, **tallies: Tally) -> Batch:
    return Batch(uuid7(), number, {("command", name): one for name, one in tallies.items()})


def plain(tallies: Mapping[Any, Tally]) -> Mapping[Any, Tally]:
    return {what: replace(one, succeeded_at=None) for what, one in tallies.items()}


def test_a_new_shop_has_counted_nothing(counts: Counts) -> None:
    assert (counts.executions().ever, counts.executions().lately) == ({}, {})
    assert counts.records().updated_at is None
    assert sum([*counts.records().sagas.values(), *counts.records().others.values()]) == 0


def test_the_batches_of_all_processes_are_added_up_by_kind_and_name(counts: Counts) -> None:
    counts.add(batch(CreateOrder=Tally(3, 1, 30), CancelOrder=Tally(1, 0, 4)))
    counts.add(batch(CreateOrder=Tally(2, 0, 20)))
    counts.add(Batch(uuid7(), 1, {("query", "orders"): Tally(7, 7, 70)}))
    totals = counts.executions()
    assert plain(totals.ever) == {
        ("command", "CreateOrder"): Tally(5, 1, 50),
        ("command", "CancelOrder"): Tally(1, 0, 4),
        ("query", "orders"): Tally(7, 7, 70),
    }
    assert plain(totals.lately) == {"command": Tally(6, 1, 54), "query": Tally(7, 7, 70)}
    assert replace(totals.ever_of("command"), succeeded_at=None) == Tally(6, 1, 54)


def test_only_successes_move_the_time_of_the_last_success(counts: Counts) -> None:
    counts.add(batch(CreateOrder=Tally(3, 3, 30), CancelOrder=Tally(3, 2, 30)))
    ever = counts.executions().ever
    assert ever["command", "CreateOrder"].succeeded_at is None
    succeeded_at = ever["command", "CancelOrder"].succeeded_at
    assert succeeded_at and abs(datetime.now(UTC) - succeeded_at) < timedelta(minutes=1)
    counts.add(batch(CancelOrder=Tally(1, 1, 1)))
    assert counts.executions().ever["command", "CancelOrder"].succeeded_at == succeeded_at


def test_a_batch_counts_once_however_often_it_is_sent(counts: Counts) -> None:
    first = batch(CreateOrder=Tally(3, 1, 30))
    second = replace(first, number=2)
    for one in (first, first, second, first, second):
        counts.add(one)
    assert plain(counts.executions().ever) == {("command", "CreateOrder"): Tally(6, 2, 60)}


def test_the_minutes_say_what_was_executed_in_each(counts: Counts) -> None:
    counts.add(batch(CreateOrder=Tally(3, 1, 30), CancelOrder=Tally(1, 0, 4)))
    counts.add(Batch(uuid7(), 1, {("query", "orders"): Tally(7, 7, 70)}))
    now = datetime.now(UTC)
    found = counts.minutes(now - timedelta(minutes=2))
    assert [(one.kind, plain({0: one.tally})[0]) for one in found] == [
        ("command", Tally(4, 1, 34)),
        ("query", Tally(7, 7, 70)),
    ]
    assert {now - one.minute < timedelta(minutes=2) and one.minute.second == 0 for one in found} == {True}
    assert counts.minutes(now + timedelta(minutes=2)) == []


def test_minutes_and_counters_are_forgotten_and_totals_stay(counts: Counts) -> None:
    counts.add(batch(CreateOrder=Tally(3, 1, 30)))
    assert counts.forget_minutes(datetime.now(UTC) - timedelta(days=1), 100) == 0
    assert counts.forget_minutes(datetime.now(UTC) + timedelta(minutes=2), 100) > 0
    assert counts.forget_minutes(datetime.now(UTC) + timedelta(minutes=2), 100) == 0
    assert counts.executions().lately == {}
    assert plain(counts.executions().ever) == {("command", "CreateOrder"): Tally(3, 1, 30)}


def test_lately_means_this_minute_and_the_four_before(command_pool: Pool) -> None:
    counts = PostgresCounts(command_pool)
    with command_pool.connection() as connection:
        began = connection.execute("SELECT date_trunc('minute', now())").fetchone() or ()
        connection.execute(
            """INSERT INTO execution_counts SELECT %s - make_interval(mins => n),
               'query', '', n, 1, 0, 10 FROM generate_series(0, 9) AS n""",
            began,
        )
        lately = counts.executions().lately
        ended = connection.execute("SELECT date_trunc('minute', now())").fetchone() or ()
    number = 5 if began == ended else 4  # of a new minute nothing is counted yet
    assert lately == {"query": Tally(number, 0, 10 * number)}


def test_processes_that_count_at_once_lose_nothing(command_pool: Pool) -> None:
    counts, names = PostgresCounts(command_pool), ["a", "b", "c", "d"]

    def process(number: int) -> None:
        counter, order = uuid7(), names[number % 4 :] + names[: number % 4]
        for one in range(1, 21):
            tallies: Tallies = {("query", name): Tally(1, 0, 1) for name in order}
            counts.add(Batch(counter, one, tallies))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(process, range(8)))
    assert plain(counts.executions().ever) == {("query", name): Tally(160, 0, 160) for name in names}


def executed(kind: Kind = "query", name: str = "orders", status: str = "success") -> Execution:
    return Execution(kind, name, status, 5, "c")


class Flaky(MemoryCounts):
    """Fails, after it has taken a batch or (`takes`) without taking it."""

    failures = 0
    takes = True

    def add(self, batch: Batch) -> None:
        if self.takes:
            super().add(batch)
        if self.failures:
            self.failures -= 1
            raise Unavailable("down")


@pytest.mark.parametrize("takes", [True, False])
def test_counts_that_could_not_be_written_are_written_later_and_count_once(takes: bool) -> None:
    flaky = Flaky(MemorySagaStore(), MemoryDeadLetters(), MemoryExecutions())
    flaky.failures, flaky.takes = 2, takes
    recorder = Recorder(lambda: (MemoryExecutions(), flaky), every=60)
    for _ in range(3):
        recorder.record(executed())
        recorder.flush()
        flaky.takes = takes or flaky.failures == 0
    recorder.flush()
    assert plain(flaky.executions().ever) == {("query", "orders"): Tally(3, 0, 15)}
    recorder.close()


def test_all_executions_are_counted_whether_the_history_keeps_them_or_not(stores: Stores) -> None:
    recorder = Recorder(lambda: (stores.executions, stores.counts), sample=0, every=60, queue_size=1)
    for _ in range(5):
        recorder.record(executed())
        recorder.record(executed("command", "CreateOrder", "CONFLICT"))
        recorder.record(executed("delivery", "made up by the caller"))
    recorder.close()
    assert plain(stores.counts.executions().ever) == {
        ("query", "orders"): Tally(5, 0, 25),
        ("command", "CreateOrder"): Tally(5, 5, 25),
        ("delivery", "other"): Tally(5, 0, 25),
    }


def saved(sagas: SagaStore, status: SagaStatus, compensated: bool = False, entries: int = 1) -> StoredSaga:
    saga = new_saga()
    progress = replace(saga.progress, status=status, compensated=compensated)
    sagas.save(replace(saga, progress=progress), [HistoryEntry("event", "Happened", {})] * entries, [])
    return replace(saga, progress=progress, version=1)


def test_records_are_counted_when_added_changed_and_deleted(stores: Stores) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    started = saved(stores.sagas, SagaStatus.STARTED)
    for status, compensated in [
        (SagaStatus.STARTED, False),
        (SagaStatus.COMPENSATING, True),
        (SagaStatus.STUCK, True),
        (SagaStatus.COMPLETED, True),
        (SagaStatus.FAILED, False),
        (SagaStatus.FAILED, True),
    ]:
        saved(stores.sagas, status, compensated, entries=2)
    for number in (1, 2, 2):
        stores.decode_dead_letter(number)
    ran = [executed(), executed()]
    stores.executions.write([*ran, ran[0]])
    stores.executions.write(ran)
    statuses = {"STARTED": 2, "COMPENSATING": 1, "STUCK": 1, "COMPLETED": 1, "FAILED": 1, "COMPENSATED": 1}
    others = {"saga_history": 13, "dead_letters": 2, "executions": 2}
    records = stores.counts.records()
    assert (records.sagas, records.others, records.unfinished) == (statuses, others, 4)
    assert records.updated_at and began < records.updated_at < datetime.now(UTC) + timedelta(seconds=1)

    done = replace(started.progress, status=SagaStatus.COMPLETED)
    stores.sagas.save(replace(started, progress=done), [HistoryEntry("event", "Done", {})], [])
    stores.sagas.forget_histories(datetime.now(UTC) + timedelta(days=1), 3)
    stores.executions.expire(datetime.now(UTC) + timedelta(days=1), 1)
    (letter, *_) = stores.letters.latest(1)
    stores.letters.discard(letter.id, "no use", "ann")
    stores.letters.forget_settled(datetime.now(UTC) + timedelta(days=1), 10)
    later = stores.counts.records()
    assert later.others == {"saga_history": 11, "dead_letters": 1, "executions": 1}
    assert {status: number for status, number in later.sagas.items() if number} == {
        "STARTED": 1, "COMPENSATING": 1, "STUCK": 1, "COMPLETED": 2, "FAILED": 1, "COMPENSATED": 1,
    }  # fmt: skip


def test_concurrent_writes_are_all_counted(command_pool: Pool) -> None:
    sagas, letters = PostgresSagaStore(command_pool), PostgresDeadLetters(command_pool)
    stores = Stores(sagas, letters, PostgresExecutions(command_pool), PostgresCounts(command_pool))

    def write(number: int) -> None:
        for n in range(10):
            saga = saved(sagas, SagaStatus.STARTED, entries=2)
            sagas.save(replace(saga, progress=Progress(saga.progress.saga_id, SagaStatus.COMPLETED)), [], [])
            stores.decode_dead_letter(n)  # the same letters by all
            letters.claim(LetterFilter(), 3)
            stores.executions.write([executed()])
            if n % 3 == 0:
                sagas.forget_histories(datetime.now(UTC) + timedelta(days=1), 5)
                letters.discard(letters.latest(1)[0].id, "no use", str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    with command_pool.connection() as connection:
        there = {
            table: (connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() or (0,))[0]
            for table in ("saga_history", "dead_letters", "executions")
        }
    records = stores.counts.records()
    assert records.others == there
    assert {status: number for status, number in records.sagas.items() if number} == {"COMPLETED": 80}


def test_the_migration_counts_the_records_that_are_there(empty_database: str) -> None:
    migrate_as_previously(empty_database, "command_database", below="0006")
    with psycopg.connect(empty_database) as connection:
        for status, command in [("FAILED", "ReleaseInventory"), ("FAILED", "FailOrder"), ("STARTED", "CancelShipping")]:
            saga = json.dumps({"id": str(uuid7()), "type": "S", "status": status, "progress": {"status": status},
                               "correlation_id": "c"})  # fmt: skip
            entries = json.dumps([{"kind": "command", "name": command, "data": {}}])
            connection.execute("SELECT save_saga(%s, 0, %s, '[]')", (saga, entries))
    migrate(empty_database, COMMAND_DATABASE)
    with connect(empty_database, 1) as pool:
        records = PostgresCounts(pool).records()
    assert records.sagas == {"FAILED": 1, "COMPENSATED": 1, "STARTED": 1}
    assert records.others == {"saga_history": 3}
    assert records.updated_at is not None


@pytest.fixture
def reader(event_store_url: str, command_url: str) -> Iterator[tuple[Pool, Pool]]:
    """Both databases for a role that may only read, and insert executions."""
    name = f"reader_{uuid7().hex}"
    for url in (event_store_url, command_url):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {name}".encode() if url == event_store_url else b"SELECT")
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}".encode())
            if url == command_url:
                connection.execute(f"GRANT INSERT ON executions TO {name}".encode())
    as_reader: Any = {"connection_class": Session, "kwargs": {"options": f"-c role={name}", "autocommit": True}}
    with Pool(event_store_url, **as_reader) as events, Pool(command_url, **as_reader) as command:
        yield events, command


def test_inserting_needs_no_right_on_the_counters(reader: tuple[Pool, Pool], event_store_pool: Pool) -> None:
    events, command = reader
    made = EventRecord(uuid7(), "order-1", 1, "Happened", 1, {}, fresh(), datetime.now(UTC))
    PostgresEventStore(event_store_pool).append(Append([made]))
    assert PostgresEventLog(events).counts().of("order") == 1
    counts = PostgresCounts(command)
    counts.add(batch(CreateOrder=Tally(1, 0, 1)))
    PostgresExecutions(command).write([executed()])
    assert plain(counts.executions().ever) == {("command", "CreateOrder"): Tally(1, 0, 1)}
    assert counts.records().others == {"executions": 1}
    with command.connection() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM record_counts")


def test_an_emptied_table_counts_nothing(stores: Stores, request: pytest.FixtureRequest) -> None:
    if isinstance(stores.counts, PostgresCounts):
        stores.executions.write([executed()])
        pool: Pool = request.getfixturevalue("command_pool")
        with pool.connection() as connection:
            connection.execute("TRUNCATE executions")
    assert stores.counts.records().others.get("executions", 0) == 0


@pytest.fixture(scope="module")
def large(postgres: str) -> Iterator[psycopg.Connection[TupleRow]]:
    """Yield a command database with a long history."""
    with psycopg.connect(copy_database(postgres, "command"), autocommit=True) as connection:
        connection.execute(
            """INSERT INTO executions SELECT gen_random_uuid(), 'command', 'Name', 'success', 1, NULL, NULL, '{}', 'c',
               now() FROM generate_series(1, 100000) AS n"""
        )
        connection.execute(
            """INSERT INTO sagas (id, type, version, status, progress, correlation_id)
               SELECT gen_random_uuid(), 'S', 1, 'COMPLETED', '{}', 'c' FROM generate_series(1, 100000)"""
        )
        connection.execute(
            """INSERT INTO execution_counts SELECT date_trunc('minute', now()) - make_interval(mins => n / 48),
               'query', '', n % 48, 1, 0, 10 FROM generate_series(0, 48 * 1500) AS n
               UNION ALL SELECT '-infinity', 'query', 'name' || n / 16, n % 16, 1, 0, 1 FROM generate_series(0, 999) AS n"""
        )
        connection.execute("VACUUM ANALYZE")
        yield connection


@pytest.mark.parametrize("query", [EVER, LATELY, RECORDS])
def test_reading_the_counts_reads_few_rows(large: psycopg.Connection[TupleRow], query: str) -> None:
    values = (timedelta(minutes=5),) if query == LATELY else None
    row = large.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".encode(), values).fetchone()
    assert large.execute(RECORDS).fetchone()
    assert row is not None
    assert touched(row[0][0]["Plan"]) < 3000, json.dumps(row[0], indent=1)


def touched(plan: dict[str, Any]) -> float:
    """Return the number of rows that the plan's scans have read."""
    own = plan["Actual Loops"] * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0))
    children = plan.get("Plans", ())
    return float(own if not children else sum(touched(child) for child in children))


def test_unfinished_sagas_are_those_that_have_not_ended() -> None:
    statuses = {"STARTED": 1, "COMPENSATING": 2, "STUCK": 4, "COMPLETED": 8, "FAILED": 16, "COMPENSATED": 32}
    assert RecordTotals(statuses, {}, None).unfinished == 7
