"""A server that hangs delays a request no longer than its time limit, and the process recovers by itself."""

import os
import signal
import time

import pytest

from shared.domain.errors import TimedOut, Unavailable
from shared.event_store.postgres import PostgresEventStore
from shared.postgres.pool import Pool, connect
from shared.resilience.calls import deadline


def test_a_statement_takes_no_longer_than_the_request_has(event_store_pool: Pool) -> None:
    started = time.monotonic()
    with (
        pytest.raises(TimedOut, match="the store did not answer in time"),
        deadline(0.3),
        event_store_pool.use("the store") as connection,
    ):
        connection.execute("SELECT pg_sleep(20)")
    assert time.monotonic() - started < 2
    assert PostgresEventStore(event_store_pool).read(["a"]) == {"a": []}


def test_a_server_process_that_hangs_is_abandoned(event_store_url: str) -> None:
    with connect(event_store_url, 1) as pool:
        store = PostgresEventStore(pool)
        with pool.connection() as connection:
            backend = connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        try:
            started = time.monotonic()
            with pytest.raises(TimedOut), deadline(0.5):
                store.read(["a"])
            assert time.monotonic() - started < 2
            assert store.read(["a"]) == {"a": []}  # on another connection
        finally:
            os.kill(backend, signal.SIGCONT)


def test_after_the_deadline_no_statement_is_sent(event_store_pool: Pool) -> None:
    with deadline(0.01):
        time.sleep(0.02)
        with pytest.raises(TimedOut, match="the time for this request is up"):
            PostgresEventStore(event_store_pool).read(["a"])


def test_a_request_waits_for_an_exhausted_pool_no_longer_than_it_has_time(event_store_url: str) -> None:
    with connect(event_store_url, 1) as pool, pool.use("the store"):
        started = time.monotonic()
        with pytest.raises(Unavailable), deadline(0.3):
            PostgresEventStore(pool).read(["a"])
        assert time.monotonic() - started < 2
