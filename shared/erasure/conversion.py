"""Encrypt, once, what was written about persons before there were keys.

It goes through the log page by page and may be stopped and run again at any time, while the shop
runs: what is encrypted already stays as it is. Events keep their places in the log.
"""

from collections.abc import Iterator

import psycopg
from psycopg.rows import TupleRow
from pydantic_core import to_json

from shared.erasure.protocol import PersonKey, PersonKeys
from shared.erasure.seals import is_order, is_personal, keys_of, sealed
from shared.event_store.postgres import COLUMNS, event_from
from shared.event_store.protocol import EventRecord

_PAGE = 1_000
_READ = f"SELECT position, {COLUMNS} FROM events WHERE position > %s ORDER BY position LIMIT {_PAGE}"  # noqa: S608 - constants
_FIRST = f"SELECT {COLUMNS} FROM events WHERE stream = %s AND version = 1"  # noqa: S608 - constants
_REPLACE = "UPDATE events SET data = %s::jsonb, metadata = %s::jsonb WHERE stream = %s AND version = %s"
_SNAPSHOTS = "DELETE FROM snapshots WHERE stream LIKE 'order-%'"

# Words of persons that sagas copied, and what was asked of the shop.
_OF_SAGAS = (
    """UPDATE sagas SET progress = jsonb_set(progress, '{reason}', '"not kept"')
       WHERE progress ->> 'reason' NOT LIKE 'no % in time' AND progress ->> 'reason' <> 'not kept'""",
    """UPDATE saga_history SET data = jsonb_set(data, '{reason}', '"not kept"')
       WHERE data ? 'reason' AND data ->> 'reason' <> 'not kept'""",
    "DELETE FROM executions WHERE kind <> 'operation'",
)


def encrypt_orders(connection: psycopg.Connection[TupleRow], keys: PersonKeys) -> int:
    """Encrypt the personal values of all orders' events and return how many events had some.

    `connection`: to the event store, in autocommit mode, of a user who may update events.
    """
    done, known = 0, dict[str, PersonKey]()
    for page in _pages(connection):
        plain = [event for event in page if is_personal(event)]
        if plain:
            of_streams = {event.stream: known.get(event.stream) or _key(connection, keys, event) for event in plain}
            known = of_streams if len(known) > 10 * _PAGE else known | of_streams
            with connection.transaction(), connection.cursor() as cursor:
                new = [sealed(event, of_streams[event.stream]) for event in plain]
                cursor.executemany(_REPLACE, [_values(event) for event in new])
            done += len(plain)
    connection.execute(_SNAPSHOTS)
    return done


def forget_copies(connection: psycopg.Connection[TupleRow]) -> None:
    """Remove persons' words that sagas have copied, and the history of requests. `connection`: to
    the command database."""
    for statement in _OF_SAGAS:
        connection.execute(statement)


def _pages(connection: psycopg.Connection[TupleRow]) -> Iterator[list[EventRecord]]:
    """Yield the orders' events page by page."""
    position = 0
    while rows := connection.execute(_READ, (position,)).fetchall():
        yield [event for row in rows if is_order((event := event_from(row[1:])).stream)]
        position = rows[-1][0]


def _key(connection: psycopg.Connection[TupleRow], keys: PersonKeys, event: EventRecord) -> PersonKey:
    """Return the key of the event's stream."""
    first = event_from(connection.execute(_FIRST, (event.stream,)).fetchall()[0])
    ids = keys_of([first])
    return keys.of(ids)[next(iter(ids))] if ids else keys.current(first.data["user_id"])


def _values(event: EventRecord) -> tuple[object, ...]:
    data, metadata = to_json(event.data).decode(), to_json(vars(event.metadata)).decode()
    return data, metadata, event.stream, event.version
