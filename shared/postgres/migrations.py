"""Bring a database up to date from folders of SQL files.

- Numbered files (`0001_*.sql`) hold tables, indexes and data. Each is applied once, in the order of the names across
  all folders, and recorded with the checksum of its text.
- `always_*.sql` files hold functions and grants. Every migration applies them after the numbered files, folder by folder
  in the given order, by name within a folder.
- An applied file must not change, unless a database stays the same, for example when a function moves from it to
  `always_functions.sql`. Then a line `-- formerly: <sha256>` names each earlier text that counts as this file. A file
  without any statement left is deleted; its record is ignored.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import psycopg

from shared.domain.errors import Unavailable
from shared.postgres.pool import Password

_LOCK = 7_309_112_244_661_237_001  # an arbitrary number that every migration uses
_FORMERLY = re.compile(r"^-- formerly: ([0-9a-f]{64})$", re.MULTILINE)


class ChangedMigration(Exception):
    """A numbered file was edited after it had been applied."""


class Restored(Unavailable):
    """The database is a copy, or was put back to an earlier moment, and its log has not gone on in a new epoch yet."""


def migrate(conninfo: str, folders: Sequence[Path], password: Password | None = None) -> list[str]:
    """Apply what is missing, in one transaction, and return the names of the numbered files applied now. A second
    migration of the same database waits for the first and finds its work done. Raise ChangedMigration."""
    with psycopg.connect(conninfo, password=password() if password else None) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations"
            " (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        known: dict[str, str] = dict(connection.execute("SELECT name, checksum FROM migrations").fetchall())
        applied = [file.name for file in numbered(folders) if _apply(connection, file, known.get(file.name))]
        for folder in folders:
            for file in sorted(folder.glob("always_*.sql")):
                connection.execute(file.read_bytes())
        return applied


def numbered(folders: Sequence[Path]) -> list[Path]:
    """Return the numbered files of all folders in the order in which they are applied."""
    return sorted((file for folder in folders for file in folder.glob("[0-9]*.sql")), key=lambda file: file.name)


def missing(connection: psycopg.Connection, folders: Sequence[Path]) -> list[str]:
    """Return the names of the numbered files that have not been applied: in an empty database, all of them.

    Raise Restored when none is missing, but the database is a copy or an earlier state: readers of its log miss events.
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
    """Return whether the file was applied now. `recorded`: the checksum of the text that was applied before."""
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
