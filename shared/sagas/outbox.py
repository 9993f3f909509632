"""The saga store's outbox in PostgreSQL: commands, and messages that wait for a dependency."""

from shared.messaging.envelope import decode_stored
from shared.messaging.outbox import OutboxTable

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
