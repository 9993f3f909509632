"""The log of all sagas, on both engines: no entry is lost or repeated, and each version is as it
was."""

import json
import multiprocessing
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import TupleRow
from uuid_utils.compat import uuid7

from shared.domain.errors import ConcurrencyError
from shared.event_store.protocol import Checkpoint, Moment
from shared.messaging.outbox import Traffic
from shared.postgres.migrations import migrate
from shared.postgres.pool import Pool, connect
from shared.postgres.slices import Slice
from shared.sagas.definition import Progress
from shared.sagas.memory import MemorySagaLog, MemorySagaStore
from shared.sagas.postgres import LAST_SENT, LATELY, READ_ALL, SENT_AFTER, PostgresSagaLog, PostgresSagaStore
from shared.sagas.postgres_lists import newest
from shared.sagas.status import SagaStatus
from shared.sagas.store import HistoryEntry, SagaEntry, SagaLog, Sagas, SagaStore, StoredSaga
from tests.databases import COMMAND_DATABASE, copy_database, migrate_as_previously, nodes

Both = tuple[SagaStore, SagaLog]
WRITERS, MOVES, SHARED = 6, 60, 3


@pytest.fixture(params=["memory", "postgres"])
def both(request: pytest.FixtureRequest) -> Both:
    if request.param == "memory":
        store = MemorySagaStore()
        return store, MemorySagaLog(store)
    pool: Pool = request.getfixturevalue("command_pool")
    return PostgresSagaStore(pool), PostgresSagaLog(pool)


def command(name: str = "ReserveInventory") -> HistoryEntry:
    return HistoryEntry("command", name, {"orderId": "1"}, uuid7())


def heard(name: str = "OrderCreated") -> HistoryEntry:
    return HistoryEntry("event", name, {"user_id": "hanako"})


def moved(
    store: SagaStore, saga_id: UUID, entries: list[HistoryEntry], status: SagaStatus = SagaStatus.STARTED
) -> StoredSaga:
    """Save one more version of the saga and return it."""
    there = store.load(saga_id) or StoredSaga("OrderSaga", Progress(saga_id), 0, "correlation")
    progress = replace(there.progress, status=status, seen=there.version + 1)
    store.save(replace(there, progress=progress), entries, [])
    return replace(there, progress=progress, version=there.version + 1)


def everything(log: SagaLog, page: int = 100) -> list[SagaEntry]:
    found: list[SagaEntry] = []
    while read := log.read_all(found[-1].checkpoint if found else Checkpoint(), page):
        found += read
    return found


def places(log: SagaLog) -> list[Checkpoint]:
    return [entry.checkpoint for entry in everything(log)]


def test_entries_are_read_in_the_order_in_which_sagas_moved(both: Both) -> None:
    store, log = both
    assert (log.end(), log.read_all(Checkpoint(), 10)) == (Checkpoint(), [])
    one, other = uuid7(), uuid7()
    first, second, third = (
        [heard(), command()],
        [heard("StockAdded")],
        [heard("InventoryReserved"), command("X"), command("Y")],
    )
    moved(store, one, first)
    moved(store, other, second)
    moved(store, one, third)
    entries = everything(log)
    assert [(entry.saga_id, entry.entry.name) for entry in entries] == [
        *((one, entry.name) for entry in first),
        *((other, entry.name) for entry in second),
        *((one, entry.name) for entry in third),
    ]
    assert [entry.entry.message for entry in entries] == [entry.message for entry in [*first, *second, *third]]
    assert all(entry.entry.data == {} for entry in entries if entry.entry.kind == "event")  # it may be personal data
    assert log.end() == entries[-1].checkpoint
    for page in (1, 2, 3):
        assert everything(log, page) == entries


def test_the_last_entry_of_a_version_holds_the_saga_as_it_was(both: Both) -> None:
    store, log = both
    saga_id = uuid7()
    versions, listed = [], []
    for status, entries in ((SagaStatus.STARTED, [heard(), command()]), (SagaStatus.FAILED, [heard("OrderFailed")])):
        versions.append(moved(store, saga_id, entries, status))
        listed.append(store.listed(saga_id))
    found = everything(log)
    assert [entry.saga is not None for entry in found] == [False, True, True]
    assert [entry.saga.saga for entry in found if entry.saga] == versions
    assert [entry.saga for entry in found if entry.saga] == listed


