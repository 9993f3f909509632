"""A server that hangs delays a request no longer than its time limit, and the process recovers by
itself. Positions may need more than 32 bits."""

import os
import signal
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from uuid_utils.compat import uuid7

from shared.domain.errors import TimedOut, Unavailable
from shared.event_store.log import PostgresEventLog
from shared.event_store.postgres import EVENT_OUTBOX, PostgresEventStore
from shared.event_store.protocol import Append, Checkpoint, EventRecord, Moment
from shared.messaging.postgres import PostgresOutbox
from shared.observability.context import Context
from shared.postgres.pool import Pool, connect
from shared.resilience.calls import deadline
from shared.sagas.definition import Progress
from shared.sagas.postgres import PostgresSagaLog, PostgresSagaStore
from shared.sagas.store import HistoryEntry, StoredSaga

BEYOND = 2**31 + 5
"""More than 32 bits hold."""


def test_a_statement_takes_no_longer_than_the_request_has(event_store_pool: Pool) -> None:
    started = time.monotonic()
    with (
        pytest.raises(TimedOut, match="no answer from the store in time"),
        event_store_pool.use("the store") as connection,
        deadline(0.3),
    ):
        connection.execute("SELECT pg_sleep(60)")
    assert time.monotonic() - started < 14  # a statement without a deadline has 15 seconds
    assert PostgresEventStore(event_store_pool).read(["a"]) == {"a": []}


def test_a_server_process_that_hangs_is_abandoned(event_store_url: str) -> None:
    with connect(event_store_url, 1) as pool, ExitStack() as until_the_end:
        started = time.monotonic()
        with pytest.raises(TimedOut):
            ask_a_process_that_hangs(pool, until_the_end)
        assert time.monotonic() - started < 14  # a statement without a deadline has 15 seconds
        assert PostgresEventStore(pool).read(["a"]) == {"a": []}  # on another connection


def ask_a_process_that_hangs(pool: Pool, until_the_end: ExitStack) -> None:
    """Stop the server's process of a connection, then ask it. The deadline begins afterwards: it
    must not pass before the statement is sent."""
    with pool.use("the store") as connection:
        process = connection.info.backend_pid
        os.kill(process, signal.SIGSTOP)
        until_the_end.callback(os.kill, process, signal.SIGCONT)
        with deadline(0.5):
            connection.execute("SELECT 1")


def test_after_the_deadline_no_statement_is_sent(event_store_pool: Pool) -> None:
    with deadline(0.01):
        time.sleep(0.02)
        with pytest.raises(TimedOut, match="the time for this request is up"):
            PostgresEventStore(event_store_pool).read(["a"])


def test_a_request_waits_for_an_exhausted_pool_no_longer_than_it_has_time(event_store_url: str) -> None:
    with connect(event_store_url, 1) as pool, pool.use("the store"):
        started = time.monotonic()
        with pytest.raises((Unavailable, TimedOut)), deadline(0.3):  # TimedOut: the time was up before it waited
            PostgresEventStore(pool).read(["a"])
        assert time.monotonic() - started < 14


def test_an_event_log_goes_on_beyond_two_thousand_million_positions(event_store_pool: Pool) -> None:
    store, log = PostgresEventStore(event_store_pool, lease_seconds=0), PostgresEventLog(event_store_pool)
    context, began = Context("c", "k"), datetime.now(UTC) - timedelta(seconds=5)
    events = [EventRecord(uuid7(), "order-1", n, "Happened", 1, {}, context, datetime.now(UTC)) for n in (1, 2, 3)]
    store.append(Append(events[:1]))
    with event_store_pool.connection() as connection:
        connection.execute("SELECT setval(pg_get_serial_sequence('events', 'position'), %s, false)", (BEYOND,))
    store.append(Append(events[1:2]))
    store.append(Append(events[2:]))

    ids = [event.id for event in events]
    assert [seen.position for seen in log.everything(1, 10)] == [BEYOND, BEYOND + 1]
    after = [(BEYOND, ids[2:]), (BEYOND + 1, []), (1, ids[1:]), (BEYOND - 1, ids[1:])]
    for position, rest in after:
        for found in (
            log.everything(position, 10),
            log.of_types(["Happened"], position, 10),
            log.of_streams(["order-1"], [], position, 10),
        ):
            assert [seen.event.id for seen in found] == rest
    for found in (log.recent(1), log.by_time(["Happened"], None, 1), log.last_of(["order-1"], store.end())):
        assert [seen.position for seen in found] == [BEYOND + 1]
    assert [seen.event.id for seen in log.by_time(["Happened"], Moment(began), 10)] == ids
    assert [seen.position for seen in log.of_ids(ids)] == [1, BEYOND, BEYOND + 1]
    assert (log.counts().counted_to, log.counts().last_position, log.counts().of("order")) == (
        BEYOND + 1,
        BEYOND + 1,
        3,
    )
    first = store.read_all(Checkpoint(), 2)[-1].checkpoint
    assert first.position == BEYOND
    assert [entry.event.id for entry in store.read_all(first, 10)] == ids[2:]
    assert store.end() == store.read_stream("order-1", 2, 10)[0].checkpoint
    assert [message.id for message in PostgresOutbox(event_store_pool, EVENT_OUTBOX).claim(10)] == ids


def test_a_log_of_sagas_goes_on_beyond_two_thousand_million_positions(command_pool: Pool) -> None:
    sagas, log, saga_id = PostgresSagaStore(command_pool), PostgresSagaLog(command_pool), uuid7()
    with command_pool.connection() as connection:
        connection.execute("SELECT setval(pg_get_serial_sequence('saga_history', 'position'), %s, false)", (BEYOND,))
    sent = [HistoryEntry("command", "ReserveInventory", {}, uuid7()) for _ in range(2)]
    sagas.save(StoredSaga("OrderSaga", Progress(saga_id), 0, "correlation"), sent, [])
    entries = log.read_all(Checkpoint(), 10)
    assert [entry.checkpoint.position for entry in entries] == [BEYOND, BEYOND + 1]
    assert log.read_all(entries[0].checkpoint, 10) == entries[1:]
    assert log.end() == entries[1].checkpoint
    assert len(log.sent(["ReserveInventory"], None, 10)) == 2
    now = datetime.now(UTC)
    assert log.traffic(now - timedelta(minutes=1), now)["ReserveInventory"].count == 2
