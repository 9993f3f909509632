-- Schema of the command database: what the write side remembers besides the events.

CREATE TABLE sagas (
    id uuid PRIMARY KEY,
    type text NOT NULL,
    version integer NOT NULL,
    status text NOT NULL,
    deadline_at timestamptz,
    progress jsonb NOT NULL,
    correlation_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sagas_due ON sagas (deadline_at) WHERE deadline_at IS NOT NULL;

-- What a saga saw and what it sent, in order. `kind`: event, command or timer.
CREATE TABLE saga_history (
    saga_id uuid NOT NULL REFERENCES sagas (id),
    version integer NOT NULL,
    entry integer NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    data jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (saga_id, version, entry)
);

CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    topic text NOT NULL,
    message json NOT NULL,
    leased_until timestamptz NOT NULL
);

-- json, not jsonb: a poison message may hold what jsonb can't, such as a null character.
CREATE TABLE dead_letters (
    subscription text NOT NULL,
    message_id text NOT NULL,
    attributes json NOT NULL,
    data text NOT NULL,
    attempts integer,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subscription, message_id)
);

-- The one statement that moves a saga: progress, history and outgoing commands, or nothing when it moved meanwhile.
CREATE FUNCTION save_saga(saga json, expected_version integer, new_entries json, new_messages json)
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
    INSERT INTO saga_history (saga_id, version, entry, kind, name, data)
    SELECT (saga ->> 'id')::uuid, expected_version + 1, number, kind, name, data
    FROM json_array_elements(new_entries) WITH ORDINALITY AS e (entry, number),
        json_to_record(entry) AS r (kind text, name text, data jsonb);
    INSERT INTO outbox (id, topic, message, leased_until)
    SELECT id, topic, m, clock_timestamp() + interval '15 seconds'
    FROM json_array_elements(new_messages) AS m, json_to_record(m) AS r (id uuid, topic text);
END
$$;
