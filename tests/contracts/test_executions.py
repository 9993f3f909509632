"""The history of executions: the same on both engines, and without delay for any request."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import Event
from uuid import UUID

import psycopg
import pytest

from shared.dead_letters.memory import MemoryDeadLetters
from shared.domain.errors import Unavailable
from shared.monitoring.counts import MemoryCounts
from shared.monitoring.executions import Execution, ExecutionFilter, Executions, MemoryExecutions, PostgresExecutions
from shared.monitoring.recorder import Recorder
from shared.postgres.pool import Pool
from shared.sagas.memory import MemorySagaStore

LAST_ID = UUID(int=2**128 - 1)
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(params=["memory", "postgres"])
def executions(request: pytest.FixtureRequest) -> Executions:
    if request.param == "memory":
        return MemoryExecutions()
    pool: Pool = request.getfixturevalue("command_pool")
    return PostgresExecutions(pool)


def executed(seconds: int, name: str = "CreateOrder", status: str = "success", correlation: str = "c") -> Execution:
    data = {"name": "お茶 🍵", "items": [1, None], "price": "1.50"}
    return Execution(
        "command",
        name,
        status,
        12,
        correlation,
        "out of stock",
        "order-1",
        data,
        recorded_at=NOW + timedelta(0, seconds),
    )


def test_executions_are_found_as_they_were_written_newest_first(executions: Executions) -> None:
    written = [executed(n) for n in range(5)]
    executions.write(written)
    executions.write(written)  # again, after an answer that was lost
    assert executions.find(ExecutionFilter("command")) == written[::-1]
    assert executions.find(ExecutionFilter("command", limit=2)) == written[:2:-1]
    assert executions.find(ExecutionFilter("query")) == []


def test_executions_are_filtered_by_name_status_and_moment(executions: Executions) -> None:
    ordered, failed, cancelled = executed(1), executed(2, status="CONFLICT"), executed(3, "CancelOrder")
    executions.write([ordered, failed, cancelled])
    assert executions.find(ExecutionFilter("command", name="CreateOrder")) == [failed, ordered]
    assert executions.find(ExecutionFilter("command", name="CreateOrder", status="success")) == [ordered]
    assert executions.find(ExecutionFilter("command", after=(NOW + timedelta(0, 1), LAST_ID))) == [
        failed,
        cancelled,
    ]


def test_all_executions_of_one_request_are_found_together(executions: Executions) -> None:
    mine, others = [executed(n, correlation="mine") for n in range(3)], [executed(1, correlation="other")]
    executions.write([*others, *mine])
    assert executions.of_correlation("mine", 10) == mine


def test_old_executions_are_deleted_a_few_at_a_time(executions: Executions) -> None:
    executions.write([executed(n) for n in range(5)])
    before = NOW + timedelta(0, 3)
    assert [executions.expire(before, 2) for _ in range(3)] == [2, 1, 0]
    assert [one.recorded_at for one in executions.find(ExecutionFilter("command"))] == [NOW + timedelta(0, 4), before]


def test_any_text_can_be_stored(command_pool: Pool) -> None:
    store = PostgresExecutions(command_pool)
    store.write([Execution("query", "a\0b", "success", 1, "c\0", "e\0", data={"term\0": "\0 \ud800 🍵"})])
    (found,) = store.find(ExecutionFilter("query"))
    assert "\0" not in found.name


def counts() -> MemoryCounts:
    return MemoryCounts(MemorySagaStore(), MemoryDeadLetters(), MemoryExecutions())


class Slow(MemoryExecutions):
    """Writes nothing before `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()

    def write(self, executions: Sequence[Execution]) -> None:
        self.go.wait(10)
        super().write(executions)


class Failing(MemoryExecutions):
    """Raises Unavailable while `down`."""

    down = True

    def write(self, executions: Sequence[Execution]) -> None:
        if self.down:
            raise Unavailable("down")
        super().write(executions)


def test_recording_never_waits_and_drops_what_does_not_fit_the_queue() -> None:
    slow = Slow()
    recorder = Recorder(slow, counts(), every=0.01, queue_size=20)
    started = time.monotonic()
    for n in range(2000):
        recorder.record(executed(n))
    assert time.monotonic() - started < 1
    slow.go.set()
    recorder.close()
    assert 20 <= len(slow.find(ExecutionFilter("command", limit=5000))) < 2000


def test_after_a_failure_the_next_executions_are_written() -> None:
    store = Failing()
    recorder = Recorder(store, counts(), every=0.01)
    recorder.record(executed(1))
    recorder.flush()
    store.down = False
    recorder.record(executed(2))
    recorder.close()
    assert [one.recorded_at for one in store.find(ExecutionFilter("command"))] == [NOW + timedelta(0, 2)]


def test_queued_executions_are_written_at_the_end() -> None:
    working = MemoryExecutions()
    recorder = Recorder(working, counts(), every=60)
    recorder.record(executed(1))
    recorder.close()
    assert len(working.find(ExecutionFilter("command"))) == 1


def test_successes_are_sampled_and_all_failures_are_written() -> None:
    working = MemoryExecutions()
    recorder = Recorder(working, counts(), sample=0, every=60)
    for status in ("success", "CONFLICT"):
        recorder.record(executed(1, status=status))
    recorder.close()
    assert [one.status for one in working.find(ExecutionFilter("command"))] == ["CONFLICT"]


@pytest.mark.parametrize(
    "wanted",
    [
        ExecutionFilter("command"),
        ExecutionFilter("command", name="Name7"),
        ExecutionFilter("command", status="CONFLICT"),
        ExecutionFilter("command", name="Name7", after=(NOW - timedelta(0, 100), LAST_ID)),
        ExecutionFilter("command", after=(NOW - timedelta(0, 100), LAST_ID)),
    ],
)
def test_a_page_of_a_long_history_reads_few_rows(command_url: str, command_pool: Pool, wanted: ExecutionFilter) -> None:
    with psycopg.connect(command_url, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO executions SELECT gen_random_uuid(), 'command', 'Name' || n % 20,
               CASE WHEN n % 1000 = 0 THEN 'CONFLICT' ELSE 'success' END, 1, NULL, NULL, '{}', 'c' || n,
               now() - make_interval(secs => n) FROM generate_series(1, 100000) AS n"""
        )
        connection.execute("VACUUM ANALYZE executions")
        before = rows_read(connection)
        assert PostgresExecutions(command_pool).find(wanted)
        with command_pool.connection() as used:
            used.execute("SELECT pg_stat_force_next_flush()")
        assert rows_read(connection) - before < 3000


def rows_read(connection: psycopg.Connection) -> int:
    query = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'executions'"
    connection.execute("SELECT pg_stat_force_next_flush()")
    (read,) = connection.execute(query).fetchone() or (0,)
    return int(read)
