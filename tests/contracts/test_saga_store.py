"""The contract of saga stores, on PostgreSQL and in memory."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow
from uuid_utils.compat import uuid7

from shared.domain.errors import ConcurrencyError
from shared.messaging.envelope import ONLY_FOR, Message, postponed
from shared.messaging.memory import MemoryOutbox
from shared.messaging.outbox import Backlog, Outbox
from shared.messaging.postgres import PostgresOutbox
from shared.observability.context import Context
from shared.postgres.pool import Pool
from shared.sagas.definition import END
from shared.sagas.memory import MemorySagaStore
from shared.sagas.outbox import SAGA_OUTBOX
from shared.sagas.postgres import COUNTS, PostgresSagaStore
from shared.sagas.postgres_lists import AT_STEPS, COUNT_HELD_UP
from shared.sagas.status import SagaStatus
from shared.sagas.store import HeldUp, HistoryEntry, SagaBacklog, SagaCount, Sagas, SagaStore, StoredSaga
from tests.databases import nodes
from tests.new_saga import NOW, new_saga


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> tuple[SagaStore, Outbox]:
    if request.param == "memory":
        memory = MemoryOutbox(lease_seconds=-1)
        return MemorySagaStore(memory), memory
    pool: Pool = request.getfixturevalue("command_pool")
    return PostgresSagaStore(pool), PostgresOutbox(pool, SAGA_OUTBOX)


@pytest.fixture
def sagas(stores: tuple[SagaStore, Outbox]) -> SagaStore:
    return stores[0]


def test_a_saved_saga_is_loaded(sagas: SagaStore) -> None:
    saga = new_saga()
    history = [HistoryEntry("event", "OrderCreated", {"a": 1}), HistoryEntry("command", "ReserveInventory", {})]
    sagas.save(saga, history, [])
    assert sagas.load(saga.progress.saga_id) == replace(saga, version=1)
    assert sagas.history(saga.progress.saga_id) == history


def test_an_unknown_saga_is_none(sagas: SagaStore) -> None:
    assert sagas.load(uuid7()) is None


def test_many_sagas_are_loaded_at_once_without_the_unknown(sagas: SagaStore) -> None:
    saved = [new_saga() for _ in range(3)]
    for saga in saved:
        sagas.save(saga, [], [])
    asked = [saga.progress.saga_id for saga in saved[:2]]
    assert sagas.load_many([*asked, uuid7()]) == {one: sagas.load(one) for one in asked}
    assert sagas.load_many([]) == {}


def test_only_the_loaded_version_can_be_saved_again(sagas: SagaStore) -> None:
    saga = new_saga()
    sagas.save(saga, [], [])
    for stale in (0, 2):
        with pytest.raises(ConcurrencyError):
            sagas.save(replace(saga, version=stale), [HistoryEntry("timer", "DeadlinePassed", {})], [])
    moved = replace(saga, version=1, progress=replace(saga.progress, status=SagaStatus.COMPLETED, deadline_at=None))
    sagas.save(moved, [], [])
    assert sagas.load(saga.progress.saga_id) == replace(moved, version=2)
    assert sagas.history(saga.progress.saga_id) == []


def test_of_concurrent_saves_of_one_version_only_one_succeeds(sagas: SagaStore) -> None:
    saga = new_saga()

    def save(_: int) -> bool:
        try:
            sagas.save(saga, [HistoryEntry("event", "OrderCreated", {})], [])
        except ConcurrencyError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(save, range(8))).count(True) == 1
    assert len(sagas.history(saga.progress.saga_id)) == 1


def test_sagas_are_due_when_their_deadline_has_passed_longest_overdue_first(sagas: SagaStore) -> None:
    late, later, early, ended = (
        new_saga(NOW - timedelta(seconds=1)),
        new_saga(NOW - timedelta(seconds=9)),
        new_saga(NOW + timedelta(seconds=1)),
        new_saga(None),
    )
    for saga in (late, later, early, ended):
        sagas.save(saga, [], [])
    assert sagas.due(NOW, 10) == [later.progress.saga_id, late.progress.saga_id]
    assert sagas.due(NOW, 1) == [later.progress.saga_id]


def test_commands_are_stored_with_the_version_that_sends_them_or_not_at_all(
    stores: tuple[SagaStore, Outbox], request: pytest.FixtureRequest
) -> None:
    sagas, outbox = stores
    saga = new_saga()
    sent = Message("reserve-inventory", "ReserveInventory", "order-1", {"orderId": "1"}, Context("c", "d"))
    sagas.save(saga, [], [sent])
    with pytest.raises(ConcurrencyError):
        sagas.save(saga, [], [replace(sent, id=uuid7())])
    if isinstance(sagas, PostgresSagaStore):
        pool: Pool = request.getfixturevalue("command_pool")
        with pool.connection() as connection:
            connection.execute("UPDATE saga_outbox SET leased_until = now() - interval '1 second'")
    assert outbox.claim(10) == [sent]


def test_the_backlog_counts_overdue_and_stuck_sagas(sagas: SagaStore) -> None:
    assert sagas.backlog(NOW) == SagaBacklog(0, 0)
    for seconds in (-9, -1, 0, 1):
        sagas.save(new_saga(NOW + timedelta(seconds=seconds)), [], [])
    for status in (SagaStatus.STUCK, SagaStatus.STUCK, SagaStatus.COMPLETED):
        saga = new_saga(None)
        sagas.save(replace(saga, progress=replace(saga.progress, status=status)), [], [])
    assert sagas.backlog(NOW) == SagaBacklog(3, 2)
    assert sagas.backlog(NOW - timedelta(seconds=5)) == SagaBacklog(1, 2)


def test_sagas_are_counted_by_status_with_the_time_of_the_oldest(sagas: SagaStore) -> None:
    assert sagas.counts() == {}
    first, *others = (
        moved(sagas, status)
        for status in (SagaStatus.STARTED, SagaStatus.STARTED, SagaStatus.STUCK, SagaStatus.STARTED)
    )
    done = replace(others[0], version=1, progress=replace(others[0].progress, status=SagaStatus.COMPLETED))
    sagas.save(done, [], [])
    begun = {one.saga.progress.saga_id: one.created_at for one in sagas.newest(10)}
    assert sagas.counts() == {
        SagaStatus.STARTED: SagaCount(2, begun[first.progress.saga_id]),
        SagaStatus.STUCK: SagaCount(1, begun[others[1].progress.saga_id]),
        SagaStatus.COMPLETED: SagaCount(1, begun[done.progress.saga_id]),
    }


def test_sagas_are_counted_with_an_index_only_scan(command_connection: Connection[TupleRow]) -> None:
    command_connection.execute(
        """INSERT INTO sagas (id, type, version, status, progress, correlation_id)
           SELECT gen_random_uuid(), 'OrderSaga', 1, 'COMPLETED', '{}', 'c' FROM generate_series(1, 20000)"""
    )
    command_connection.execute("VACUUM ANALYZE sagas")
    row = command_connection.execute(f"EXPLAIN (FORMAT JSON) {COUNTS}".encode()).fetchone()
    assert row is not None
    assert "'Index Only Scan'" in str(row[0]) and "'Seq Scan'" not in str(row[0]), row[0]


def test_the_outbox_counts_its_messages_and_gives_the_time_of_the_oldest(stores: tuple[SagaStore, Outbox]) -> None:
    sagas, outbox = stores
    assert outbox.backlog() == Backlog(0, None)
    sent = [Message("t", "T", "order-1", {}, Context("c", "d"), time=NOW - timedelta(seconds=n)) for n in (0, 90, 5)]
    for message in sent:
        sagas.save(new_saga(), [], [message])
    assert outbox.backlog() == Backlog(3, NOW - timedelta(seconds=90))
    outbox.claim(10)
    assert outbox.backlog().waiting == 3
    outbox.delete([sent[1].id])
    assert outbox.backlog() == Backlog(2, NOW - timedelta(seconds=5))


def moved(sagas: SagaStore, status: SagaStatus, history: int = 2) -> StoredSaga:
    """Save a saga with this many history entries, half of them events, half commands."""
    saga = new_saga()
    entries = [
        HistoryEntry("event", "OrderCreated", {"user_id": "hanako"}),
        HistoryEntry("command", "ReserveInventory", {"orderId": "1"}),
    ]
    sagas.save(replace(saga, progress=replace(saga.progress, status=status)), entries * (history // 2), [])
    return saga


def test_sagas_are_listed_newest_first_with_their_histories(sagas: SagaStore) -> None:
    first, second, third = (moved(sagas, status) for status in (SagaStatus.STUCK, SagaStatus.FAILED, SagaStatus.STUCK))
    listed = sagas.newest(10)
    assert [one.saga.progress.saga_id for one in listed] == [one.progress.saga_id for one in (third, second, first)]
    assert [one.saga.progress.saga_id for one in sagas.newest(1, 1)] == [second.progress.saga_id]
    stuck = sagas.newest(10, 0, Sagas(SagaStatus.STUCK, "OrderSaga"))
    assert [one.saga.progress.saga_id for one in stuck] == [third.progress.saga_id, first.progress.saga_id]
    assert sagas.newest(10, 0, Sagas(type="Other")) == []
    one = sagas.listed(first.progress.saga_id)
    assert one == listed[2]
    assert one.created_at <= one.updated_at
    assert [entry for _, entry in one.history] == [
        HistoryEntry("event", "OrderCreated", {}),  # an event may hold personal data
        HistoryEntry("command", "ReserveInventory", {"orderId": "1"}),
    ]
    assert all(abs(at - datetime.now(UTC)) < timedelta(minutes=5) for at, _ in one.history)
    assert sagas.listed(uuid7()) is None


def test_the_histories_of_ended_sagas_are_forgotten_but_not_the_sagas(sagas: SagaStore) -> None:
    ended, stuck = moved(sagas, SagaStatus.FAILED, 4), moved(sagas, SagaStatus.STUCK)
    assert sagas.forget_histories(NOW - timedelta(days=1), 100) == 0
    assert sagas.forget_histories(datetime.now(UTC) + timedelta(days=1), 3) == 3
    assert sagas.forget_histories(datetime.now(UTC) + timedelta(days=1), 3) == 1
    assert sagas.forget_histories(datetime.now(UTC) + timedelta(days=1), 3) == 0
    assert sagas.history(ended.progress.saga_id) == []
    assert len(sagas.history(stuck.progress.saga_id)) == 2
    assert sagas.load(ended.progress.saga_id) is not None


def test_listing_sagas_takes_one_statement(command_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    sagas, statements = PostgresSagaStore(command_pool), []
    for _ in range(5):
        moved(sagas, SagaStatus.FAILED)
    execute = Connection.execute

    def counting(connection: Any, statement: Any, *args: Any, **more: Any) -> Any:
        statements.append(statement)
        return execute(connection, statement, *args, **more)

    monkeypatch.setattr(Connection, "execute", counting)
    assert [len(one.history) for one in sagas.newest(10)] == [2] * 5
    assert len([one for one in statements if "saga_history" in str(one)]) == len(statements) == 1


def test_sagas_are_held_up_when_stuck_overdue_or_sending_again(sagas: SagaStore) -> None:
    def saved(**progress: Any) -> StoredSaga:
        saga = new_saga()
        saga = replace(saga, progress=replace(saga.progress, **progress))
        sagas.save(saga, [HistoryEntry("command", "ReserveInventory", {}, uuid7())], [])
        return replace(saga, version=1)

    soon, passed = NOW + timedelta(minutes=1), NOW - timedelta(minutes=3)
    saved(attempts=1, deadline_at=soon)
    saved(attempts=4, deadline_at=None, status=SagaStatus.COMPLETED)
    again = saved(attempts=2, deadline_at=soon)
    overdue = saved(attempts=1, deadline_at=passed)
    stuck = saved(attempts=9, deadline_at=None, status=SagaStatus.STUCK)
    found = sagas.held_up(NOW - timedelta(minutes=2), 10)
    assert [one.saga for one in found] == [again, overdue, stuck]
    assert [entry.name for _, entry in found[0].history] == ["ReserveInventory"]
    saved(attempts=2, deadline_at=soon)
    assert [one.saga for one in sagas.held_up(NOW - timedelta(minutes=2), 1)] == [again, overdue, stuck]
    saved(attempts=3, deadline_at=passed)
    saved(attempts=3, deadline_at=soon, status=SagaStatus.STUCK)
    assert sagas.count_held_up(NOW - timedelta(minutes=2)) == HeldUp(stuck=2, overdue=2, repeating=2)
    assert len(sagas.held_up(NOW - timedelta(minutes=2), 10)) == 6


def test_unfinished_sagas_are_counted_by_the_step_that_they_are_at(sagas: SagaStore) -> None:
    names = ("ReserveInventory", "ProcessPayment")
    for status, step, steps, version in (
        (SagaStatus.STARTED, 0, names, 2),
        (SagaStatus.STARTED, 1, names, 2),
        (SagaStatus.STARTED, 1, names, 2),
        (SagaStatus.COMPENSATING, 1, names, 2),
        (SagaStatus.STUCK, 1, names, 1),
        (SagaStatus.COMPENSATING, END, (), 1),
        (SagaStatus.COMPLETED, 1, names, 2),
        (SagaStatus.FAILED, END, names, 2),
    ):
        saga = new_saga()
        progress = replace(saga.progress, status=status, step=step, steps=steps, version=version)
        sagas.save(replace(saga, progress=progress), [], [])
    assert {(one.version, one.steps, one.step, one.status): one.sagas for one in sagas.at_steps()} == {
        (2, names, 0, SagaStatus.STARTED): 1,
        (2, names, 1, SagaStatus.STARTED): 2,
        (2, names, 1, SagaStatus.COMPENSATING): 1,
        (1, names, 1, SagaStatus.STUCK): 1,
        (1, (), END, SagaStatus.COMPENSATING): 1,
    }


def test_counting_what_is_unfinished_does_not_read_what_has_ended(
    command_connection: Connection[TupleRow], command_pool: Pool
) -> None:
    command_connection.execute(
        """INSERT INTO sagas (id, type, version, status, progress, correlation_id)
           SELECT gen_random_uuid(), 'OrderSaga', 1, CASE WHEN n % 500 = 0 THEN 'STUCK' ELSE 'COMPLETED' END,
               '{"step": 1, "attempts": 9}', 'c' FROM generate_series(1, 20000) AS n"""
    )
    command_connection.execute("VACUUM ANALYZE sagas")
    for query in (AT_STEPS, COUNT_HELD_UP):
        row = command_connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".encode(), {"since": NOW}).fetchone()
        assert row is not None
        scans = [node for node in nodes(row[0][0]["Plan"]) if node.get("Relation Name") == "sagas"]
        assert scans and sum(one["Actual Rows"] + one.get("Rows Removed by Filter", 0) for one in scans) < 1000
    assert [one.sagas for one in PostgresSagaStore(command_pool).at_steps()] == [40]


def test_a_postponed_message_waits_for_its_time_and_is_found_by_its_subject(stores: tuple[SagaStore, Outbox]) -> None:
    sagas, outbox = stores
    message = Message("process-payment", "ProcessPayment", "order-1", {"orderId": "1"}, Context("c", "k"))
    later = postponed(message, "process-payment.process-payment", "the payment provider")
    sagas.postpone(later, 60)
    assert outbox.claim(10) == []
    assert (outbox.about("order-1"), outbox.about("order-2")) == ([later], [])
    attributes = later.attributes()
    assert (attributes["ce-id"], attributes[ONLY_FOR]) == (str(message.id), "process-payment.process-payment")


def test_a_message_that_is_postponed_again_replaces_the_one_that_waits(stores: tuple[SagaStore, Outbox]) -> None:
    sagas, outbox = stores
    message = Message("process-payment", "ProcessPayment", "order-1", {"orderId": "1"}, Context("c", "k"))

    def postpone(seconds: float, subscription: str = "process-payment.process-payment") -> Message:
        waiting = postponed(message, subscription, "the payment provider")
        sagas.postpone(waiting, seconds)
        return waiting

    first = postpone(60)
    second = postpone(-1)
    elsewhere = postpone(60, "audit.process-payment")
    assert first.id not in {one.id for one in outbox.about("order-1")}
    assert outbox.backlog().waiting == 2
    assert outbox.claim(10) == [second]
    third = postpone(-1)  # by a delivery that comes while the relay publishes
    outbox.delete([second.id])
    assert outbox.about("order-1") == [elsewhere, third]  # the one put back meanwhile is not lost
    assert outbox.claim(10) == [third]
    outbox.delete([third.id])
    assert outbox.about("order-1") == [elsewhere]
    assert postpone(60) in outbox.about("order-1")
