"""PostgreSQL restarts while its clients idle; no client sees an error once the database is back."""

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from uuid_utils.compat import uuid7

from scripts.local.emulators import start_postgres
from shared.domain.errors import Unavailable
from shared.event_store.log import PostgresEventLog
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, EventRecord
from shared.observability.context import Context
from shared.postgres.migrations import migrate
from shared.postgres.pool import Pool, connect
from shared.resilience import clock
from tests.databases import EVENT_STORE, restart_postgres
from tests.failure.proxy import Proxy
from tests.fakes import MovableClock

SIZE = 4


class Server:
    """`url`: goes through the proxy."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self._data = home / "data"
        self._direct, _, stop = start_postgres(self._data)
        stack.callback(stop)
        migrate(self._direct, EVENT_STORE)
        self.proxy = Proxy(f"{conninfo_to_dict(self._direct)['host']}/.s.PGSQL.5432")
        stack.callback(self.proxy.close)
        self.url = make_conninfo(self._direct, host="127.0.0.1", port=str(self.proxy.port))

    def restart(self, how: str) -> None:
        """Return when the server is back. `how`: fast, immediate, or a fail-over that keeps the
        clients' sockets."""
        if how == "fail-over":
            self.proxy.strand()
        restart_postgres(self._data, "fast" if how == "fail-over" else how)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="restarts-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        yield Server(Path(folder), stack)


@pytest.fixture
def pool(server: Server) -> Iterator[Pool]:
    with connect(server.url, SIZE) as pool:
        use_all(pool)
        yield pool


def use_all(pool: Pool) -> None:
    """Open all connections of a pool."""
    together = Barrier(SIZE)

    def wait(_: int) -> None:
        with pool.use("the event store") as connection:
            together.wait(60)
            connection.execute("SELECT 1")

    with ThreadPoolExecutor(SIZE) as threads:
        list(threads.map(wait, range(SIZE)))


def event(stream: str, version: int = 1) -> EventRecord:
    return EventRecord(uuid7(), stream, version, "Happened", 1, {}, Context("c", "k"), datetime.now(UTC))


@pytest.mark.parametrize("how", ["fast", "immediate", "fail-over"])
@pytest.mark.parametrize("idle", [0.0, 1.5])
def test_no_call_fails_once_the_database_is_back(server: Server, pool: Pool, how: str, idle: float) -> None:
    store, log = PostgresEventStore(pool), PostgresEventLog(pool)
    time.sleep(idle)
    server.restart(how)
    if how == "fail-over":
        time.sleep(1.1)  # a fail-over takes longer than a connection may idle unchecked
    began = time.monotonic()
    streams = [f"{how}-{uuid7()}" for _ in range(3 * SIZE)]
    with ThreadPoolExecutor(SIZE) as threads:
        list(threads.map(lambda stream: store.append(Append([event(stream)])), streams))
        found = list(threads.map(lambda stream: len(log.of_streams([stream], [], 0, 10)), streams))
    assert found == [1] * len(streams)
    assert time.monotonic() - began < 14  # a statement that waits in vain takes 15 seconds


def test_a_read_whose_connection_is_lost_meanwhile_is_repeated(server: Server, pool: Pool) -> None:
    with psycopg.connect(server.url) as other, ThreadPoolExecutor(1) as threads:
        other.execute("LOCK TABLE events")
        read = threads.submit(pool.rows, "the event store", "SELECT count(*) >= 0 FROM events")
        end_backend(server, "query LIKE 'SELECT count(*) >= 0%'")
        other.rollback()
        assert read.result(60) == [(True,)]


def test_a_write_whose_connection_is_lost_meanwhile_is_not_repeated(server: Server, pool: Pool) -> None:
    """It may have been committed; the client repeats its command with the same idempotency key."""
    store, stream = PostgresEventStore(pool), f"s-{uuid7()}"
    store.append(Append([event(stream)]))
    with psycopg.connect(server.url) as other, ThreadPoolExecutor(1) as threads:
        other.execute("LOCK TABLE events IN SHARE MODE")
        write = threads.submit(store.append, Append([event(stream, 2)]))
        end_backend(server, "query LIKE '%INSERT INTO event_outbox%'")
        with pytest.raises(Unavailable):
            write.result(60)
        other.rollback()
    assert len(store.read([stream])[stream]) == 1


def test_a_busy_connection_is_not_asked_whether_it_is_alive(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, asked = MovableClock(), list[object]()
    machine.stop()  # or it would be idle after a second
    with clock.use(machine), pool.use("the event store") as connection, monkeypatch.context() as patch:
        connection.execute("SELECT 1")
        patch.setattr(connection, "execute", lambda *statement, **_: asked.append(statement))
        assert all(connection.is_alive() for _ in range(1000))
        assert asked == []
        machine.move(1.1)
        assert connection.is_alive()
        assert len(asked) == 1


def end_backend(server: Server, which: str) -> None:
    """Wait until the statement is running, and end its connection."""
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND "
    )
    with psycopg.connect(server.url, autocommit=True) as connection:
        while not (ended := connection.execute((end + which).encode()).fetchall()):
            time.sleep(0.02)
        assert ended == [(True,)]
