"""Migrate both PostgreSQL databases and, where each function has its own user, grant these users
their roles."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import httpx
import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from shared.config.manifest import SQL_FOLDERS, Function, manifest
from shared.config.settings import Settings, service_name, settings
from shared.erasure.conversion import encrypt_orders, forget_copies
from shared.erasure.postgres import person_keys
from shared.postgres.migrations import migrate
from shared.postgres.pool import Password, connect, login_token, verified
from shared.resilience import clock

_ROLES = """
SELECT role.rolname FROM pg_auth_members JOIN pg_roles role ON role.oid = roleid
WHERE member = to_regrole(quote_ident(%s)) AND starts_with(role.rolname, 'shop_')
"""

# Messages that were on their way at the moment of the backup are lost: an order's saga might never
# begin. Everything that gets an event twice recognizes it.
_ANNOUNCE_AGAIN = """
INSERT INTO event_outbox (position, leased_until) SELECT position, clock_timestamp() FROM events
WHERE recorded_at > (SELECT max(recorded_at) FROM events) - interval '1 hour' ON CONFLICT DO NOTHING
"""


class NoSuchUser(Exception):
    """A function's user does not exist; Terraform creates it before the migration runs."""


_SIGN_IN_SECONDS = 600.0


def until_signed_in(migration: Callable[[], list[str]], patience: float = _SIGN_IN_SECONDS) -> list[str]:
    """Repeat the migration for `patience` seconds while PostgreSQL refuses the sign-in: after the
    first deployment Google knows the right to sign in only after some minutes. Raise psycopg's
    OperationalError."""
    until = clock.monotonic() + patience
    while True:
        try:
            return migration()
        except psycopg.OperationalError as error:
            refused = error.sqlstate is None or error.sqlstate.startswith("28")
            if not refused or clock.monotonic() > until:
                raise
            print(f"the sign-in does not work yet: {error}", flush=True)
        clock.sleep(min(10.0, patience / 40))


def migrate_all(settings: Settings, new_epoch: bool = False) -> list[str]:
    """Return the names of the files applied now and the changes of roles.

    `new_epoch`: after a backup was restored, open the next epoch of both logs and announce the last
    hour's events again. Without it, an epoch is opened only where the cluster or its timeline is
    another; a backup that was restored in place may keep both.
    """
    password = login_token if settings.database_iam else None
    event_store, command = _urls(settings)
    applied = [
        *migrate(event_store, SQL_FOLDERS["event_store"], password),
        *migrate(command, SQL_FOLDERS["command_database"], password),
    ]
    if new_epoch:
        with psycopg.connect(event_store, password=password() if password else None) as connection:
            connection.execute("SELECT open_epoch('events', anew => true)")
            again = connection.execute(_ANNOUNCE_AGAIN).rowcount
        with psycopg.connect(command, password=password() if password else None) as connection:
            connection.execute("SELECT open_epoch('saga_history', anew => true)")
        applied.append(f"new epochs; {again} events of the last hour are announced again")
    return applied + (give_roles(settings, password) if settings.database_user else [])


def encrypt_all(settings: Settings) -> list[str]:
    """Encrypt what orders from before there were keys say about persons. It may be repeated."""
    password = login_token if settings.database_iam else None
    event_store, command = _urls(settings)
    with (
        connect(command, 1, password) as pool,
        psycopg.connect(event_store, password=password() if password else None, autocommit=True) as events,
        psycopg.connect(command, password=password() if password else None, autocommit=True) as copies,
        httpx.Client() as client,
    ):
        done = encrypt_orders(events, person_keys(pool, settings.wrapping_key, lambda: client))
        forget_copies(copies)
    return [f"{done} events of orders are encrypted now"]


def _urls(settings: Settings) -> list[str]:
    return [verified(url, settings.database_ca) for url in (settings.event_store_url, settings.command_database_url)]


def give_roles(settings: Settings, password: Password | None = None) -> list[str]:
    """Make every function's user a member of exactly those shop roles that the manifest lists;
    return the changes."""
    functions = [function for function in manifest().functions.values() if function.database_roles]
    with psycopg.connect(_urls(settings)[0], password=password() if password else None) as connection:
        # Users and roles belong to the whole server, so one process changes them at a time.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('give_roles'))")
        return [
            change for function in functions for change in _change_roles(connection, settings.database_user, function)
        ]


def _change_roles(connection: Connection[TupleRow], template: str, function: Function) -> Sequence[str]:
    user = template.format(service=service_name(function.name))
    if connection.execute("SELECT to_regrole(quote_ident(%s))", (user,)).fetchone() == (None,):
        raise NoSuchUser(f"PostgreSQL has no user {user} for {function.name}; terraform apply creates it")
    present, wanted = {row[0] for row in connection.execute(_ROLES, (user,))}, set(function.database_roles)
    for role in sorted(wanted - present):
        connection.execute(SQL("GRANT {} TO {} WITH INHERIT TRUE").format(Identifier(role), Identifier(user)))
    for role in sorted(present - wanted):
        connection.execute(SQL("REVOKE {} FROM {}").format(Identifier(role), Identifier(user)))
    return [f"{user}: +{role}" for role in sorted(wanted - present)] + [
        f"{user}: -{role}" for role in sorted(present - wanted)
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser("scripts/migrate", description=__doc__)
    parser.add_argument("--new-epoch", action="store_true", help="after a backup was restored in place")
    parser.add_argument(
        "--encrypt-orders", action="store_true", help="also encrypt orders from before orders were encrypted"
    )
    arguments = parser.parse_args()
    chosen, new_epoch = settings(), arguments.new_epoch
    done = until_signed_in(partial(migrate_all, chosen, new_epoch), _SIGN_IN_SECONDS if chosen.database_iam else 0)
    print("\n".join(done) or "up to date")
    if arguments.encrypt_orders:
        print("\n".join(encrypt_all(chosen)))
