"""Lists are read page by page, on both engines: complete in both directions, filtered, and by an
index however deep."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import TupleRow
from uuid_utils.compat import uuid7

from shared.dead_letters.failures import Cause
from shared.dead_letters.memory import MemoryDeadLetters
from shared.dead_letters.postgres import PostgresDeadLetters
from shared.dead_letters.postgres_lists import listed as listed_letters
from shared.dead_letters.protocol import DeadLetter, LetterDelivery, Letters
from shared.event_store.log import PostgresEventLog
from shared.event_store.log import listed as listed_events
from shared.event_store.memory import MemoryEventStore
from shared.event_store.memory_log import MemoryEventLog
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, EventRecord, Events, EventStore
from shared.monitoring.executions import Execution, ListedExecutions
from shared.monitoring.memory import MemoryExecutions
from shared.monitoring.postgres import PostgresExecutions
from shared.monitoring.postgres import listed as listed_executions
from shared.observability.context import Context
from shared.postgres.pool import Pool
from shared.postgres.slices import Key, Slice
from shared.sagas.memory import MemorySagaStore
from shared.sagas.postgres import PostgresSagaStore
from shared.sagas.postgres_lists import newest as listed_sagas
from shared.sagas.status import SagaStatus
from shared.sagas.store import Sagas
from tests.databases import copy_database, nodes
from tests.new_saga import new_saga

NOW = datetime.now(UTC).replace(microsecond=0)
COUNT = 11
SOURCE = "order-saga.order-events"
TYPES = ["Made", "Sold"]


@dataclass
class Store:
    """One kind of list on one engine. `add` makes an entry; `everything`: the filter that finds all
    of them."""

    add: Callable[[int], object]
    page: Callable[[Any, Slice], Sequence[Any]]
    count: Callable[[Any], int]
    key: Callable[[Any], Key]
    everything: Any
    filters: Sequence[Any]


def executions_of(store: Any, by: Any) -> Store:
    def add(n: int) -> None:
        name, status = ("CreateOrder", "CancelOrder")[n % 2], ("success", "CONFLICT", "TIMEOUT")[n % 3]
        at = NOW + timedelta(seconds=n // 2)
        about = {"trace": f"t{n % 4}" if n % 3 else None}
        store.write([Execution("command", name, status, 100 - n // 3, f"c{n % 4}", data=about, recorded_at=at)])
        store.write([Execution("query", "orders", "success", 1, "c", recorded_at=at)])

    wanted = ListedExecutions("command")
    filters = [
        replace(wanted, name="CreateOrder"),
        replace(wanted, status="CONFLICT"),
        replace(wanted, name="CancelOrder", status="success"),
        replace(wanted, recorded_after=NOW + timedelta(seconds=2), recorded_before=NOW + timedelta(seconds=4)),
        replace(wanted, name="Nothing"),
        replace(wanted, trace_id="t1"),
        replace(wanted, trace_id="t1", name="CancelOrder"),
        replace(wanted, correlation_id="c2"),
    ]
    key: Callable[[Execution], Key] = lambda one: (getattr(one, by), one.id)  # noqa: E731
    return Store(add, lambda which, part: store.page(which, by, part), store.count, key, wanted, filters)


def letters_of(store: Any) -> Store:
    def add(n: int) -> None:
        source, subject = (SOURCE, "project-orders.order-events")[n % 2], f"order-{n % 3}"
        at = NOW + timedelta(seconds=n)
        about = source, "order-events", ("OrderCreated", "OrderFailed")[n % 2], subject
        letter = DeadLetter(uuid7(), *about, {}, "e30=", 1, None, f"c{n % 4}", at, at)
        store.record(LetterDelivery(letter, str(n), str(n)))
        if n % 5 == 0:
            assert store.discard(letter.id, "no use", "ann")

    filters = [
        Letters(status="PENDING"),
        Letters(status="DISCARDED", source=SOURCE),
        Letters(source=SOURCE),
        Letters(topic="order-events", type="OrderFailed"),
        Letters(subject="order-1", correlation_id="c1"),
        Letters(recorded_after=NOW - timedelta(days=1), recorded_before=NOW + timedelta(days=1)),
        Letters(recorded_before=NOW - timedelta(days=1)),
        Letters(subject="nothing"),
        Letters("PENDING", cause=Cause(SOURCE, "OrderCreated")),
        Letters(cause=Cause(SOURCE, "OrderCreated", "no route")),
    ]
    return Store(add, store.page, store.count, lambda one: (one.recorded_at, one.id), Letters(), filters)


def sagas_of(store: Any) -> Store:
    states: list[dict[str, Any]] = [
        {},
        {"status": SagaStatus.COMPLETED, "deadline_at": None},
        {"status": SagaStatus.FAILED, "deadline_at": None, "compensated": True},
        {"status": SagaStatus.FAILED, "deadline_at": None},
        {"status": SagaStatus.STUCK, "deadline_at": None},
    ]
    made: list[UUID] = []

    def add(n: int) -> None:
        saga = new_saga()
        made.append(saga.progress.saga_id)
        progress = replace(saga.progress, steps=("ReserveInventory", f"Step{n // 5}"), **states[n % 5])
        store.save(replace(saga, progress=progress, correlation_id=f"c{n % 2}"), [], [])

    filters = [
        Sagas(SagaStatus.COMPLETED),
        Sagas(SagaStatus.FAILED, "OrderSaga"),
        Sagas("ACTIVE"),
        Sagas("COMPENSATED"),
        Sagas(type="Other"),
        Sagas(correlation_id="c1"),
        Sagas(started_after=NOW - timedelta(days=1), started_before=NOW + timedelta(days=1)),
        Sagas(SagaStatus.STUCK, started_before=NOW - timedelta(days=1)),
        Sagas(step="Step1"),
        Sagas(SagaStatus.STUCK, step="Step0"),
        Sagas(step="ReserveInventory"),
    ]
    return Store(
        add, store.page, store.count, lambda one: (one.created_at, one.saga.progress.saga_id), Sagas(), filters
    )


def events_of(store: EventStore, log: Any, wanted: Events) -> Store:
    def add(n: int) -> None:
        context = Context(f"c{n % 2}", f"m{n // 2 % 2}", traceparent=f"00-t{n // 2 % 2}-5-01")
        at = NOW + timedelta(seconds=COUNT - n)  # clocks of writers differ
        stream, version = f"order-{n % 2}", n // 2 + 1
        store.append(Append([EventRecord(uuid7(), stream, version, TYPES[n // 2 % 2], 1, {}, context, at)]))

    period: dict[str, Any] = {
        "recorded_after": NOW + timedelta(seconds=3),
        "recorded_before": NOW + timedelta(seconds=8),
    }
    filters = [
        replace(wanted, types=["Made"]),
        replace(wanted, types=TYPES),
        replace(wanted, types=["Nothing"]),
        *([replace(wanted, types=["Sold"], **period)] if wanted.order != "log" else []),
        *([replace(wanted, correlation_id="c1", types=["Made"])] if wanted.correlation_id is None else []),
        *([replace(wanted, stream="order-1", **period)] if wanted.stream else []),
        *([replace(wanted, trace_id="t1")] if wanted.order != "time" else []),
        *([replace(wanted, causation_id="m0")] if wanted.order == "log" and wanted.causation_id is None else []),
    ]
    return Store(add, log.page, log.count, wanted.key, wanted, filters)


EVENTS = {
    "events": Events(),
    "events of types": Events(types=TYPES),
    "events of a stream": Events(stream="order-1"),
    "events by time": Events(types=TYPES, recorded_after=NOW - timedelta(days=1)),
    "events of a request": Events(correlation_id="c0"),
    "events of a trace": Events(trace_id="t1", recorded_after=NOW - timedelta(days=1)),
    "events of a cause": Events(causation_id="m1", recorded_after=NOW - timedelta(days=1)),
}
KINDS = [*EVENTS, "sagas", "dead letters", "executions", "slowest executions"]


@pytest.fixture(params=["memory", "postgres"])
def engine(request: pytest.FixtureRequest) -> Callable[[str], Store]:
    def pool(name: str) -> Pool | None:
        return request.getfixturevalue(f"{name}_pool") if request.param == "postgres" else None

    def store(kind: str) -> Store:
        if kind in EVENTS:
            if events := pool("event_store"):
                return events_of(PostgresEventStore(events), PostgresEventLog(events), EVENTS[kind])
            memory = MemoryEventStore()
            return events_of(memory, MemoryEventLog(memory), EVENTS[kind])
        command = pool("command")
        if kind == "sagas":
            return sagas_of(PostgresSagaStore(command) if command else MemorySagaStore())
        if kind == "dead letters":
            return letters_of(PostgresDeadLetters(command) if command else MemoryDeadLetters())
        by = "milliseconds" if kind.startswith("slowest") else "recorded_at"
        return executions_of(PostgresExecutions(command) if command else MemoryExecutions(), by)

    return store


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, engine: Callable[[str], Store]) -> Store:
    made = engine(request.param)
    for n in range(COUNT):
        made.add(n)
    return made


def whole(store: Store, which: Any, descending: bool = False) -> list[Any]:
    return list(store.page(which, Slice(1000, descending)))


def paged(store: Store, which: Any, descending: bool, size: int = 2) -> Iterator[Any]:
    after: Key | None = None
    key = which.key if isinstance(which, Events) else store.key
    while page := store.page(which, Slice(size, descending, after=after)):
        yield from page
        after = key(page[-1])


@pytest.mark.parametrize("descending", [False, True])
def test_pages_follow_each_other(store: Store, descending: bool) -> None:
    everything = whole(store, store.everything)
    assert everything == sorted(everything, key=store.key)
    assert len(everything) in (COUNT, COUNT // 2, COUNT // 2 + 1)
    assert whole(store, store.everything, descending=True) == everything[::-1]
    assert list(paged(store, store.everything, descending)) == (everything[::-1] if descending else everything)


def test_a_slice_lies_between_two_keys(store: Store) -> None:
    everything = whole(store, store.everything)
    low, high = store.key(everything[1]), store.key(everything[4])
    assert store.page(store.everything, Slice(9, after=low, before=high)) == everything[2:4]
    assert store.page(store.everything, Slice(9, after=low, before=high, closed=True)) == everything[1:5]
    assert store.page(store.everything, Slice(1, descending=True, after=high, before=low)) == everything[3:4]
    assert store.page(store.everything, Slice(1, descending=True, after=low, closed=True)) == everything[1:2]
    assert store.page(store.everything, Slice(9, after=high, before=low)) == []
    assert store.page(store.everything, Slice(0)) == []


def test_filters_select_what_a_search_through_all_would(store: Store) -> None:
    found = [whole(store, which) for which in store.filters]
    assert any(found) and not all(found)
    for which, entries in zip(store.filters, found, strict=True):
        assert store.count(which) == len(entries)
        assert list(paged(store, which, descending=False)) == entries
        assert all(entry in whole(store, replace(store.everything)) for entry in entries)
    assert store.count(store.everything) == len(whole(store, store.everything))


def test_entries_of_a_filter_have_what_it_asks_for(engine: Callable[[str], Store]) -> None:
    sagas, letters, executions, events = (engine(kind) for kind in ("sagas", "dead letters", "executions", "events"))
    for store in (sagas, letters, executions, events):
        for n in range(COUNT):
            store.add(n)
    statuses = {one.saga.progress.status for one in whole(sagas, Sagas("ACTIVE"))}
    assert statuses == {SagaStatus.STARTED, SagaStatus.STUCK}
    assert [one.saga.progress.compensated for one in whole(sagas, Sagas("COMPENSATED"))] == [True, True]
    assert len(whole(sagas, Sagas(SagaStatus.FAILED))) == 4
    assert {one.saga.progress.steps[1] for one in whole(sagas, Sagas(step="Step1"))} == {"Step1"}
    assert {one.saga.progress.ended for one in whole(sagas, Sagas(step="Step1"))} == {False}
    (chosen,) = whole(sagas, Sagas(id=whole(sagas, Sagas())[3].saga.progress.saga_id))
    assert chosen == whole(sagas, Sagas())[3]
    at = chosen.created_at
    assert chosen in whole(sagas, Sagas(started_after=at)) and chosen not in whole(sagas, Sagas(started_before=at))
    assert {one.subject for one in whole(letters, Letters(subject="order-1"))} == {"order-1"}
    assert {one.status for one in whole(letters, Letters(status="DISCARDED"))} == {"DISCARDED"}
    assert {one.type for one in whole(letters, Letters(type="OrderFailed"))} == {"OrderFailed"}
    of_name = whole(executions, ListedExecutions("command", "CreateOrder", "success"))
    assert {(one.kind, one.name, one.status) for one in of_name} == {("command", "CreateOrder", "success")}
    (third,) = whole(executions, ListedExecutions("command", id=whole(executions, ListedExecutions("command"))[2].id))
    assert third == whole(executions, ListedExecutions("command"))[2]
    assert whole(executions, ListedExecutions("query", id=third.id)) == []
    made = whole(events, Events(stream="order-1", types=["Made"]))
    assert {(one.event.stream, one.event.type) for one in made} == {("order-1", "Made")}
    assert [one.event.version for one in whole(events, Events(stream="order-1"))] == [1, 2, 3, 4, 5]
    timed = Events(types=TYPES, recorded_after=NOW + timedelta(seconds=3), recorded_before=NOW + timedelta(seconds=8))
    seconds = [(one.event.recorded_at - NOW).seconds for one in whole(events, timed)]
    assert seconds == [3, 4, 5, 6, 7]


def test_what_is_added_while_a_client_pages_hides_and_repeats_nothing(store: Store) -> None:
    before = whole(store, store.everything)
    read: list[Any] = []
    for number, entry in enumerate(paged(store, store.everything, descending=False)):
        read.append(entry)
        if number < 3:
            store.add(COUNT + number)
    keys = [store.key(entry) for entry in read]
    assert len(set(keys)) == len(keys)
    assert [entry for entry in read if entry in before] == before


ROWS = 30_000
DEEP = NOW - timedelta(seconds=ROWS // 2)
LAST_ID = UUID(int=2**128 - 1)


@pytest.fixture(scope="module")
def large(postgres: str) -> Iterator[dict[str, psycopg.Connection[TupleRow]]]:
    """Databases with 30,000 events, dead letters and executions, a second apart. A million have the
    same plans."""
    connections = {}
    for database in ("event_store", "command"):
        connections[database] = psycopg.connect(copy_database(postgres, database), autocommit=True)
    at = f"'{NOW}'::timestamptz - interval '1 second' * ({ROWS} - n)"
    rows = f"FROM generate_series(1, {ROWS}) AS n"
    connections["event_store"].execute(
        f"""INSERT INTO events (id, stream, version, type, schema_version, data, metadata, recorded_at)
            SELECT md5(n::text)::uuid, 'order-' || n / 10, n % 10 + 1, 'Type' || n % 7, 1, '{{}}',
                jsonb_build_object('correlation_id', 'c' || n / 5, 'traceparent', '00-t' || n / 5 || '-5-01'),
                {at} {rows}""".encode()
    )
    connections["event_store"].execute("VACUUM ANALYZE events")
    connections["command"].execute(
        f"""INSERT INTO dead_letters (id, source, topic, type, subject, attributes, data, correlation_id, status,
                recorded_at)
            SELECT md5(n::text)::uuid, 'source' || n % 9, 'topic' || n % 9, 'Type' || n % 9, 'order-' || n, '{{}}', '',
                'c' || n, CASE n % 100 WHEN 0 THEN 'PENDING' ELSE 'RETRIED' END, {at} {rows}""".encode()
    )
    connections["command"].execute(
        f"""INSERT INTO executions (id, kind, name, status, milliseconds, data, correlation_id, recorded_at)
            SELECT md5(n::text)::uuid, 'command', 'Name' || n % 9, CASE n % 100 WHEN 0 THEN 'TIMEOUT' ELSE 'success' END,
                n % 1000, json_build_object('trace', 't' || n / 5), 'c' || n / 5, {at} {rows}""".encode()
    )
    connections["command"].execute(
        f"""INSERT INTO sagas (id, type, version, status, progress, correlation_id, created_at)
            SELECT md5(n::text)::uuid, 'OrderSaga', 1, CASE n % 2 WHEN 0 THEN 'STARTED' ELSE 'COMPLETED' END,
                json_build_object('saga_id', md5(n::text)::uuid, 'status', 'STARTED', 'step', n % 14 / 2,
                    'steps', ARRAY['A', 'B', 'C', 'D', 'E', 'F', 'G']), 'c' || n, {at} {rows}""".encode()
    )
    connections["command"].execute("VACUUM ANALYZE dead_letters, executions, sagas")
    yield connections
    for connection in connections.values():
        connection.close()


TIMED = Slice(50, descending=True, after=(DEEP, LAST_ID))
LATE = Slice(50, after=(DEEP, LAST_ID))
SEVEN = [f"Type{n}" for n in range(7)]


@pytest.mark.parametrize(
    ("database", "query"),
    [
        ("event_store", listed_events(Events(), Slice(50))),
        ("event_store", listed_events(Events(), Slice(50, descending=True))),
        ("event_store", listed_events(Events(), Slice(50, after=(1, 0, 15_000)))),
        ("event_store", listed_events(Events(), Slice(50, descending=True, after=(1, 2**63, 15_000)))),
        ("event_store", listed_events(Events(types=SEVEN), Slice(50, after=(1, 0, 15_000)))),
        ("event_store", listed_events(Events(types=["Type1", "Nothing"]), Slice(50, descending=True))),
        ("event_store", listed_events(Events(types=SEVEN, recorded_after=DEEP), Slice(50))),
        ("event_store", listed_events(Events(types=SEVEN, recorded_before=DEEP), Slice(50, descending=True))),
        ("event_store", listed_events(Events(correlation_id="c77"), Slice(50))),
        ("event_store", listed_events(Events(correlation_id="nothing"), Slice(50, descending=True))),
        ("event_store", listed_events(Events(trace_id="t77"), Slice(50))),
        ("event_store", listed_events(Events(trace_id="nothing"), Slice(50, descending=True))),
        ("event_store", listed_events(Events(causation_id="nothing"), Slice(50))),
        ("event_store", listed_events(Events(stream="order-77"), Slice(50, after=(3,)))),
        ("command", listed_letters(Letters(), TIMED)),
        ("command", listed_letters(Letters(), LATE)),
        ("command", listed_letters(Letters(status="PENDING"), LATE)),
        ("command", listed_letters(Letters(status="RETRIED"), TIMED)),
        ("command", listed_letters(Letters(status="DISCARDED"), LATE)),
        ("command", listed_letters(Letters(source="source1"), TIMED)),
        ("command", listed_letters(Letters(source="nothing"), TIMED)),
        ("command", listed_letters(Letters(topic="topic2"), TIMED)),
        ("command", listed_letters(Letters(type="nothing"), TIMED)),
        ("command", listed_letters(Letters(subject="order-77"), TIMED)),
        ("command", listed_letters(Letters(correlation_id="c77"), TIMED)),
        ("command", listed_letters(Letters(recorded_after=DEEP), Slice(50))),
        ("command", listed_sagas(Sagas(step="B"), TIMED)),
        ("command", listed_sagas(Sagas(step="nothing"), LATE)),
        ("command", listed_sagas(Sagas(SagaStatus.STUCK, step="B"), TIMED)),
        ("command", listed_executions(ListedExecutions("command"), "recorded_at", TIMED)),
        ("command", listed_executions(ListedExecutions("command", "Name1"), "recorded_at", TIMED)),
        ("command", listed_executions(ListedExecutions("command", status="CONFLICT"), "recorded_at", TIMED)),
        ("command", listed_executions(ListedExecutions("command", trace_id="t77"), "recorded_at", TIMED)),
        ("command", listed_executions(ListedExecutions("command", trace_id="nothing"), "recorded_at", LATE)),
        ("command", listed_executions(ListedExecutions("command", correlation_id="c77"), "milliseconds", Slice(50))),
        ("command", listed_executions(ListedExecutions("command", id=LAST_ID), "recorded_at", TIMED)),
        ("command", listed_executions(ListedExecutions("command"), "milliseconds", Slice(50, descending=True))),
        ("command", listed_executions(ListedExecutions("command"), "milliseconds", Slice(50, after=(500, LAST_ID)))),
        (
            "command",
            listed_executions(
                ListedExecutions("command", "Name1"), "milliseconds", Slice(50, descending=True, after=(500, LAST_ID))
            ),
        ),
    ],
)
def test_a_deep_page_costs_what_the_first_one_costs(
    large: dict[str, psycopg.Connection[TupleRow]], database: str, query: tuple[str, dict[str, Any]]
) -> None:
    statement, values = query
    row = large[database].execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".encode(), values).fetchone()
    assert row is not None
    scanned = [
        node
        for node in nodes(row[0][0]["Plan"])
        if node.get("Relation Name") in ("events", "dead_letters", "executions", "sagas")
    ]
    touched = sum(n["Actual Loops"] * (n["Actual Rows"] + n.get("Rows Removed by Filter", 0)) for n in scanned)
    assert scanned and touched < ROWS / 10, row[0]
