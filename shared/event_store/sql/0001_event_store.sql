-- Schema of the event store: the log, and the four things that must change in the same transaction as the log.

-- Transaction ids order the log (see read_all in postgres.py). A dump and restore starts them anew, so each stretch of
-- the log that was written by one cluster is an epoch; the migration that first runs on another cluster opens the next.
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
            'ALTER TABLE events ALTER COLUMN epoch SET DEFAULT %s', (SELECT max(epoch) FROM epochs)
        );
    END IF;
END
$$;

CREATE TABLE events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch smallint NOT NULL DEFAULT 1,
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id uuid NOT NULL,
    stream text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    type text NOT NULL,
    schema_version smallint NOT NULL,
    data jsonb NOT NULL,
    metadata jsonb NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT events_stream_version UNIQUE (stream, version),
    CONSTRAINT events_id UNIQUE (id)
);
CREATE INDEX events_log ON events (epoch, transaction_id, position);

CREATE TABLE snapshots (
    stream text PRIMARY KEY,
    version integer NOT NULL,
    schema_version smallint NOT NULL,
    state jsonb NOT NULL,
    created_at timestamptz NOT NULL,  -- when the stream's first event was recorded
    updated_at timestamptz NOT NULL   -- when the event of this version was
);

-- Events that have not been announced. `leased_until`: who appended or claimed one announces it until then; after that
-- anybody may.
CREATE TABLE outbox (
    position bigint PRIMARY KEY,
    leased_until timestamptz NOT NULL
);

CREATE TABLE idempotency (
    key text PRIMARY KEY,
    fingerprint text NOT NULL,
    result text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

-- Which category a category or product lies in. Foreign key and index hold the rules under any concurrency.
CREATE TABLE placements (
    stream text PRIMARY KEY,
    parent text CONSTRAINT placements_parent REFERENCES placements (stream),
    name text
);
CREATE UNIQUE INDEX placements_sibling_name ON placements (coalesce(parent, ''), name) WHERE name IS NOT NULL;
CREATE INDEX placements_children ON placements (parent);

CREATE FUNCTION place(item_stream text, item_parent text, item_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM placements WHERE stream = item_stream AND parent IS DISTINCT FROM item_parent) THEN
        -- Two moves that close a circle together touch different rows: only one move at a time sees the whole tree.
        PERFORM pg_advisory_xact_lock(hashtext('placements'));
        IF EXISTS (
            WITH RECURSIVE above AS (
                SELECT stream, parent FROM placements WHERE stream = item_parent
                UNION
                SELECT p.stream, p.parent FROM placements p JOIN above ON p.stream = above.parent
            )
            SELECT FROM above WHERE stream = item_stream
        ) THEN
            RAISE check_violation USING CONSTRAINT = 'placements_no_circle';
        END IF;
    END IF;
    INSERT INTO placements (stream, parent, name) VALUES (item_stream, item_parent, item_name)
    ON CONFLICT (stream) DO UPDATE SET parent = excluded.parent, name = excluded.name;
END
$$;

CREATE FUNCTION place_all(new_placements json) RETURNS void LANGUAGE sql AS $$
    SELECT place(stream, parent, name)
    FROM json_to_recordset(new_placements) AS p (stream text, parent text, name text, removed boolean)
    WHERE NOT removed;
    DELETE FROM placements WHERE stream IN (
        SELECT stream FROM json_to_recordset(new_placements) AS p (stream text, removed boolean) WHERE removed
    );
$$;

CREATE FUNCTION record_once(new_record json) RETURNS void LANGUAGE sql AS $$
    INSERT INTO idempotency (key, fingerprint, result)
    SELECT key, fingerprint, result FROM json_to_record(new_record) AS r (key text, fingerprint text, result text);
$$;

-- What postgres.py calls to append, unless there is but one event and no rule to hold. `new_events`: in stream order, so that two appends never wait for each other in a
-- circle, each stream's first marked. A version that is taken violates events_stream_version; one that would leave a gap
-- is left out and then raised as the same.
CREATE FUNCTION append_events(new_events json, new_placements json, new_record json)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    appended integer;
BEGIN
    IF new_record IS NOT NULL THEN PERFORM record_once(new_record); END IF;
    WITH inserted AS (
        INSERT INTO events (id, stream, version, type, schema_version, data, metadata, recorded_at)
        SELECT id, stream, version, type, schema_version, data, metadata, recorded_at
        FROM json_to_recordset(new_events) AS e (
            id uuid, stream text, version integer, type text, schema_version smallint,
            data jsonb, metadata jsonb, recorded_at timestamptz, first boolean
        )
        WHERE NOT e.first OR e.version = 1
           OR EXISTS (SELECT FROM events x WHERE x.stream = e.stream AND x.version = e.version - 1)
        RETURNING position
    )
    INSERT INTO outbox (position, leased_until)
    SELECT position, clock_timestamp() + interval '15 seconds' FROM inserted;
    GET DIAGNOSTICS appended = ROW_COUNT;
    IF appended < json_array_length(new_events) THEN
        RAISE unique_violation USING CONSTRAINT = 'events_stream_version';
    END IF;
    IF new_placements IS NOT NULL THEN PERFORM place_all(new_placements); END IF;
END
$$;
