"""Migrations can be run at any time, by several processes at once, and an existing installation
goes on working."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from uuid_utils.compat import uuid7

from shared.config.manifest import SQL_FOLDERS
from shared.dead_letters.postgres import PostgresDeadLetters
from shared.domain.aggregate import Place
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, Checkpoint, EventRecord
from shared.messaging.envelope import Message
from shared.monitoring.postgres import PostgresCounts
from shared.observability.context import Context
from shared.postgres.migrations import Blocked, ChangedMigration, NotRepeatable, migrate, missing, numbered
from shared.postgres.pool import Pool, connect
from shared.sagas.postgres import PostgresSagaStore
from shared.sagas.store import HistoryEntry
from tests.databases import COMMAND_DATABASE, EVENT_STORE, in_one_folder, migrate_as_previously

both_databases = pytest.mark.parametrize("folders", [EVENT_STORE, COMMAND_DATABASE], ids=SQL_FOLDERS.keys())


def names(folders: list[Path]) -> list[str]:
    return [file.name for file in numbered(folders)]


@both_databases
def test_migrating_twice_changes_nothing_the_second_time(empty_database: str, folders: list[Path]) -> None:
    assert sorted(migrate(empty_database, folders)) == names(folders)
    assert migrate(empty_database, folders) == []


def test_numbered_files_of_several_folders_are_applied_in_the_order_of_their_names() -> None:
    assert names(COMMAND_DATABASE) == sorted(file.name for folder in COMMAND_DATABASE for file in folder.glob("0*.sql"))
    assert {"0001_command_database.sql", "0002_dead_letters.sql", "0004_executions.sql"} <= set(names(COMMAND_DATABASE))


@both_databases
def test_a_file_that_has_not_been_applied_is_missing(empty_database: str, folders: list[Path]) -> None:
    files = names(folders)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert missing(connection, folders) == files
        migrate(empty_database, folders)
        assert missing(connection, folders) == []
        connection.execute("DELETE FROM migrations WHERE name = %s", (files[-1],))
        assert missing(connection, folders) == files[-1:]
        connection.execute(
            "INSERT INTO migrations (name, checksum) VALUES (%s, ''), ('9999_newer.sql', '')", files[-1:]
        )
        assert missing(connection, folders) == []


@both_databases
def test_of_several_migrations_at_once_one_does_the_work(empty_database: str, folders: list[Path]) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(empty_database, folders), range(4)))
    assert sorted(map(len, applied)) == [0, 0, 0, len(names(folders))]


def test_an_applied_migration_must_not_change(empty_database: str, tmp_path: Path) -> None:
    folder = in_one_folder(EVENT_STORE, tmp_path)
    migrate(empty_database, [folder])
    file = folder / "0001_event_store.sql"
    file.write_text(file.read_text() + "-- changed\n")
    with pytest.raises(ChangedMigration, match="0001_event_store"):
        migrate(empty_database, [folder])


def test_dead_letters_from_before_they_had_a_history_are_kept(empty_database: str) -> None:
    migrate_as_previously(empty_database, "command_database", below="0002")
    with psycopg.connect(empty_database) as connection:
        connection.execute(
            """INSERT INTO dead_letters (subscription, message_id, attributes, data, attempts)
               VALUES ('order-saga.order-events', '1', '{"a": "\\u0000"}', 'e30=', 10)"""
        )
    migrate(empty_database, COMMAND_DATABASE)
    with connect(empty_database, 1) as pool:
        (letter,) = PostgresDeadLetters(pool).latest(10)
    assert (letter.source, letter.topic, letter.data) == ("order-saga.order-events", "order-events", "e30=")
    assert (letter.attributes, letter.attempts, letter.status) == ({"a": "\0"}, 10, "PENDING")
    assert [entry.kind for entry in letter.history] == ["FAILED"]


def test_a_failing_migration_leaves_nothing_behind(empty_database: str, tmp_path: Path) -> None:
    folder = in_one_folder(EVENT_STORE, tmp_path)
    (folder / "0002_broken.sql").write_text("CREATE TABLE half_done (id int); SELECT no_such_function();")
    with pytest.raises(psycopg.errors.UndefinedFunction):
        migrate(empty_database, [folder])
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT to_regclass('events'), to_regclass('half_done')").fetchone() == (None, None)


@pytest.fixture
def things(empty_database: str, tmp_path: Path) -> tuple[str, Path]:
    """Return a database with the table `things` and the folder of its files."""
    (tmp_path / "0001_things.sql").write_text(
        "CREATE TABLE things (number int); INSERT INTO things VALUES (1), (2), (2)"
    )
    migrate(empty_database, [_with_functions(tmp_path)])
    return empty_database, tmp_path


def _with_functions(folder: Path) -> Path:
    (folder / "always_functions.sql").write_text("CREATE OR REPLACE FUNCTION one() RETURNS int RETURN 1")
    return folder


def _indexes(url: str) -> list[tuple[str, bool]]:
    """Return the indexes of `things`, and whether each is complete."""
    query = """SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 'things'::regclass"""
    with psycopg.connect(url) as connection:
        return [(str(name), bool(valid)) for name, valid in connection.execute(query)]


def test_an_index_on_a_large_table_is_made_while_others_write(things: tuple[str, Path]) -> None:
    url, folder = things
    (folder / "0002_index.concurrently.sql").write_text(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_number ON things (number);"
    )
    (folder / "0003_column.sql").write_text("ALTER TABLE things ADD COLUMN name text")
    assert migrate(url, [folder]) == ["0003_column.sql", "0002_index.concurrently.sql"]
    assert _indexes(url) == [("by_number", True)]
    assert migrate(url, [folder]) == []
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM migrations").fetchone() == (3,)


def test_migrations_at_once_do_not_wait_for_each_others_snapshots(things: tuple[str, Path]) -> None:
    url, folder = things
    (folder / "0002_index.concurrently.sql").write_text(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_number ON things (number)"
    )
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(url, [folder]), range(4)))
    assert sorted(map(len, applied)) == [0, 0, 0, 1]


def test_a_concurrent_file_that_fails_leaves_no_invalid_index_and_can_be_run_again(things: tuple[str, Path]) -> None:
    url, folder = things
    (folder / "0002_index.concurrently.sql").write_text(
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS by_number ON things (number)"
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        migrate(url, [folder])
    assert _indexes(url) == []
    with psycopg.connect(url, autocommit=True) as connection:
        assert missing(connection, [folder]) == ["0002_index.concurrently.sql"]
        connection.execute("DELETE FROM things")
    assert migrate(url, [folder]) == ["0002_index.concurrently.sql"]
    assert _indexes(url) == [("by_number", True)]


def test_the_invalid_index_of_a_killed_migration_is_made_again_and_others_are_left(things: tuple[str, Path]) -> None:
    url, folder = things
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("by_number", "of_a_person"):
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON things (number)".encode())
    assert _indexes(url) == [("by_number", False), ("of_a_person", False)]
    (folder / "0002_index.concurrently.sql").write_text(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_number ON things (number)"
    )
    assert migrate(url, [folder]) == ["0002_index.concurrently.sql"]
    assert sorted(_indexes(url)) == [("by_number", True), ("of_a_person", False)]


def test_a_migration_killed_before_it_recorded_its_index_finds_the_index_done(things: tuple[str, Path]) -> None:
    url, folder = things
    (folder / "0002_index.concurrently.sql").write_text(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_number ON things (number)"
    )
    migrate(url, [folder])
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM migrations WHERE name LIKE '0002%'")
    assert migrate(url, [folder]) == ["0002_index.concurrently.sql"]
    assert _indexes(url) == [("by_number", True)]


def test_a_concurrent_file_that_cannot_be_repeated_is_refused_before_anything_is_applied(
    things: tuple[str, Path],
) -> None:
    url, folder = things
    (folder / "0002_column.sql").write_text("ALTER TABLE things ADD COLUMN name text")
    (folder / "0003_index.concurrently.sql").write_text("CREATE INDEX CONCURRENTLY by_number ON things (number)")
    with pytest.raises(NotRepeatable, match="0003_index"):
        migrate(url, [folder])
    with psycopg.connect(url) as connection:
        assert missing(connection, [folder]) == ["0002_column.sql", "0003_index.concurrently.sql"]


def test_a_migration_that_waits_for_a_lock_lets_others_pass_and_is_tried_again(things: tuple[str, Path]) -> None:
    url, folder = things
    (folder / "0002_column.sql").write_text("ALTER TABLE things ADD COLUMN name text")
    with ThreadPoolExecutor(1) as pool, psycopg.connect(url) as reader, psycopg.connect(url, autocommit=True) as client:
        reader.execute("SELECT * FROM things")  # a transaction that stays open
        migrating = pool.submit(migrate, url, [folder])
        while client.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
            time.sleep(0.02)
        client.execute("SET statement_timeout = '30s'")
        client.execute("SELECT * FROM things")  # queues behind the migration until that gives up
        assert not migrating.done()
        reader.rollback()
        assert migrating.result(60) == ["0002_column.sql"]


def test_a_lock_that_is_never_free_ends_the_migration_with_what_to_do(things: tuple[str, Path]) -> None:
    url, folder = things
    (folder / "0002_column.sql").write_text("ALTER TABLE things ADD COLUMN name text")
    with psycopg.connect(url) as reader:
        reader.execute("SELECT * FROM things")
        with pytest.raises(Blocked, match=r"nothing was applied.*pg_stat_activity"):
            migrate(url, [folder], retry_seconds=0)
    assert migrate(url, [folder]) == ["0002_column.sql"]


def test_the_log_goes_on_in_a_new_epoch_after_a_restore_to_another_cluster(
    event_store_url: str, event_store_pool: Pool
) -> None:
    """Transaction ids start anew there, so the ids of earlier events lie in its future."""
    store = PostgresEventStore(event_store_pool)
    store.append(Append([_event("before")]))
    before = store.read_all(Checkpoint(), 10)[-1].checkpoint
    with event_store_pool.connection() as connection:
        connection.execute("UPDATE epochs SET cluster = 42")
        connection.execute("UPDATE events SET transaction_id = '4000000000'::xid8")
    assert store.read_all(Checkpoint(), 10) == []  # what a restore without the migration would show
    migrate(event_store_url, EVENT_STORE)
    store.append(Append([_event("after")]))
    entries = store.read_all(Checkpoint(), 10)
    assert [entry.event.stream for entry in entries] == ["before", "after"]
    later = store.read_all(Checkpoint(before.epoch, 4_000_000_000, before.position), 10)
    assert [entry.event.stream for entry in later] == ["after"]


def test_an_event_store_of_the_previous_release_is_upgraded(empty_database: str, postgres: str) -> None:
    migrate_as_previously(empty_database, "event_store")
    with psycopg.connect(empty_database, autocommit=True) as connection:
        for statement, values in _events_as_previously("product-1", "product-2"):
            connection.execute(statement, values)
    assert migrate(empty_database, EVENT_STORE) == [name for name in names(EVENT_STORE) if name >= "0008"]
    assert migrate(empty_database, EVENT_STORE) == []
    assert catalogue(empty_database) == catalogue(make_conninfo(postgres, dbname="event_store"))

    with connect(empty_database, 1) as pool:
        store = PostgresEventStore(pool)
        new = Append([_event("product-1", 2), _event("product-3")], [Place("product-3", "product-1", None)])
        store.append(new)
        log = [(entry.event.stream, entry.event.version) for entry in store.read_all(Checkpoint(), 10)]
        assert log == [("product-1", 1), ("product-2", 1), ("product-1", 2), ("product-3", 1)]
        record = store.recorded("key product-1")
        assert record
        assert record.result == "{}"


def test_functions_of_the_previous_release_still_append_and_relay_during_a_roll_out(
    event_store_url: str, event_store_pool: Pool
) -> None:
    claim = """
        WITH claimed AS (
            UPDATE outbox SET leased_until = clock_timestamp() + make_interval(secs => 15)
            WHERE position IN (
                SELECT position FROM outbox WHERE leased_until > clock_timestamp()
                ORDER BY position LIMIT 10 FOR UPDATE SKIP LOCKED
            )
            RETURNING position
        )
        SELECT id FROM claimed JOIN events USING (position) ORDER BY position"""
    with psycopg.connect(event_store_url, autocommit=True) as connection:
        connection.execute("SET ROLE shop_commands")
        for statement, values in _events_as_previously("product-1", "product-2"):
            connection.execute(statement, values)
        connection.execute("SET ROLE shop_relay")
        ids = [row[0] for row in connection.execute(claim)]
        assert len(ids) == 2
        delete = "DELETE FROM outbox USING events WHERE outbox.position = events.position AND events.id = ANY(%s)"
        connection.execute(delete, (ids[:1],))
        connection.execute("RESET ROLE")
        assert connection.execute("SELECT count(*) FROM event_outbox").fetchone() == (1,)
    log = PostgresEventStore(event_store_pool).read_all(Checkpoint(), 10)
    assert [entry.event.stream for entry in log] == ["product-1", "product-2"]


def test_a_command_database_of_the_previous_release_is_upgraded(empty_database: str, postgres: str) -> None:
    migrate_as_previously(empty_database, "command_database")
    saga_id, sent, letter = uuid7(), uuid7(), uuid7()
    with psycopg.connect(empty_database, autocommit=True) as connection:
        for statement, values in _records_as_previously(saga_id, sent, letter):
            connection.execute(statement, values)
    applied = sorted(migrate(empty_database, COMMAND_DATABASE))
    assert applied == [name for name in names(COMMAND_DATABASE) if name >= "0009"]
    assert migrate(empty_database, COMMAND_DATABASE) == []
    assert catalogue(empty_database) == catalogue(make_conninfo(postgres, dbname="command"))

    with connect(empty_database, 1) as pool:
        sagas, letters, counts = PostgresSagaStore(pool), PostgresDeadLetters(pool), PostgresCounts(pool)
        saga = sagas.load(saga_id)
        assert saga
        context = Context("correlation", "causation")
        further = Message("process-payment", "ProcessPayment", "order-1", {}, context)
        sagas.save(saga, [HistoryEntry("command", "ProcessPayment", {}, further.id)], [further])
        assert [entry.message for entry in sagas.history(saga_id)] == [sent, further.id]
        assert [listed.id for listed in letters.latest(10)] == [letter]
        assert counts.records().sagas == {"STARTED": 1}
        assert counts.records().others == {"saga_history": 2, "dead_letters": 1, "executions": 1}
        with pool.connection() as connection:
            assert connection.execute("SELECT id FROM saga_outbox ORDER BY id").fetchall() == [(sent,), (further.id,)]


def test_sagas_of_the_previous_release_still_send_and_relay_during_a_roll_out(command_url: str) -> None:
    saga_id, sent, letter = uuid7(), uuid7(), uuid7()
    claim = """
        UPDATE outbox SET leased_until = clock_timestamp() + make_interval(secs => 15)
        WHERE id IN (
            SELECT id FROM outbox WHERE leased_until > clock_timestamp() ORDER BY id LIMIT 10 FOR UPDATE SKIP LOCKED
        )
        RETURNING message ->> 'id'"""
    with psycopg.connect(command_url, autocommit=True) as connection:
        connection.execute("SET ROLE shop_coordination")
        connection.execute(*_records_as_previously(saga_id, sent, letter)[0])
        connection.execute("SET ROLE shop_relay")
        assert connection.execute(claim).fetchall() == [(str(sent),)]
        connection.execute("DELETE FROM outbox WHERE id = ANY(%s)", ([sent],))
        connection.execute("RESET ROLE")
        assert connection.execute("SELECT count(*) FROM saga_outbox").fetchone() == (0,)


Statements = list[tuple[Any, list[Any]]]


def _events_as_previously(first: str, second: str) -> Statements:
    """What the previous release's event store executes to append with rules, and to append a single
    event."""
    event = {"id": str(uuid7()), "stream": first, "version": 1, "type": "Happened", "schema_version": 1, "data": {}}
    event |= {"metadata": {"correlation_id": "c", "causation_id": "d"}, "recorded_at": "2026-01-01T00:00:00Z"}
    place = {"stream": first, "parent": None, "name": None, "removed": False}
    record = {"key": f"key {first}", "fingerprint": "f", "result": "{}", "kept_seconds": 86_400.0}
    values = [json.dumps([event | {"first": True}]), json.dumps([place]), json.dumps(record)]
    append_one = """
        WITH inserted AS (
            INSERT INTO events (id, stream, version, type, schema_version, data, metadata, recorded_at)
            SELECT * FROM (VALUES (%s, %s, %s, %s, %s::smallint, %s::jsonb, %s::jsonb, now())) AS e (id, stream, version)
            WHERE version = 1 OR EXISTS (SELECT FROM events x WHERE x.stream = e.stream AND x.version = e.version - 1)
            RETURNING position
        )
        INSERT INTO outbox (position, leased_until)
        SELECT position, clock_timestamp() + interval '15 seconds' FROM inserted"""
    single = [uuid7(), second, 1, "Happened", 1, "{}", json.dumps(event["metadata"])]
    return [("SELECT append_events(%s, %s, %s)", cast(list[Any], values)), (append_one, single)]


def _records_as_previously(saga_id: UUID, sent: UUID, letter: UUID) -> Statements:
    """What the previous release executes to save a saga, a dead letter and an execution."""
    progress = {"saga_id": str(saga_id), "status": "STARTED", "deadline_at": None}
    saga = {"id": str(saga_id), "type": "OrderSaga", "status": "STARTED", "correlation_id": "c", "progress": progress}
    entries = [{"kind": "command", "name": "ReserveInventory", "data": {}, "message": str(sent)}]
    messages = [{"id": str(sent), "topic": "reserve-inventory", "time": "2026-01-01T00:00:00Z"}]
    failed = {"id": str(letter), "source": "worker.things", "topic": "things", "attempts": 3, "delivery": "1"}
    execution = """
        INSERT INTO executions (id, kind, name, status, milliseconds, data, correlation_id, recorded_at)
        VALUES (%s, 'command', 'CreateOrder', 'SUCCEEDED', 1, '{}', 'c', now())"""
    return [
        ("SELECT save_saga(%s, 0, %s, %s)", [json.dumps(saga), json.dumps(entries), json.dumps(messages)]),
        ("SELECT record_dead_letter(%s, '{}', '\\x7b7d')", [json.dumps(failed)]),
        (execution, [uuid7()]),
    ]


def catalogue(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in a database's schema: what a migration makes, but for the rows."""
    with psycopg.connect(url) as connection:
        return {name: connection.execute(query).fetchall() for name, query in CATALOGUE.items()}


