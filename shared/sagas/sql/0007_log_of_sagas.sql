-- The histories of all sagas as one log: every step of each saga, and the messages that it sent.
-- formerly: e1d7b93d98494a28dd49c3324a6b59ebdd44ecd75315050a104cd7bd674e89bc

-- As in the event store: readers stop below the oldest transaction that is still running, and a log that was restored
-- to another cluster goes on in a new epoch; see open_epoch.
CREATE TABLE epochs (
    epoch smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster bigint NOT NULL
);

-- `message`: the id of the message that carried a command. `progress`: the saga's progress after a version, stored with
-- the version's last entry. The message ids of older entries are unknown: each gets a new id, to be told apart by.
ALTER TABLE saga_history
    ADD COLUMN position bigint,
    ADD COLUMN epoch smallint NOT NULL DEFAULT 1,
    ADD COLUMN transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ADD COLUMN message uuid,
    ADD COLUMN progress jsonb;
UPDATE saga_history h SET position = n, message = CASE kind WHEN 'command' THEN gen_random_uuid() END
FROM (
    SELECT saga_id, version, entry, row_number() OVER (ORDER BY recorded_at, saga_id, version, entry) AS n
    FROM saga_history
) AS o
WHERE (h.saga_id, h.version, h.entry) = (o.saga_id, o.version, o.entry);
ALTER TABLE saga_history ALTER COLUMN position SET NOT NULL, ALTER COLUMN position ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval(
    pg_get_serial_sequence('saga_history', 'position'), (SELECT coalesce(max(position), 0) + 1 FROM saga_history), false
);
CREATE INDEX saga_history_log ON saga_history (epoch, transaction_id, position);
CREATE INDEX saga_history_sent ON saga_history (name, recorded_at, position) WHERE message IS NOT NULL;

-- How many commands of each kind were sent, including those whose history has been deleted.
CREATE TABLE saga_command_counts (
    name text PRIMARY KEY,
    count bigint NOT NULL,
    last_at timestamptz NOT NULL
);

-- The place in the log up to which `saga_command_counts` has counted: one row.
CREATE TABLE saga_commands_counted (
    epoch smallint NOT NULL,
    transaction_id xid8 NOT NULL,
    position bigint NOT NULL
);
INSERT INTO saga_commands_counted VALUES (0, '0', 0);

-- How many dead letters each subscription has produced. They are few, so a trigger counts each one.
CREATE TABLE dead_letter_counts (
    source text PRIMARY KEY,
    count bigint NOT NULL,
    last_at timestamptz NOT NULL
);
-- No other transaction may add a failure between this count and the trigger, which this migration creates at its end.
LOCK TABLE dead_letter_history IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO dead_letter_counts (source, count, last_at)
SELECT source, count(*), max(at) FROM dead_letter_history JOIN dead_letters l ON l.id = letter_id
WHERE kind = 'FAILED' GROUP BY source;
CREATE INDEX dead_letter_history_failed ON dead_letter_history (at) WHERE kind = 'FAILED';
