-- The one statement that moves a saga, and the counting of its commands.

-- Save a saga's progress, history and outgoing commands, or nothing: a saga that has moved meanwhile violates
-- sagas_version.
-- `new_entries`: code older than 0007 does not say which message carries a command; they come in the same order.
-- `lease_seconds`: how long only the caller publishes the messages. Functions of the previous release do not pass it.
CREATE OR REPLACE FUNCTION save_saga(
    saga json, expected_version integer, new_entries json, new_messages json, lease_seconds double precision DEFAULT 15
) RETURNS void LANGUAGE plpgsql AS $$
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
    INSERT INTO saga_outbox (id, topic, message, leased_until)
    SELECT id, topic, m, clock_timestamp() + make_interval(secs => lease_seconds)
    FROM json_array_elements(new_messages) AS m, json_to_record(m) AS r (id uuid, topic text);
END
$$;

-- Look at up to `batch` further entries of the log, count the commands among them, and return how many entries there
-- were. Like the event store's count_events, it neither delays sagas nor waits for them.
-- SECURITY DEFINER: roles that may only read may count commands.
CREATE OR REPLACE FUNCTION count_saga_commands(batch integer) RETURNS integer
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