OURS = "relnamespace = 'public'::regnamespace"
CATALOGUE: dict[str, Any] = {
    "relations": f"SELECT relname, relkind, reloptions FROM pg_class WHERE {OURS} ORDER BY 1",
    "columns": f"""
        SELECT relname, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
            pg_get_expr(adbin, adrelid)
        FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid LEFT JOIN pg_attrdef d ON (adrelid, adnum) = (c.oid, attnum)
        WHERE {OURS} AND attnum > 0 AND NOT attisdropped ORDER BY 1, 2""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
    "functions": """
        SELECT proname, pg_get_functiondef(oid), proacl::text FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger
        WHERE NOT tgisinternal ORDER BY 1, 2""",
    "grants": f"""
        SELECT relname, pg_get_userbyid(grantee), privilege_type
        FROM pg_class, aclexplode(relacl) WHERE {OURS} ORDER BY 1, 2, 3""",
    "database": """
        SELECT pg_get_userbyid(grantee), privilege_type FROM pg_database, aclexplode(datacl)
        WHERE datname = current_database() ORDER BY 1, 2""",
    "epochs": "SELECT * FROM epochs ORDER BY 1",
}


def _event(stream: str, version: int = 1) -> EventRecord:
    context = Context("correlation", "causation")
    return EventRecord(uuid7(), stream, version, "Happened", 1, {}, context, datetime.now(UTC))


def test_names_of_siblings_lose_what_shows_nothing_unless_they_would_be_equal(empty_database: str) -> None:
    """The keys by which siblings are compared, as the release before 0012 made them."""
    migrate(empty_database, EVENT_STORE)
    old = {
        "a": "te\u200ba",
        "b": "\ufeffcoffee ",
        "c": "ju\u00adice",
        "d": "juice",
        "e": "\U000e0020milk",
        "f": "がらす",
    }
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.cursor().executemany("INSERT INTO placements (stream, name) VALUES (%s, %s)", list(old.items()))
        connection.execute("INSERT INTO placements (stream, parent, name) VALUES ('g', 'a', 'juice')")
        connection.execute("DELETE FROM migrations WHERE name LIKE '0012_names%'")
        assert migrate(empty_database, EVENT_STORE) == ["0012_names_without_invisible_characters.sql"]
        found: dict[str, str] = dict(connection.execute("SELECT stream, name FROM placements").fetchall())
    assert found == old | {"a": "tea", "b": "coffee", "e": "milk", "g": "juice"}
