"""The history of executions: the same on both engines, never in anybody's way."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import Event

import psycopg
import pytest

from shared.dead_letters.memory import MemoryDeadLetters
from shared.domain.errors import Unavailable
from shared.monitoring.counts import MemoryCounts
from shared.monitoring.executions import Execution, ExecutionFilter, Executions, MemoryExecutions, PostgresExecutions
from shared.monitoring.recorder import Recorder
from shared.postgres.pool import Pool
from shared.sagas.memory import MemorySagaStore

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


def test_what_is_written_is_found_as_it_was_newest_first(executions: Executions) -> None:
    written = [executed(n) for n in range(5)]
    executions.write(written)
    executions.write(written)  # again, after an answer that was lost
    assert executions.find(ExecutionFilter("command")) == written[::-1]
    assert executions.find(ExecutionFilter("command", limit=2)) == written[:2:-1]
    assert executions.find(ExecutionFilter("query")) == []


def test_it_is_narrowed_by_name_status_and_moment(executions: Executions) -> None:
    ordered, failed, cancelled = executed(1), executed(2, status="CONFLICT"), executed(3, "CancelOrder")
    executions.write([ordered, failed, cancelled])
    assert executions.find(ExecutionFilter("command", name="CreateOrder")) == [failed, ordered]
    assert executions.find(ExecutionFilter("command", name="CreateOrder", status="success")) == [ordered]
    assert executions.find(ExecutionFilter("command", after=NOW + timedelta(0, 1))) == [failed, cancelled]


def test_all_that_followed_from_one_request_is_found_together(executions: Executions) -> None:
    mine, others = [executed(n, correlation="mine") for n in range(3)], [executed(1, correlation="other")]
    executions.write([*others, *mine])
    assert executions.of_correlation("mine", 10) == mine


def test_what_is_old_is_deleted_a_few_at_a_time(executions: Executions) -> None:
    executions.write([executed(n) for n in range(5)])
    before = NOW + timedelta(0, 3)
    assert [executions.expire(before, 2) for _ in range(3)] == [2, 1, 0]
    assert [one.recorded_at for one in executions.find(ExecutionFilter("command"))] == [NOW + timedelta(0, 4), before]


def test_whatever_was_asked_can_be_kept(command_pool: Pool) -> None:
    store = PostgresExecutions(command_pool)
    store.write([Execution("query", "a\0b", "success", 1, "c\0", "e\0", data={"term\0": "\0 \ud800 🍵"})])
    (found,) = store.find(ExecutionFilter("query"))
    assert "\0" not in found.name


def counts() -> MemoryCounts:
    return MemoryCounts(MemorySagaStore(), MemoryDeadLetters(), MemoryExecutions())


class Slow(MemoryExecutions):
    """Takes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = Event()

    def write(self, executions: Sequence[Execution]) -> None:
        self.let.wait(10)
        super().write(executions)


class Down(MemoryExecutions):
    def write(self, executions: Sequence[Execution]) -> None:
        raise Unavailable("down")


def test_recording_waits_for_nobody_and_what_is_too_much_is_dropped() -> None:
    slow = Slow()
    recorder = Recorder(slow, counts(), every=0.01, room=20)
    started = time.monotonic()
    for n in range(2000):
        recorder.record(executed(n))
    assert time.monotonic() - started < 1
    slow.let.set()
    recorder.close()
    assert 20 <= len(slow.find(ExecutionFilter("command", limit=5000))) < 2000


def test_a_store_that_is_down_is_tried_again_with_what_comes_next() -> None:
    down = Down()
    recorder = Recorder(down, counts(), every=0.01)
    recorder.record(executed(1))
    recorder.flush()
    recorder._executions = working = MemoryExecutions()
    recorder.record(executed(2))
    recorder.close()
    assert [one.recorded_at for one in working.find(ExecutionFilter("command"))] == [NOW + timedelta(0, 2)]


def test_what_waits_is_written_at_the_end() -> None:
    working = MemoryExecutions()
    recorder = Recorder(working, counts(), every=60)
    recorder.record(executed(1))
    recorder.close()
    assert len(working.find(ExecutionFilter("command"))) == 1


def test_of_successes_only_a_sample_is_kept_and_of_failures_all() -> None:
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
        ExecutionFilter("command", name="Name7", after=NOW - timedelta(0, 100)),
        ExecutionFilter("command", after=NOW - timedelta(0, 100)),
    ],
)
def test_a_history_of_a_hundred_thousand_is_not_read_for_a_page_of_it(
    command_url: str, command_pool: Pool, wanted: ExecutionFilter
) -> None:
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
