"""Bring both PostgreSQL databases up to date; where functions have users of their own, give these their roles."""

from collections.abc import Sequence

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from shared.config.manifest import Function, manifest
from shared.config.settings import Settings, service_name, settings
from shared.postgres.migrations import COMMAND_DATABASE, EVENT_STORE, migrate
from shared.postgres.pool import Password, login_token

_OURS = """
SELECT role.rolname FROM pg_auth_members JOIN pg_roles role ON role.oid = roleid
WHERE member = to_regrole(quote_ident(%s)) AND starts_with(role.rolname, 'shop_')
"""


class NoSuchUser(Exception):
    """A function's user is not there; Terraform makes it before this runs."""


def migrate_all(settings: Settings) -> list[str]:
    """The names of the files that were applied now."""
    password = login_token if settings.database_iam else None
    applied = [
        *migrate(settings.event_store_url, EVENT_STORE, password),
        *migrate(settings.command_database_url, COMMAND_DATABASE, password),
    ]
    return applied + (give_roles(settings, password) if settings.database_user else [])


def give_roles(settings: Settings, password: Password | None = None) -> list[str]:
    """Make every function's user a member of its roles and of no other of ours; what was changed."""
    functions = [function for function in manifest().functions.values() if function.database_roles]
    with psycopg.connect(settings.event_store_url, password=password() if password else None) as connection:
        # Users and roles are the whole server's, so one at a time, whichever database.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('give_roles'))")
        changes = [_given(connection, settings.database_user, function) for function in functions]
    return [change for changed in changes for change in changed]


def _given(connection: Connection[TupleRow], template: str, function: Function) -> Sequence[str]:
    user = template.format(service=service_name(function.name))
    if connection.execute("SELECT to_regrole(quote_ident(%s))", (user,)).fetchone() == (None,):
        raise NoSuchUser(f"PostgreSQL has no user {user} for {function.name}; terraform apply makes it")
    there, wanted = {row[0] for row in connection.execute(_OURS, (user,))}, set(function.database_roles)
    for role in sorted(wanted - there):
        connection.execute(SQL("GRANT {} TO {} WITH INHERIT TRUE").format(Identifier(role), Identifier(user)))
    for role in sorted(there - wanted):
        connection.execute(SQL("REVOKE {} FROM {}").format(Identifier(role), Identifier(user)))
    return [f"{user}: +{role}" for role in sorted(wanted - there)] + [
        f"{user}: -{role}" for role in sorted(there - wanted)
    ]


if __name__ == "__main__":
    print("\n".join(migrate_all(settings())) or "up to date")
