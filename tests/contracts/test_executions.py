"""The history of executions: the same on both engines, and without delay for any request."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from uuid import UUID

import psycopg
import pytest

from shared.config.manifest import ROOT
from shared.config.settings import Settings
from shared.dead_letters.memory import MemoryDeadLetters
from shared.domain.errors import TimedOut, Unavailable
from shared.monitoring.executions import (
    Execution,
    ExecutionFilter,
    Executions,
    ListedExecutions,
)
from shared.monitoring.memory import MemoryCounts, MemoryExecutions
from shared.monitoring.metrics import exposition
from shared.monitoring.postgres import PostgresCounts, PostgresExecutions
from shared.monitoring.recorder import Recorder
from shared.postgres.pool import Pool, connect
from shared.postgres.slices import Slice
from shared.runtime.current import using
from shared.sagas.memory import MemorySagaStore
from tests.databases import copy_database
from tests.scrapes import values
from tests.shop_in_memory import ShopInMemory
from tests.stand_ins import raising, with_methods

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


def test_the_history_in_memory_forgets_old_executions_but_no_operation_of_an_admin() -> None:
    executions = MemoryExecutions()
    executions.write([replace(executed(0, "RetrySaga"), kind="operation"), executed(1, "CreateOrder")])
    executions.write([executed(2 + number, "CancelOrder") for number in range(10_000)])
    assert executions.count(ListedExecutions("operation")) == 1
    assert executions.count(ListedExecutions("command", "CreateOrder")) == 0


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


def test_what_admins_did_is_never_deleted_and_is_found_by_who_did_it(executions: Executions) -> None:
    done = [replace(executed(n), kind="operation", data={"by": by}) for n, by in enumerate(("ann", "bob", "ann"))]
    executions.write([*done, executed(1)])
    assert executions.expire(NOW + timedelta(1), 10) == 1
    assert executions.page(ListedExecutions("operation"), "recorded_at", Slice(9, descending=True)) == done[::-1]
    assert executions.page(ListedExecutions("operation", by="ann"), "recorded_at", Slice(9)) == [done[0], done[2]]
    assert executions.count(ListedExecutions("operation", by="bob")) == 1


KEPT = ["\\u0000", "\\\\u0000", "\\\\\\u0000", "a\\ud800b", "\\x00", '"\\', "お茶 🍵", "\u2028", "\x01\x7f"]
"""Texts that come back as they were; the first ones are a backslash, u and four zeros."""
REPLACED = {"a\0b": "a\ufffdb", "\\\0": "\\\ufffd", "\ud800": "?", "\udc00\ud800": "??", "\0\\u0000": "\ufffd\\u0000"}


@pytest.mark.parametrize(("text", "found"), [*zip(KEPT, KEPT, strict=True), *REPLACED.items()])
def test_any_text_can_be_stored_and_stays_as_it_is(command_pool: Pool, text: str, found: str) -> None:
    store = PostgresExecutions(command_pool)
    others = [executed(n) for n in range(3)]
    data = {
        "asked": {"searchTerm": text, text: [text, {"in": (text,)}]},
        "numbers": [float("nan"), float("-inf"), 1e300],
    }
    asked = Execution("query", f"a {text}", "success", 1, f"c {text}", f"e {text}", f"s {text}", data)
    store.write([others[0], asked, *others[1:]])
    assert store.find(ExecutionFilter("command")) == others[::-1]
    (one,) = store.find(ExecutionFilter("query"))
    assert (one.name, one.correlation_id, one.error, one.subject) == (
        f"a {found}",
        f"c {found}",
        f"e {found}",
        f"s {found}",
    )
    assert one.data["asked"] == {"searchTerm": found, found: [found, {"in": [found]}]}
    assert one.data["numbers"] == ["nan", "-inf", 1e300]


def test_a_search_for_any_text_erases_nothing_of_other_clients(
    event_store_url: str, command_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099")
    urls = {"event_store_url": event_store_url, "command_database_url": command_url}
    shop = ShopInMemory(Settings(profile="postgres", **urls))  # type: ignore[arg-type]
    with using(shop.engines):
        category = shop.ask('mutation { createCategory(input: {name: "お茶"}) { id } }')["createCategory"]["id"]
        for text in (*KEPT, "a\0b", "\0\\u0000"):
            shop.graphql("query ($term: String!) { searchProducts(searchTerm: $term) { id } }", {"term": text})
        shop.settle()
        shop.engines.recorder.flush()
        entries = shop.ask("{ queryExecutions(limit: 1000) { queryType queryParams } }")["queryExecutions"]
        terms = [one["queryParams"]["searchTerm"] for one in entries if one["queryType"] == "searchProducts"]
        assert set(KEPT) <= set(terms)
        (command,) = shop.ask("{ commandExecutions { aggregateId status } }")["commandExecutions"]
        assert command == {"aggregateId": category, "status": "success"}
        shop.close()


class Dropped:
    """Tells how many executions have been dropped since this object was made."""

    def __init__(self) -> None:
        self._before = self._now()

    def __call__(self) -> dict[tuple[str, ...], float]:
        now = self._now()
        return {
            labels: now[labels] - self._before.get(labels, 0)
            for labels in now
            if now[labels] > self._before.get(labels, 0)
        }

    def _now(self) -> dict[tuple[str, ...], float]:
        return values(exposition([])).get("shop_executions_dropped_total", {})


@pytest.mark.parametrize(("good", "bad"), [(0, 1), (1, 1), (5, 4), (700, 3)])
def test_an_execution_that_the_database_refuses_is_dropped_alone(command_pool: Pool, good: int, bad: int) -> None:
    store, dropped = PostgresExecutions(command_pool), Dropped()
    recorder = Recorder(lambda: (store, PostgresCounts(command_pool)), every=60)
    refused = [replace(executed(n), milliseconds=2**70, name="CancelOrder") for n in range(bad)]
    for execution in (executed(0), *refused, *(executed(n) for n in range(good))):
        recorder.record(execution)
    recorder.flush()
    recorder.close()
    assert len(store.find(ExecutionFilter("command", limit=1000))) == good + 1
    assert dropped() == {("history", "MALFORMED"): bad, ("counts", "MALFORMED"): bad}
    ever = PostgresCounts(command_pool).executions().ever
    assert {name: tally.count for (_, name), tally in ever.items()} == {"CreateOrder": good + 1}


def test_after_a_refused_count_the_next_ones_are_counted(command_pool: Pool) -> None:
    recorder = Recorder(lambda: (PostgresExecutions(command_pool), PostgresCounts(command_pool)), every=60)
    for n in range(3):
        recorder.record(replace(executed(n), milliseconds=2**70, name="CancelOrder"))
        recorder.record(executed(n))
        recorder.flush()
    recorder.close()
    ever = PostgresCounts(command_pool).executions().ever
    assert {name: tally.count for (_, name), tally in ever.items()} == {"CreateOrder": 3}


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Unavailable("down"), "UNAVAILABLE"), (TimedOut("slow"), "UNAVAILABLE"), (KeyError(), "FAILED")],
)
def test_whatever_a_write_raises_the_dropped_ones_are_counted_and_the_counts_come_later(
    error: Exception, reason: str
) -> None:
    stored, dropped = counts(), Dropped()
    failing = [with_methods(MemoryExecutions(), write=raising(error)), with_methods(stored, add=raising(error))]
    recorder = Recorder(lambda: (failing[0], failing[1]), every=0.01)
    for n in range(5):
        recorder.record(executed(n))
        recorder.flush()
    assert dropped() == {("history", reason): 5}
    vars(failing[1]).pop("add")
    recorder.close()
    assert stored.executions().ever_of("command").count == 5


def counts() -> MemoryCounts:
    return MemoryCounts(MemorySagaStore(), MemoryDeadLetters(), MemoryExecutions())


class Slow(MemoryExecutions):
    """Writes nothing before `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()

    def write(self, executions: Sequence[Execution]) -> None:
        self.go.wait(60)
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
    recorder = Recorder(lambda: (slow, counts()), every=0.01, queue_size=20)
    dropped, started = Dropped(), time.monotonic()
    for n in range(2000):
        recorder.record(executed(n))
    assert time.monotonic() - started < 10
    slow.go.set()
    recorder.close()
    written = len(slow.find(ExecutionFilter("command", limit=5000)))
    assert 20 <= written < 2000
    assert dropped() == {("history", "FULL"): 2000 - written}


def test_after_a_failure_the_next_executions_are_written() -> None:
    store = Failing()
    recorder = Recorder(lambda: (store, counts()), every=0.01)
    recorder.record(executed(1))
    recorder.flush()
    store.down = False
    recorder.record(executed(2))
    recorder.close()
    assert [one.recorded_at for one in store.find(ExecutionFilter("command"))] == [NOW + timedelta(0, 2)]


def test_queued_executions_are_written_at_the_end() -> None:
    working = MemoryExecutions()
    recorder = Recorder(lambda: (working, counts()), every=60)
    recorder.record(executed(1))
    recorder.close()
    assert len(working.find(ExecutionFilter("command"))) == 1


LAST_WORDS = """
import sys, time
from shared.config.settings import Settings
from shared.monitoring.executions import Execution
from shared.runtime.engines import Engines

url, ends, opened = sys.argv[1:]
engines = Engines(Settings(profile="postgres", command_database_url=url))
engines.recorder.record(Execution("command", "CreateOrder", "success", 1, "first"))
while opened == "opened" and "_command_pool" not in vars(engines):
    time.sleep(0.01)
engines.recorder.record(Execution("command", "CreateOrder", "success", 1, "last"))
if ends == "closed":
    engines.close()
"""


@pytest.mark.parametrize("opened", ["opened", "not opened"])
@pytest.mark.parametrize("ends", ["closed", "ended"])
def test_a_process_that_ends_writes_what_it_recorded_last(command_url: str, ends: str, opened: str) -> None:
    """The pool is made by the first write, and is closed after the last."""
    subprocess.run([sys.executable, "-c", LAST_WORDS, command_url, ends, opened], cwd=ROOT, check=True, timeout=60)
    with connect(command_url, 1) as pool:
        found = PostgresExecutions(pool).find(ExecutionFilter("command"))
        assert {one.correlation_id for one in found} == {"first", "last"}
        assert PostgresCounts(pool).executions().ever_of("command").count == 2


def test_successes_are_sampled_and_all_failures_are_written() -> None:
    working = MemoryExecutions()
    recorder = Recorder(lambda: (working, counts()), sample=0, every=60)
    for status in ("success", "CONFLICT"):
        recorder.record(executed(1, status=status))
    recorder.close()
    assert [one.status for one in working.find(ExecutionFilter("command"))] == ["CONFLICT"]


@pytest.fixture(scope="module")
def large(postgres: str) -> str:
    """Return the URL of a command database with a long history."""
    url = copy_database(postgres, "command")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO executions SELECT gen_random_uuid(), 'command', 'Name' || n % 20,
               CASE WHEN n % 1000 = 0 THEN 'CONFLICT' ELSE 'success' END, 1, NULL, NULL, '{}', 'c' || n,
               now() - make_interval(secs => n) FROM generate_series(1, 100000) AS n"""
        )
        connection.execute("VACUUM ANALYZE executions")
    return url


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
def test_a_page_of_a_long_history_reads_few_rows(large: str, wanted: ExecutionFilter) -> None:
    with psycopg.connect(large, autocommit=True) as connection, connect(large, 1) as pool:
        before = rows_read(connection)
        assert PostgresExecutions(pool).find(wanted)
        with pool.connection() as used:
            used.execute("SELECT pg_stat_force_next_flush()")
        assert rows_read(connection) - before < 3000


def rows_read(connection: psycopg.Connection) -> int:
    query = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'executions'"
    connection.execute("SELECT pg_stat_force_next_flush()")
    (read,) = connection.execute(query).fetchone() or (0,)
    return int(read)
