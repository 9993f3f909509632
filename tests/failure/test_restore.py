"""A backup is restored into a new cluster: the log goes on, and everything that depends on it
agrees with it again."""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from google.cloud import firestore
from psycopg.conninfo import conninfo_to_dict
from uuid_utils.compat import uuid7

from scripts.local.emulators import start_postgres
from scripts.local.local_http import local_http
from scripts.local.migrate import migrate_all
from scripts.local.restore import Refused, Shop, differences, dump, erase_again, erasures, finish, load
from scripts.local.token import PROJECT
from shared.config.settings import Settings
from shared.event_store.log import PostgresEventLog
from shared.event_store.postgres import PostgresEventStore
from shared.event_store.protocol import Append, Checkpoint, EventRecord
from shared.observability.context import Context
from shared.postgres.migrations import Restored, missing
from shared.postgres.pool import Pool, connect
from tests.databases import EVENT_STORE
from tests.end_to_end.running_shop import ADMIN
from tests.failure.books import comes_to_rest, faults
from tests.failure.breakable_shop import BreakableShop

ERASED_LATER = "erased after the backup"
ERASE = """mutation ($user: ID!) { erasePerson(userId: $user, reason: "request 7") { erased } }"""
NewCluster = Callable[[], Settings]


@pytest.fixture
def new_cluster() -> Iterator[NewCluster]:
    """Start a server with two empty databases."""
    with ExitStack() as stack:

        def start() -> Settings:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-")))
            home.chmod(0o755)
            event_store, command, stop = start_postgres(home / "data")
            stack.callback(stop)
            return Settings(event_store_url=event_store, command_database_url=command)

        yield start


@dataclass(frozen=True)
class Backup:
    """`settings`: of the shop that it was made of. `events`: how many it holds."""

    settings: Settings
    folder: Path
    events: int


@pytest.fixture
def settings(event_store_url: str, command_url: str) -> Settings:
    """The databases of a shop without events."""
    return Settings(event_store_url=event_store_url, command_database_url=command_url)


