"""The saga store's outbox in PostgreSQL: commands, and messages that wait for a dependency."""

from typing import LiteralString

from shared.messaging.envelope import decode_stored
from shared.messaging.postgres import OutboxTable

# The lease is a short transaction of its own: a long one would hold back the readers of the log.
SAGA_OUTBOX = OutboxTable(
    claim="""
UPDATE saga_outbox SET leased_until = clock_timestamp() + make_interval(secs => %s)
WHERE id IN (
    SELECT id FROM saga_outbox WHERE leased_until < clock_timestamp() ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
)
RETURNING message
""",
    delete="DELETE FROM saga_outbox WHERE id = ANY(%s)",
    backlog="SELECT count(*), min((message ->> 'time')::timestamptz) FROM saga_outbox",
    about="SELECT message FROM saga_outbox WHERE message ->> 'subject' = %s ORDER BY id",
    message=lambda row: decode_stored(row[0]),
)

# Not `excluded.id`: that would need the right to read the messages that wait.
POSTPONE: LiteralString = """
INSERT INTO saga_outbox (id, topic, message, place, leased_until)
VALUES (%(id)s, %(topic)s, %(message)s, %(place)s, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (place) DO UPDATE
SET id = %(id)s, message = %(message)s, leased_until = clock_timestamp() + make_interval(secs => %(seconds)s)
"""
