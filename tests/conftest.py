"""Start the databases and emulators that tests use, each once; skip tests whose emulator is not
installed."""

from collections.abc import Callable, Iterator
from threading import Event
from typing import NoReturn

import psycopg
import pytest
from psycopg.rows import TupleRow

from scripts.local.emulators import Emulators, find_emulators, start_postgres
from scripts.local.processes import Processes
from shared.domain.errors import Unavailable
from shared.postgres.migrations import migrate
from shared.postgres.pool import Pool, connect
from tests.databases import COMMAND_DATABASE, EVENT_STORE, copied_database
from tests.ports import free_port

WITHOUT_ENGINES = "--without-engines"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(WITHOUT_ENGINES, action="store_true", help="skip the tests that need PostgreSQL or an emulator")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files that start a whole shop over the first half of the run: they take longest,
    and wait while others compute."""
    files = dict.fromkeys(item.path for item in items)
    slow = [file for file in files if file.parent.name in ("end_to_end", "failure")]
    quick = [file for file in files if file not in slow]
    places = {file: number / len(slow) / 2 for number, file in enumerate(slow)}
    places |= {file: number / len(quick) for number, file in enumerate(quick)}
    items.sort(key=lambda item: places[item.path])


@pytest.fixture(scope="session")
def engines_wanted(request: pytest.FixtureRequest) -> None:
    if request.config.getoption(WITHOUT_ENGINES):
        pytest.skip(f"needs an engine, and {WITHOUT_ENGINES} was given")


@pytest.fixture(scope="session")
def postgres(engines_wanted: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server with migrated templates of both databases; return its URL."""
    home = tmp_path_factory.mktemp("postgres")
    for folder in (home, *home.parents[:2]):
        folder.chmod(0o755)  # as root, the server runs as another user
    event_store, command, stop = start_postgres(home / "data")
    migrate(event_store, EVENT_STORE)
    migrate(command, COMMAND_DATABASE)
    with psycopg.connect(event_store, autocommit=True) as connection:
        # Its transactions hold back the log for a moment, and tests read an event that they have
        # just appended.
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
    yield event_store
    stop()


@pytest.fixture
def empty_database(postgres: str) -> Iterator[str]:
    """Yield the URL of a new database without tables."""
    with copied_database(postgres, "template1") as url:
        yield url


@pytest.fixture
def event_store_url(postgres: str) -> Iterator[str]:
    """Yield the URL of a new, empty event store."""
    with copied_database(postgres, "event_store") as url:
        yield url


@pytest.fixture
def command_url(postgres: str) -> Iterator[str]:
    """Yield the URL of a new, empty command database."""
    with copied_database(postgres, "command") as url:
        yield url


@pytest.fixture
def event_store_pool(event_store_url: str) -> Iterator[Pool]:
    with connect(event_store_url, 10) as pool:
        yield pool


@pytest.fixture
def command_pool(command_url: str) -> Iterator[Pool]:
    with connect(command_url, 10) as pool:
        yield pool


@pytest.fixture
def command_connection(command_url: str) -> Iterator[psycopg.Connection[TupleRow]]:
    """Yield a connection for statements that may take long, such as to fill a table: the pool gives
    each as much time as a request has."""
    with psycopg.connect(command_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def emulators(engines_wanted: None) -> Emulators:
    """Return the emulators' programs. Where they are missing, skip the test with the reason."""
    found, missing = find_emulators()
    if found is None:
        pytest.skip(f"needs Google's emulators: {missing}")
    found.make_archives()
    return found


@pytest.fixture(scope="session")
def firestore(emulators: Emulators, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Firestore emulator and yield its address."""
    processes, port = Processes(tmp_path_factory.mktemp("firestore")), free_port()
    address = emulators.start_firestore(processes, port)
    processes.wait_for("firestore", f"http://{address}", 180)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", address)
        yield address
    processes.stop()


@pytest.fixture(scope="session")
def pubsub(emulators: Emulators, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a Pub/Sub emulator and yield its address."""
    processes, port = Processes(tmp_path_factory.mktemp("pubsub")), free_port()
    address = emulators.start_pubsub(processes, port)
    processes.wait_for("pubsub", f"http://{address}", 180)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", address)
        yield address
    processes.stop()


@pytest.fixture
def hang() -> Iterator[Callable[..., NoReturn]]:
    """Yield a function that does not return before the test is over."""
    over = Event()

    def wait(*_: object) -> NoReturn:
        over.wait(60)
        raise Unavailable("the test is over")

    yield wait
    over.set()