@pytest.fixture
def backup(settings: Settings, tmp_path: Path) -> Backup:
    with connect(settings.event_store_url, 1) as pool:
        store = PostgresEventStore(pool)
        for number in range(300):
            store.append(Append([event(f"order-{number % 7}", number // 7 + 1)]))
        PostgresEventLog(pool).counts()
        for number in range(300, 350):
            store.append(Append([event(f"order-{number % 7}", number // 7 + 1)]))
        with pool.connection() as connection:
            connection.execute("DELETE FROM event_outbox")
    dump(settings, tmp_path / "backup")
    return Backup(settings, tmp_path / "backup", 350)


def event(stream: str, version: int) -> EventRecord:
    return EventRecord(uuid7(), stream, version, "Happened", 1, {}, Context("c", "k"), datetime.now(UTC))


def documents_with(text: str) -> list[str]:
    """Return the paths of Firestore's documents that hold the text, those of all generations."""
    client: Any = firestore.Client(PROJECT)
    found = (document for collection in client.collections() for document in collection.stream())
    return [document.reference.path for document in found if text in str(document.to_dict())]


def streams(pool: Pool) -> list[str]:
    return [entry.event.stream for entry in PostgresEventStore(pool).read_all(Checkpoint(), 10_000)]


def test_a_restored_log_is_complete_counted_and_goes_on(new_cluster: NewCluster, backup: Backup) -> None:
    restored = new_cluster()
    done = load(restored, backup.folder)
    assert done[-1] == "new epochs; 350 events of the last hour are announced again"
    with connect(restored.event_store_url, 1) as pool:
        store, log = PostgresEventStore(pool), PostgresEventLog(pool)
        last = store.end()
        assert len(streams(pool)) == backup.events
        assert log.counts().of("order") == backup.events
        assert log.held_back().events == 0
        store.append(Append([event("product-1", 1)]))
        assert [entry.event.stream for entry in store.read_all(last, 10)] == ["product-1"]
        assert log.counts().of("product") == 1
        with pool.connection() as connection:
            assert missing(connection, EVENT_STORE) == []
            waiting = "SELECT count(*) FROM event_outbox WHERE leased_until < clock_timestamp()"
            assert connection.execute(waiting).fetchone() == (backup.events,)


@pytest.mark.parametrize("change", ["cluster = cluster + 1", "timeline = timeline + 1"])
def test_health_names_the_command_that_mends_a_restored_database(backup: Backup, change: str) -> None:
    """A dump in another cluster, and a cluster that was put back to an earlier moment."""
    with psycopg.connect(backup.settings.event_store_url, autocommit=True) as connection:
        assert missing(connection, EVENT_STORE) == []
        connection.execute(f"UPDATE epochs SET {change}".encode())
        with pytest.raises(Restored, match=r"restored from a backup; run scripts/migrate, then scripts/restore finish"):
            missing(connection, EVENT_STORE)
        migrate_all(backup.settings)
        assert missing(connection, EVENT_STORE) == []
    with connect(backup.settings.event_store_url, 1) as pool:
        assert len(streams(pool)) == backup.events


def test_a_backup_that_was_restored_in_place_gets_a_new_epoch_on_demand(backup: Backup) -> None:
    with connect(backup.settings.event_store_url, 1) as pool:
        lost = Checkpoint(1, PostgresEventStore(pool).end().transaction_id + 1_000_000, 2**40)
        migrate_all(backup.settings, new_epoch=True)
        PostgresEventStore(pool).append(Append([event("product-1", 1)]))
        assert (
            len(PostgresEventStore(pool).read_all(lost, 10)) == 1
        )  # a subscriber that has seen lost events misses none
        assert len(streams(pool)) == backup.events + 1


def test_a_backup_that_is_restored_twice_opens_another_epoch_each_time(new_cluster: NewCluster, backup: Backup) -> None:
    """A follower of the first restored log misses nothing of the second, whose transactions have
    the same ids."""
    first, second = new_cluster(), new_cluster()
    load(first, backup.folder)
    with connect(first.event_store_url, 1) as pool:
        for version in range(1, 30):
            PostgresEventStore(pool).append(Append([event("product-lost", version)]))
        place = PostgresEventStore(pool).end()
    load(second, backup.folder)
    with connect(second.event_store_url, 1) as pool:
        store = PostgresEventStore(pool)
        store.append(Append([event("product-1", 1)]))
        assert [entry.event.stream for entry in store.read_all(place, 10)] == ["product-1"]
    with psycopg.connect(first.command_database_url) as one, psycopg.connect(second.command_database_url) as other:
        opened = [connection.execute("SELECT max(epoch) FROM epochs").fetchone() or () for connection in (one, other)]
        assert opened[0] < opened[1]


def test_only_empty_databases_are_filled(backup: Backup, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="the event_store is not empty; create a new database"):
        load(backup.settings, backup.folder)
    with pytest.raises(Refused, match="holds no dump"):
        load(backup.settings, tmp_path)
    with pytest.raises(FileExistsError):
        dump(backup.settings, backup.folder)


def test_a_dump_shows_both_databases_at_one_moment_while_the_shop_goes_on(
    settings: Settings, new_cluster: NewCluster, tmp_path: Path
) -> None:
    """Each event is written before its saga: a dump never has a saga without its event, nor lacks
    an older saga."""
    stop = Event()

    def write() -> None:
        insert = (
            "INSERT INTO sagas (id, type, version, status, progress, correlation_id) VALUES (%s, %s, 1, '', '{}', '')"
        )
        with connect(settings.event_store_url, 1) as events, connect(settings.command_database_url, 1) as sagas:
            while not stop.is_set():
                saga_id = uuid7()
                PostgresEventStore(events).append(Append([event(f"order-{saga_id}", 1)]))
                with sagas.connection() as connection:
                    connection.execute(insert, (saga_id, f"order-{saga_id}"))

    writers = [Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        dump(settings, tmp_path / "backup")
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    restored = new_cluster()
    load(restored, tmp_path / "backup")
    with psycopg.connect(restored.event_store_url) as events, psycopg.connect(restored.command_database_url) as sagas:
        with_event = {row[0] for row in events.execute("SELECT stream FROM events")}
        with_saga = {row[0] for row in sagas.execute("SELECT type FROM sagas")}
    assert with_saga <= with_event
    assert len(with_event - with_saga) <= len(writers)


def test_the_ledger_is_compared_with_the_orders() -> None:
    class Orders(Shop):
        def __init__(self) -> None:
            super().__init__("", "")

        def ask(self, query: str, **variables: str) -> dict[str, object]:
            known = {"a": "CONFIRMED", "b": "FAILED", "c": "PENDING"}
            ids = query.split('"')[1::2]
            return {key: {"status": known[key]} if key in known else None for key in ids}

    def entry(key: str, status: str) -> dict[str, str]:
        return {"key": key, "status": status, "reference": f"ref-{key}"}

    agree = [
        entry("a", "accepted"),
        entry("b", "undone"),
        entry("b", "refused"),
        entry("c", "accepted"),
        entry("x", "undone"),
    ]
    assert differences(Orders(), {"payment": agree, "shipment": []}) == []
    wrong = {"payment": [entry("a", "undone"), entry("b", "accepted")], "shipment": [entry("x", "accepted")]}
    assert differences(Orders(), wrong) == [
        "payment ref-a of order a is undone, but the order is CONFIRMED; settle it with the customer",
        "payment ref-b of order b is accepted, but the order is FAILED; settle it with the customer",
        "shipment ref-x of order x: the shop has lost this order; undo the shipment, or take the order again",
    ]


def test_the_whole_shop_agrees_after_a_restore(
    shop: BreakableShop, new_cluster: NewCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = shop.product(stock=100)
    of_erased = shop.order(product, userId=ERASED_LATER)
    kept = [of_erased, *(shop.order(product) for _ in range(2))]
    for order in kept:
        assert shop.until_ended(order)[0]["status"] == "CONFIRMED"
    comes_to_rest(shop)
    before = Settings(event_store_url=shop.event_store, command_database_url=shop.command_database)
    dump(before, tmp_path / "backup")
    assert documents_with(ERASED_LATER)
    shop.data(ERASE, user=ERASED_LATER)
    lost = [shop.order(product, 5), shop.order(shop.product(stock=10))]
    for order in lost:
        assert shop.until_ended(order)[0]["status"] == "CONFIRMED"
    comes_to_rest(shop)

    for service in shop.ports.services:
        shop.kill(service)
    assert erasures(before, tmp_path / "erased") == 1
    restored = new_cluster()
    load(restored, tmp_path / "backup")
    assert erase_again(restored, tmp_path / "erased") == 1
    shop.event_store, shop.command_database = restored.event_store_url, restored.command_database_url
    shop.engines["PostgreSQL"].cut()
    shop.engines["PostgreSQL"].point_at(f"{conninfo_to_dict(shop.event_store)['host']}/.s.PGSQL.5432")
    shop.engines["PostgreSQL"].restore()
    shop.start(*shop.ports.services)
    assert shop.data("{ health { checks { name status } } }")["health"]["checks"][0]["status"] == "HEALTHY"

    provider = f"{shop.ports.url('command')}/sandbox_provider"
    chosen = argparse.Namespace(seconds=200, payments=f"{provider}/payments", shipments=f"{provider}/shipments")
    assert finish(Shop(shop.url, ADMIN), chosen) == 1
    screen = capsys.readouterr().out
    assert all(screen.count(f"of order {order}: the shop has lost this order") == 2 for order in lost)
    assert not any(order in screen for order in kept)
    assert [shop.read_order(order) for order in lost] == [{}, {}]
    assert shop.stock(product) == (97, 0)

    for order in lost:
        for kind in ("payments", "shipments"):
            local_http().delete(f"{provider}/{kind}/{order}", timeout=30).raise_for_status()
    assert shop.until_ended(shop.order(product))[0]["status"] == "CONFIRMED"
    comes_to_rest(shop)
    assert faults(shop) == []
    assert shop.data("query ($id: ID!) { order(id: $id) { userId } }", id=of_erased)["order"]["userId"] == "erased"
    assert documents_with(ERASED_LATER) == []
