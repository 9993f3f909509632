-- The histories of all sagas as one log: what each of them came to, and which messages it sent.

-- As in the event store (see its epochs, and read_all in postgres.py there): readers stop below the oldest transaction
-- that is still running, and what is restored to another cluster goes on in a new epoch.
CREATE TABLE epochs (
    epoch smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster bigint NOT NULL
);

CREATE FUNCTION open_epoch() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this_cluster bigint := (SELECT system_identifier FROM pg_control_system());
BEGIN
    IF (SELECT cluster FROM epochs ORDER BY epoch DESC LIMIT 1) IS DISTINCT FROM this_cluster THEN
        INSERT INTO epochs (cluster) VALUES (this_cluster);
        EXECUTE format(
            'ALTER TABLE saga_history ALTER COLUMN epoch SET DEFAULT %s', (SELECT max(epoch) FROM epochs)
        );
    END IF;
END
$$;

-- `message`: the id of the message that carried a command. `progress`: what the saga came to, with the last entry of
-- each version. Of what was sent before this, the ids were not kept: it gets one to be told apart by.
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

-- Code of before this does not say which message carries a command; they come in the same order.
CREATE OR REPLACE FUNCTION save_saga(saga json, expected_version integer, new_entries json, new_messages json)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF expected_version = 0 THEN
        INSERT INTO sagas (id, type, version, status, deadline_at, progress, correlation_id)
        SELECT id, type, 1, status, deadline_at, progress, correlation_id FROM json_to_record(saga) AS s (
            id uuid, type text, status text, deadline_at timestamptz, progress jsonb, correlation_id text
        );
    ELSE
        UPDATE sagas SET version = version + 1, status = s.status, deadline_at = s.deadline_at,
            progress = s.progress, updated_at = now()
        FROM json_to_record(saga) AS s (id uuid, status text, deadline_at timestamptz, progress jsonb)
        WHERE sagas.id = s.id AND version = expected_version;
        IF NOT FOUND THEN
            RAISE unique_violation USING CONSTRAINT = 'sagas_version';
        END IF;
    END IF;
    INSERT INTO saga_history (saga_id, version, entry, kind, name, data, message, progress)
    SELECT (saga ->> 'id')::uuid, expected_version + 1, number, kind, name, data,
        coalesce(message, CASE kind WHEN 'command' THEN (
            new_messages -> (count(*) FILTER (WHERE kind = 'command') OVER (ORDER BY number) - 1)::integer ->> 'id'
        )::uuid END),
        CASE number WHEN json_array_length(new_entries) THEN (saga -> 'progress')::jsonb END
    FROM json_array_elements(new_entries) WITH ORDINALITY AS e (entry, number),
        json_to_record(entry) AS r (kind text, name text, data jsonb, message uuid)
    ORDER BY number;
    INSERT INTO outbox (id, topic, message, leased_until)
    SELECT id, topic, m, clock_timestamp() + interval '15 seconds'
    FROM json_array_elements(new_messages) AS m, json_to_record(m) AS r (id uuid, topic text);
END
$$;

-- How many commands of each kind were sent, also those that have been forgotten since.
CREATE TABLE saga_command_counts (
    name text PRIMARY KEY,
    count bigint NOT NULL,
    last_at timestamptz NOT NULL
);

-- How far `saga_command_counts` has come: one row.
CREATE TABLE saga_commands_counted (
    epoch smallint NOT NULL,
    transaction_id xid8 NOT NULL,
    position bigint NOT NULL
);
INSERT INTO saga_commands_counted VALUES (0, '0', 0);

-- Look at up to `batch` further entries; how many there were. As the event store's count_events: nothing is written
-- while a saga moves or in its way. Who may only read may have commands counted.
CREATE FUNCTION count_saga_commands(batch integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    counted saga_commands_counted;
    further integer;
BEGIN
    SELECT * INTO counted FROM saga_commands_counted FOR UPDATE;
    WITH new AS MATERIALIZED (
        SELECT epoch, transaction_id, position, name, message, recorded_at FROM saga_history
        WHERE (epoch, transaction_id, position) > (counted.epoch, counted.transaction_id, counted.position)
          AND (epoch < (SELECT max(epoch) FROM epochs) OR transaction_id < pg_snapshot_xmin(pg_current_snapshot()))
        ORDER BY epoch, transaction_id, position LIMIT batch
    ), added AS (
        INSERT INTO saga_command_counts (name, count, last_at)
        SELECT name, count(*), max(recorded_at) FROM new WHERE message IS NOT NULL GROUP BY name ORDER BY name
        ON CONFLICT (name) DO UPDATE SET count = saga_command_counts.count + excluded.count,
            last_at = greatest(saga_command_counts.last_at, excluded.last_at)
    ), moved AS (
        UPDATE saga_commands_counted SET (epoch, transaction_id, position) = (
            SELECT epoch, transaction_id, position FROM new ORDER BY epoch DESC, transaction_id DESC, position DESC LIMIT 1
        )
        WHERE EXISTS (SELECT FROM new)
    )
    SELECT count(*) INTO further FROM new;
    RETURN further;
END
$$;

-- The same of dead letters, by the subscription that gave up. They are few, so each is counted as it comes.
CREATE TABLE dead_letter_counts (
    source text PRIMARY KEY,
    count bigint NOT NULL,
    last_at timestamptz NOT NULL
);
INSERT INTO dead_letter_counts (source, count, last_at)
SELECT source, count(*), max(at) FROM dead_letter_history JOIN dead_letters l ON l.id = letter_id
WHERE kind = 'FAILED' GROUP BY source;

CREATE FUNCTION count_dead_letter() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO dead_letter_counts (source, count, last_at)
    SELECT source, 1, NEW.at FROM dead_letters WHERE id = NEW.letter_id
    ON CONFLICT (source) DO UPDATE SET count = dead_letter_counts.count + 1,
        last_at = greatest(dead_letter_counts.last_at, excluded.last_at);
    RETURN NULL;
END
$$;
CREATE TRIGGER dead_letters_counted AFTER INSERT ON dead_letter_history
FOR EACH ROW WHEN (NEW.kind = 'FAILED') EXECUTE FUNCTION count_dead_letter();
CREATE INDEX dead_letter_history_failed ON dead_letter_history (at) WHERE kind = 'FAILED';
