"""Bring a database up to date from folders of SQL files.

- Numbered files (`0001_*.sql`) hold tables, indexes and data. Each is applied once, in the order of
  the names across all folders, and recorded with the checksum of its text.
- `always_*.sql` files hold functions and grants. Every migration applies them after the numbered
  files, folder by folder in the given order, by name within a folder. All of this is one
  transaction. It waits three seconds for each lock, because every other statement on the table
  queues behind it; then it is rolled back and tried again, for five minutes.
- Numbered files called `*.concurrently.sql` run after that, each outside a transaction: CREATE
  INDEX CONCURRENTLY on a large table, which stops no writer. Such a file holds one statement that
  can be repeated (IF NOT EXISTS, IF EXISTS), and no other file of the same release may need its
  index. When it fails, the invalid index that it leaves is dropped, by the next migration if this
  one was killed.
- An applied file must not change, unless a database stays the same, for example when a function
  moves from it to `always_functions.sql`. Then a line `-- formerly: <sha256>` names each earlier
  text that counts as this file. A file without any statement left is deleted; its record is
  ignored.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import psycopg
import structlog
from psycopg.sql import SQL, Identifier

from shared.domain.errors import Unavailable
from shared.postgres.pool import Password
from shared.resilience import clock

_LOCK = 7_309_112_244_661_237_001  # an arbitrary number that every migration uses
_RETRY_SECONDS = 300.0
_PAUSE_SECONDS = 1.0  # in which the statements that queued behind the migration go on
_CONCURRENT = ".concurrently.sql"
_FORMERLY = re.compile(r"^-- formerly: ([0-9a-f]{64})$", re.MULTILINE)
_REPEATABLE = re.compile(r"\bIF\s+(NOT\s+)?EXISTS\b", re.IGNORECASE)
_INVALID_INDEXES = """
SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace
"""
_WHO_BLOCKS = (
    "SELECT pid, usename, state, xact_start, query FROM pg_stat_activity WHERE state <> 'idle' ORDER BY xact_start"
)

_log = structlog.get_logger()


class ChangedMigration(Exception):
    """A numbered file was edited after it had been applied."""


class NotRepeatable(Exception):
    """A `*.concurrently.sql` file could not be run again after it has failed half-way."""


class Blocked(Exception):
    """Another session kept a lock that the migration needs; nothing was applied."""


class Restored(Unavailable):
    """The database is a copy, or was put back to an earlier moment, and its log has not gone on in
    a new epoch yet."""


def migrate(
    conninfo: str, folders: Sequence[Path], password: Password | None = None, retry_seconds: float = _RETRY_SECONDS
) -> list[str]:
    """Apply what is missing and return the names of the numbered files applied now. A second
    migration of the same database waits for the first and finds its work done.

    Raise ChangedMigration, NotRepeatable, and Blocked when a lock is not free for `retry_seconds`.
    """
    _require_repeatable(folders)
    with psycopg.connect(conninfo, password=password() if password else None, autocommit=True) as connection:
        # A session that waits for a lock has a snapshot, for whose end CREATE INDEX CONCURRENTLY
        # waits: so it asks again.
        while connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone() == (False,):
            clock.sleep(_PAUSE_SECONDS / 4)
        applied = _apply_in_one_transaction(connection, folders, clock.monotonic() + retry_seconds)
        return applied + _apply_concurrently(connection, folders)


def _require_repeatable(folders: Sequence[Path]) -> None:
    for file in numbered(folders):
        if file.name.endswith(_CONCURRENT) and not _REPEATABLE.search(file.read_text()):
            raise NotRepeatable(f"{file.name} may be run twice: write IF NOT EXISTS or IF EXISTS into its statement")


def _apply_in_one_transaction(connection: psycopg.Connection, folders: Sequence[Path], until: float) -> list[str]:
    """Apply all but the concurrent files. Raise Blocked when a lock is not free before `until`."""
    while True:
        try:
            with connection.transaction():
                connection.execute("SET LOCAL lock_timeout = '3s'")
                return _apply_all(connection, folders)
        except psycopg.errors.LockNotAvailable as error:
            if clock.monotonic() > until:
                raise Blocked(
                    f"{error}; nothing was applied. To see which session has the lock: {_WHO_BLOCKS}"
                ) from error
            _log.warning("a migration waits for a lock and is tried again", reason=str(error))
        clock.sleep(_PAUSE_SECONDS)


def _apply_all(connection: psycopg.Connection, folders: Sequence[Path]) -> list[str]:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations"
        " (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    known, files = _known(connection), [file for file in numbered(folders) if not file.name.endswith(_CONCURRENT)]
    applied = [file.name for file in files if _apply(connection, file, known.get(file.name))]
    for folder in folders:
        for file in sorted(folder.glob("always_*.sql")):
            connection.execute(file.read_bytes())
    return applied


def _apply_concurrently(connection: psycopg.Connection, folders: Sequence[Path]) -> list[str]:
    known, files = _known(connection), [file for file in numbered(folders) if file.name.endswith(_CONCURRENT)]
    applied = []
    for file in files:
        if file.name not in known:
            _drop_invalid_indexes(connection, file)  # of a migration that was killed
        try:
            applied += [file.name] if _apply(connection, file, known.get(file.name)) else []
        except psycopg.Error:
            if not connection.closed:
                _drop_invalid_indexes(connection, file)
            raise
    return applied


def _drop_invalid_indexes(connection: psycopg.Connection, file: Path) -> None:
    """Drop the indexes of the file that were not completed. Each slows writes, a unique one refuses
    rows, and IF NOT EXISTS takes it for complete."""
    words = set(re.findall(r"\w+", file.read_text()))
    for (index,) in connection.execute(_INVALID_INDEXES).fetchall():
        if index in words:
            connection.execute(SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(Identifier(index)))


def _known(connection: psycopg.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, checksum FROM migrations").fetchall())


def numbered(folders: Sequence[Path]) -> list[Path]:
    """Return the numbered files of all folders in the order in which they are applied."""
    return sorted((file for folder in folders for file in folder.glob("[0-9]*.sql")), key=lambda file: file.name)


def missing(connection: psycopg.Connection, folders: Sequence[Path]) -> list[str]:
    """Return the names of the numbered files that have not been applied: in an empty database, all
    of them.

    Raise Restored when none is missing, but the database is a copy or an earlier state: readers of
    its log miss events.
    """
    try:
        applied = {row[0] for row in connection.execute("SELECT name FROM migrations")}
    except psycopg.errors.UndefinedTable:
        applied = set()
    names = [file.name for file in numbered(folders) if file.name not in applied]
    if not names and connection.execute("SELECT written_here()").fetchone() == (False,):
        raise Restored("was restored from a backup; run scripts/migrate, then scripts/restore finish")
    return names


def _apply(connection: psycopg.Connection, file: Path, recorded: str | None) -> bool:
    """Return whether the file was applied now. `recorded`: the checksum of the text that was
    applied before."""
    text = file.read_bytes()
    checksum = hashlib.sha256(text).hexdigest()
    if recorded is None:
        connection.execute(text)
        connection.execute("INSERT INTO migrations (name, checksum) VALUES (%s, %s)", (file.name, checksum))
    elif recorded in _FORMERLY.findall(text.decode()):
        connection.execute("UPDATE migrations SET checksum = %s WHERE name = %s", (checksum, file.name))
    elif recorded != checksum:
        raise ChangedMigration(f"{file.name} was edited after it had been applied; restore it and add a new file")
    return recorded is None
