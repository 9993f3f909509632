"""Bring a database up to date: numbered files once, in order; `always_*` files every time."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import psycopg

from shared.postgres.pool import Password

_SHARED = Path(__file__).resolve().parents[1]


EVENT_STORE = _SHARED / "event_store" / "sql"


COMMAND_DATABASE = _SHARED / "sagas" / "sql"


FOLDERS: Mapping[str, Path] = {"event_store": EVENT_STORE, "command_database": COMMAND_DATABASE}


_LOCK = 7_309_112_244_661_237_001  # any number, the same for all who migrate


class ChangedMigration(Exception):
    """A file that has been applied was edited afterwards; put it back and write a new one."""


def migrate(conninfo: str, folder: Path, password: Password | None = None) -> list[str]:
    """The names of the files applied now. All or nothing, and one at a time: a second run waits and finds it done."""
    with psycopg.connect(conninfo, password=password() if password else None) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations"
            " (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        known: dict[str, str] = dict(connection.execute("SELECT name, checksum FROM migrations").fetchall())
        applied = [file.name for file in sorted(folder.glob("[0-9]*.sql")) if _apply(connection, file, known)]
        for file in sorted(folder.glob("always_*.sql")):
            connection.execute(file.read_bytes())
        return applied


def missing(connection: psycopg.Connection, folder: Path) -> list[str]:
    """The names of the files that have not been applied; all of them to a database that is empty."""
    try:
        applied = {row[0] for row in connection.execute("SELECT name FROM migrations")}
    except psycopg.errors.UndefinedTable:
        applied = set()
    return [file.name for file in sorted(folder.glob("[0-9]*.sql")) if file.name not in applied]


def _apply(connection: psycopg.Connection, file: Path, known: dict[str, str]) -> bool:
    text = file.read_bytes()
    checksum = hashlib.sha256(text).hexdigest()
    if file.name in known:
        if known[file.name] != checksum:
            raise ChangedMigration(f"{file.name} was changed after it had been applied; add a new file instead")
        return False
    connection.execute(text)
    connection.execute("INSERT INTO migrations (name, checksum) VALUES (%s, %s)", (file.name, checksum))
    return True