def test_sent_commands_are_found_by_name_and_time(both: Both) -> None:
    store, log = both
    names = ["Reserve", "Charge", "Reserve", "Ship", "Reserve"]
    for name in names:
        moved(
            store, uuid7(), [heard(), command(name), HistoryEntry("command", name, {})]
        )  # the last was never a message
    sent = [entry for entry in everything(log) if entry.entry.message]
    plain = [replace(entry, saga=None) for entry in sent]
    assert log.sent(["Reserve", "Charge", "Ship"], None, 100) == plain[::-1]
    assert log.sent(["Reserve"], None, 2) == [plain[4], plain[2]]
    assert log.sent(["Reserve", "Nothing"], Moment(sent[0].at), 100) == [plain[2], plain[4]]
    assert log.sent(["Reserve", "Charge"], Moment(sent[0].at), 1) == [plain[1]]
    assert log.sent(["Nothing"], None, 10) == log.sent([], None, 10) == log.sent(["Ship"], Moment(sent[3].at), 10) == []


def test_the_counts_of_sent_commands_outlive_the_histories(both: Both) -> None:
    store, log = both
    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert log.traffic(soon - timedelta(hours=1), soon) == {}
    for name in ("Reserve", "Charge", "Reserve"):
        moved(store, uuid7(), [heard(), command(name)], SagaStatus.COMPLETED)
    last = {entry.entry.name: entry.at for entry in everything(log) if entry.entry.message}
    for _ in range(2):
        assert log.traffic(soon - timedelta(hours=1), soon) == {
            "Reserve": Traffic(2, 2, last["Reserve"]),
            "Charge": Traffic(1, 1, last["Charge"]),
        }
    charged = last["Charge"]
    assert log.traffic(charged, soon)["Charge"] == Traffic(1, 0, charged)
    assert log.traffic(charged - timedelta(hours=1), charged)["Charge"] == Traffic(1, 1, charged)
    moved(store, uuid7(), [heard(), command("Charge")], SagaStatus.COMPLETED)  # forgotten before it was counted
    assert store.forget_histories(soon, 100) == 8
    assert everything(log) == log.sent(["Reserve", "Charge"], None, 10) == []
    counts = {name: (one.count, one.lately) for name, one in log.traffic(soon - timedelta(hours=1), soon).items()}
    assert counts == {"Reserve": (2, 0), "Charge": (2, 0)}


def test_a_reader_far_behind_continues_with_what_is_not_forgotten(both: Both) -> None:
    store, log = both
    ended, going_on = uuid7(), uuid7()
    moved(store, ended, [heard(), command()], SagaStatus.COMPLETED)
    moved(store, going_on, [heard(), command()])
    entries = everything(log)
    store.forget_histories(datetime.now(UTC) + timedelta(minutes=1), 1)
    assert places(log) == [entry.checkpoint for entry in entries[1:]]
    store.forget_histories(datetime.now(UTC) + timedelta(minutes=1), 100)
    assert places(log) == [entry.checkpoint for entry in entries[2:]]
    moved(store, going_on, [heard()])
    assert [entry.entry.name for entry in log.read_all(entries[0].checkpoint, 2)] == [
        "OrderCreated",
        "ReserveInventory",
    ]
    assert log.end() > entries[-1].checkpoint


def test_the_end_stays_when_every_entry_is_forgotten(both: Both) -> None:
    """A reader that has read everything is not beyond the end and misses no later entry."""
    store, log = both
    moved(store, uuid7(), [heard(), command()], SagaStatus.COMPLETED)
    end = log.end()
    assert store.forget_histories(datetime.now(UTC) + timedelta(minutes=1), 100) == 2
    assert (everything(log), log.end()) == ([], end)
    moved(store, uuid7(), [heard("Next")])
    assert [entry.entry.name for entry in log.read_all(end, 10)] == ["Next"]
    assert log.end() > end


