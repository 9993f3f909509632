"""A server that hangs holds up nobody for longer than they can wait, and nothing has to be restarted afterwards."""

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


def test_a_server_process_that_hangs_is_given_up(event_store_url: str) -> None:
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
            assert store.read(["a"]) == {"a": []}  # over another connection
        finally:
            os.kill(backend, signal.SIGCONT)


def test_when_the_time_is_up_the_database_is_not_asked(event_store_pool: Pool) -> None:
    with deadline(0.01):
        time.sleep(0.02)
        with pytest.raises(TimedOut, match="the time for this request is up"):
            PostgresEventStore(event_store_pool).read(["a"])


def test_a_pool_that_is_exhausted_is_waited_for_no_longer_than_the_request_has(event_store_url: str) -> None:
    with connect(event_store_url, 1) as pool, pool.use("the store"):
        started = time.monotonic()
        with pytest.raises(Unavailable), deadline(0.3):
            PostgresEventStore(pool).read(["a"])
        assert time.monotonic() - started < 2
