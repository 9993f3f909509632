"""Migrations can be run at any time, by anybody, at once."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from uuid_utils.compat import uuid7

from shared.dead_letters.postgres import PostgresDeadLetters
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, Checkpoint, EventRecord
from shared.observability.context import Context
from shared.postgres.migrations import COMMAND_DATABASE, EVENT_STORE, ChangedMigration, migrate, missing
from shared.postgres.pool import Pool, connect


@pytest.mark.parametrize("folder", [EVENT_STORE, COMMAND_DATABASE])
def test_migrating_twice_changes_nothing_the_second_time(empty_database: str, folder: Path) -> None:
    assert migrate(empty_database, folder) == [file.name for file in sorted(folder.glob("[0-9]*.sql"))]
    assert migrate(empty_database, folder) == []


@pytest.mark.parametrize("folder", [EVENT_STORE, COMMAND_DATABASE])
def test_what_has_not_been_applied_is_missing(empty_database: str, folder: Path) -> None:
    files = [file.name for file in sorted(folder.glob("[0-9]*.sql"))]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert missing(connection, folder) == files
        migrate(empty_database, folder)
        assert missing(connection, folder) == []
        connection.execute("DELETE FROM migrations WHERE name = %s", (files[-1],))
        assert missing(connection, folder) == files[-1:]
        connection.execute(
            "INSERT INTO migrations (name, checksum) VALUES (%s, ''), ('9999_newer.sql', '')", files[-1:]
        )
        assert missing(connection, folder) == []


@pytest.mark.parametrize("folder", [EVENT_STORE, COMMAND_DATABASE])
def test_of_those_who_migrate_at_once_one_does_it(empty_database: str, folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(empty_database, folder), range(4)))
    assert sorted(map(len, applied)) == [0, 0, 0, len(list(folder.glob("[0-9]*.sql")))]


def test_an_applied_migration_must_not_change(empty_database: str, tmp_path: Path) -> None:
    folder = shutil.copytree(EVENT_STORE, tmp_path / "sql")
    migrate(empty_database, folder)
    file = folder / "0001_event_store.sql"
    file.write_text(file.read_text() + "-- changed\n")
    with pytest.raises(ChangedMigration, match="0001_event_store"):
        migrate(empty_database, folder)


def test_dead_letters_of_before_they_had_a_history_are_kept(empty_database: str, tmp_path: Path) -> None:
    folder = shutil.copytree(COMMAND_DATABASE, tmp_path / "sql")
    for file in [*folder.glob("000[2-9]*"), *folder.glob("always_*")]:
        file.unlink()
    migrate(empty_database, folder)
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
    folder = shutil.copytree(EVENT_STORE, tmp_path / "sql")
    (folder / "0002_broken.sql").write_text("CREATE TABLE half_done (id int); SELECT no_such_function();")
    with pytest.raises(psycopg.errors.UndefinedFunction):
        migrate(empty_database, folder)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT to_regclass('events'), to_regclass('half_done')").fetchone() == (None, None)


def test_the_log_goes_on_in_a_new_epoch_after_a_restore_to_another_cluster(
    event_store_url: str, event_store_pool: Pool
) -> None:
    """Transaction ids start anew there, so events written before carry ids that lie in its future."""
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
    assert [entry.event.stream for entry in store.read_all(before._replace(transaction_id=4_000_000_000), 10)] == [
        "after"
    ]


def _event(stream: str) -> EventRecord:
    return EventRecord(uuid7(), stream, 1, "Happened", 1, {}, Context("correlation", "causation"), datetime.now(UTC))