def write(url: str, writer: int, shared: list[UUID]) -> list[tuple[str, int]]:
    """Move a saga of its own and some that all writers share; return each saved saga and
    version."""
    chosen, own = random.Random(writer), uuid7()
    saved = []
    with connect(url, 1) as pool:
        store = PostgresSagaStore(pool)
        for _ in range(MOVES):
            saga_id = chosen.choice([own, *shared])
            while True:
                try:
                    saga = moved(store, saga_id, [heard(), *[command() for _ in range(chosen.randrange(3))]])
                    break
                except ConcurrencyError:
                    continue
            saved.append((str(saga_id), saga.version))
    return saved


def test_a_reader_that_follows_the_log_sees_every_version_once_and_in_order_while_many_write(
    command_url: str, command_pool: Pool
) -> None:
    log, shared = PostgresSagaLog(command_pool), [uuid7() for _ in range(SHARED)]
    read: list[SagaEntry] = []
    after = Checkpoint()
    with ProcessPoolExecutor(WRITERS, multiprocessing.get_context("spawn")) as processes:
        writing = [processes.submit(write, command_url, writer, shared) for writer in range(WRITERS)]
        while not all(one.done() for one in writing) or log.read_all(after, 1):
            entries = log.read_all(after, 7)
            read += entries
            after = entries[-1].checkpoint if entries else after
        saved = [version for one in writing for version in one.result()]
    sagas = [(str(entry.saga_id), entry.saga.saga.version) for entry in read if entry.saga]
    assert sorted(sagas) == sorted(saved)
    assert len(saved) == WRITERS * MOVES
    versions: dict[str, list[int]] = defaultdict(list)
    for saga_id, version in sagas:
        versions[saga_id].append(version)
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    messages = [entry.entry.message for entry in read if entry.entry.message]
    assert len(set(messages)) == len(messages)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert log.traffic(soon, soon)["ReserveInventory"].count == len(messages)
    for entry in read:  # the saga of each entry is as it was then
        if entry.saga:
            assert entry.saga.saga.progress.seen == entry.saga.saga.version
            assert entry.saga.history[-1][1].name == entry.entry.name


def test_an_entry_that_commits_late_is_not_skipped(command_url: str, command_pool: Pool) -> None:
    store, log = PostgresSagaStore(command_pool), PostgresSagaLog(command_pool)
    slow_id, fast_id = uuid7(), uuid7()
    with psycopg.connect(command_url) as slow:
        saga = {
            "id": str(slow_id),
            "type": "OrderSaga",
            "status": "STARTED",
            "deadline_at": None,
            "correlation_id": "c",
        }
        row = json.dumps(saga | {"progress": {"saga_id": str(slow_id)}})
        entries = json.dumps([{"kind": "command", "name": "Slow", "data": {}, "message": str(uuid7())}])
        slow.execute("SELECT save_saga(%s, 0, %s, '[]')", (row, entries))  # has a place, but is not committed
        moved(store, fast_id, [heard(), command()])
        soon = datetime.now(UTC) + timedelta(minutes=1)
        assert (log.read_all(Checkpoint(), 10), log.end()) == ([], Checkpoint())  # held back, not skipped
        assert log.traffic(soon, soon) == {}
        slow.commit()
    assert [entry.saga_id for entry in log.read_all(Checkpoint(), 10)] == [slow_id, fast_id, fast_id]
    assert {name: one.count for name, one in log.traffic(soon, soon).items()} == {"Slow": 1, "ReserveInventory": 1}


def test_an_entry_that_cannot_be_counted_yet_is_not_forgotten(command_url: str, command_pool: Pool) -> None:
    store, log = PostgresSagaStore(command_pool), PostgresSagaLog(command_pool)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    with psycopg.connect(command_url) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        moved(store, uuid7(), [heard(), command()], SagaStatus.COMPLETED)
        assert store.forget_histories(soon, 100) == 0
    assert store.forget_histories(soon, 100) == 2
    assert log.traffic(soon, soon)["ReserveInventory"].count == 1


def test_a_role_that_may_only_read_can_count_commands(command_url: str, command_pool: Pool) -> None:
    store, role = PostgresSagaStore(command_pool), f"reader_{uuid7().hex}"
    moved(store, uuid7(), [heard(), command()])
    with psycopg.connect(command_url) as connection:
        connection.execute(f"CREATE ROLE {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}".encode())
        connection.commit()
        connection.execute(f"SET ROLE {role}".encode())
        assert connection.execute("SELECT count_saga_commands(100)").fetchone() == (2,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE saga_command_counts SET count = 0")


def test_the_log_continues_in_a_new_epoch_after_a_restore_to_another_cluster(
    command_url: str, command_pool: Pool
) -> None:
    store, log = PostgresSagaStore(command_pool), PostgresSagaLog(command_pool)
    before, after = uuid7(), uuid7()
    moved(store, before, [heard()])
    place = log.end()
    with command_pool.connection() as connection:
        connection.execute("UPDATE epochs SET cluster = 42")
        connection.execute("UPDATE saga_history SET transaction_id = '4000000000'::xid8")
    migrate(command_url, COMMAND_DATABASE)
    moved(store, after, [heard()])
    assert [entry.saga_id for entry in everything(log)] == [before, after]
    assert [entry.saga_id for entry in log.read_all(place._replace(transaction_id=4_000_000_000), 10)] == [after]


def test_code_from_before_the_log_may_still_write(command_url: str, command_pool: Pool) -> None:
    log, saga_id, ids = PostgresSagaLog(command_pool), str(uuid7()), [uuid7(), uuid7()]
    row = {
        "id": saga_id,
        "type": "OrderSaga",
        "status": "STARTED",
        "correlation_id": "c",
        "progress": {"saga_id": saga_id},
    }
    kinds = ["event", "command", "event", "command"]
    entries = [{"kind": kind, "name": f"{kind}{number}", "data": {}} for number, kind in enumerate(kinds)]
    messages = [{"id": str(one), "topic": "t"} for one in ids]
    with psycopg.connect(command_url) as connection:
        given = [json.dumps(one) for one in (row, entries, messages)]
        connection.execute("SELECT save_saga(%s, 0, %s, %s)", given)
    assert [entry.entry.message for entry in everything(log)] == [None, ids[0], None, ids[1]]


def test_histories_of_before_there_was_a_log_are_in_it(empty_database: str) -> None:
    migrate_as_previously(empty_database, "command_database", below="0007")
    saga_id = uuid7()
    with psycopg.connect(empty_database, autocommit=True) as connection:
        for version in range(3):
            progress = {"saga_id": str(saga_id)}
            row = {
                "id": str(saga_id),
                "type": "OrderSaga",
                "status": "STARTED",
                "progress": progress,
                "correlation_id": "c",
            }
            old = [{"kind": "event", "name": "E", "data": {}}, {"kind": "command", "name": f"C{version}", "data": {}}]
            connection.execute("SELECT save_saga(%s, %s, %s, '[]')", (json.dumps(row), version, json.dumps(old)))
    migrate(empty_database, COMMAND_DATABASE)
    with connect(empty_database, 2) as pool:
        store, log = PostgresSagaStore(pool), PostgresSagaLog(pool)
        moved(store, saga_id, [heard("New")])
        entries = everything(log)
        assert [entry.entry.name for entry in entries] == ["E", "C0", "E", "C1", "E", "C2", "New"]
        assert [entry.saga.saga.version for entry in entries if entry.saga] == [4]
        assert len({entry.entry.message for entry in entries if entry.entry.kind == "command"} - {None}) == 3
        assert log.traffic(datetime.now(UTC), datetime.now(UTC)).keys() == {"C0", "C1", "C2"}


@pytest.fixture(scope="module")
def large(postgres: str) -> Iterator[psycopg.Connection[TupleRow]]:
    """Return a database of 20,000 sagas with ten entries each, half of them events.

    Plans are chosen by cost, so a million sagas have the same.
    """
    connection = psycopg.connect(copy_database(postgres, "command"), autocommit=True)
    connection.execute(
        """INSERT INTO sagas (id, type, version, status, progress, correlation_id, created_at)
           SELECT md5(n::text)::uuid, 'OrderSaga', 5, 'COMPLETED', jsonb_build_object('x', repeat('x', 500)), n::text,
               now() - interval '1 second' * (20000 - n)
           FROM generate_series(1, 20000) AS n"""
    )
    connection.execute(
        """INSERT INTO saga_history (saga_id, version, entry, kind, name, data, message, progress, recorded_at)
           SELECT md5(n::text)::uuid, v, e, CASE e WHEN 1 THEN 'event' ELSE 'command' END, 'Type' || e * v, '{}',
               CASE e WHEN 2 THEN gen_random_uuid() END, '{}', now() - interval '1 second' * (20000 - n)
           FROM generate_series(1, 20000) AS n, generate_series(1, 5) AS v, generate_series(1, 2) AS e
           ORDER BY n, v, e"""
    )
    connection.execute("VACUUM ANALYZE sagas, saga_history")
    connection.execute("INSERT INTO saga_command_counts SELECT 'Type6', 0, now()")
    yield connection
    connection.close()


NOW = datetime.now(UTC)
MIDDAY, LAST_ID = NOW - timedelta(hours=2), UUID(int=2**128 - 1)
MIDDLE = "(SELECT transaction_id::text FROM saga_history LIMIT 1)"


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (READ_ALL, {"epoch": 0, "transaction": "0", "position": 0, "limit": 100}),
        (READ_ALL.replace("%(transaction)s", MIDDLE), {"epoch": 1, "position": 50_000, "limit": 100}),
        (LAST_SENT, {"commands": ["Type6", "Type10", *(f"Nothing{n}" for n in range(6))], "limit": 100}),
        (
            SENT_AFTER,
            {"commands": ["Type6", "Nothing"], "after": NOW - timedelta(hours=2), "position": 1, "limit": 100},
        ),
        (LATELY, {"since": NOW - timedelta(minutes=5), "until": NOW}),
        newest(Sagas(), Slice(50, descending=True), 100),
        newest(Sagas(SagaStatus.COMPLETED, "OrderSaga"), Slice(50, descending=True)),
        newest(Sagas(SagaStatus.STUCK), Slice(50, descending=True)),
        newest(Sagas(), Slice(50, after=(MIDDAY, LAST_ID), before=(NOW, LAST_ID))),
        newest(Sagas(SagaStatus.COMPLETED), Slice(50, descending=True, after=(MIDDAY, LAST_ID))),
        newest(Sagas("ACTIVE"), Slice(50, descending=True)),
        newest(Sagas("COMPENSATED"), Slice(50)),
        newest(Sagas(correlation_id="none"), Slice(50)),
        newest(Sagas(started_before=MIDDAY), Slice(50, descending=True)),
    ],
)
def test_no_query_reads_the_whole_log(large: psycopg.Connection[TupleRow], query: str, values: dict[str, Any]) -> None:
    row = large.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".encode(), values).fetchone()
    assert row is not None
    scanned = [node for node in nodes(row[0][0]["Plan"]) if node.get("Relation Name") in ("saga_history", "sagas")]
    touched = sum(n["Actual Loops"] * (n["Actual Rows"] + n.get("Rows Removed by Filter", 0)) for n in scanned)
    assert scanned and touched < 3000, row[0]


def test_no_command_is_counted_twice(large: psycopg.Connection[TupleRow]) -> None:
    counted: Counter[int] = Counter()
    while (number := (large.execute("SELECT count_saga_commands(30000)").fetchone() or (0,))[0]) == 30_000:
        counted[number] += 1
    assert (counted[30_000], number) == (6, 20_000)
    assert large.execute("SELECT count_saga_commands(30000)").fetchone() == (0,)
    assert large.execute("SELECT sum(count) FROM saga_command_counts").fetchone() == (100_000,)
