-- What an append does in one statement, the outbox, snapshots, the counting of events, and how far the log is held back.

-- Put a category or product below its category, or move it there.
CREATE OR REPLACE FUNCTION place(item_stream text, item_parent text, item_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF item_parent = item_stream THEN -- the foreign key is content with a new row that refers to itself
        RAISE check_violation USING CONSTRAINT = 'placements_no_circle';
    END IF;
    IF EXISTS (SELECT FROM placements WHERE stream = item_stream AND parent IS DISTINCT FROM item_parent) THEN
        -- Two moves that close a circle together change different rows: only one move at a time sees the whole tree.
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

CREATE OR REPLACE FUNCTION place_all(new_placements json) RETURNS void LANGUAGE sql AS $$
    SELECT place(stream, parent, name)
    FROM json_to_recordset(new_placements) AS p (stream text, parent text, name text, removed boolean)
    WHERE NOT removed;
    DELETE FROM placements WHERE stream IN (
        SELECT stream FROM json_to_recordset(new_placements) AS p (stream text, removed boolean) WHERE removed
    );
$$;

-- Record the result of an idempotency key. An expired key is like a new one: the next request replaces its result.
-- A key that is still valid violates idempotency_pkey.
CREATE OR REPLACE FUNCTION record_once(new_record json) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO idempotency (key, fingerprint, result)
    SELECT key, fingerprint, result FROM json_to_record(new_record) AS r (key text, fingerprint text, result text)
    ON CONFLICT (key) DO UPDATE
    SET fingerprint = excluded.fingerprint, result = excluded.result, recorded_at = clock_timestamp()
    WHERE idempotency.recorded_at
        <= clock_timestamp() - make_interval(secs => (new_record ->> 'kept_seconds')::double precision);
    IF NOT FOUND THEN
        RAISE unique_violation USING CONSTRAINT = 'idempotency_pkey';
    END IF;
END
$$;

-- Append events with their outbox rows, placements and idempotency record, or nothing. postgres.py calls it for every
-- append but that of a single event without rules.
-- `new_events`: in stream order, so that two appends never wait for each other in a circle; each stream's first event is
-- marked. A version that exists already violates events_stream_version; a version that would leave a gap is not
-- inserted and raises the same violation. Without events, the events table is not written, so the role of a command
-- that only records its result needs no right on it.
-- `lease_seconds`: how long only the caller announces the events. Functions of the previous release do not pass it.
CREATE OR REPLACE FUNCTION append_events(
    new_events json, new_placements json, new_record json, lease_seconds double precision DEFAULT 15
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    appended integer;
BEGIN
    IF new_record IS NOT NULL THEN PERFORM record_once(new_record); END IF;
    IF json_array_length(new_events) > 0 THEN
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
        INSERT INTO event_outbox (position, leased_until)
        SELECT position, clock_timestamp() + make_interval(secs => lease_seconds) FROM inserted;
        GET DIAGNOSTICS appended = ROW_COUNT;
        IF appended < json_array_length(new_events) THEN
            RAISE unique_violation USING CONSTRAINT = 'events_stream_version';
        END IF;
    END IF;
    IF new_placements IS NOT NULL THEN PERFORM place_all(new_placements); END IF;
END
$$;

-- Lease the oldest events whose lease has ended to the caller, which announces them, and return them. It is a short
-- transaction of its own: locks held while publishing would hold back the readers of the log.
CREATE OR REPLACE FUNCTION claim_events(lease_seconds double precision, batch integer) RETURNS SETOF events
LANGUAGE sql AS $$
    WITH claimed AS (
        UPDATE event_outbox SET leased_until = clock_timestamp() + make_interval(secs => lease_seconds)
        WHERE position IN (
            SELECT position FROM event_outbox WHERE leased_until < clock_timestamp()
            ORDER BY position LIMIT batch FOR UPDATE SKIP LOCKED
        )
        RETURNING position
    )
    SELECT events.* FROM claimed JOIN events USING (position) ORDER BY position
$$;

-- Save the snapshot unless its stream has one of a later version or of a newer schema.
CREATE OR REPLACE FUNCTION save_snapshot(new_snapshot json) RETURNS void LANGUAGE sql AS $$
    INSERT INTO snapshots (stream, version, schema_version, state, created_at, updated_at)
    SELECT stream, version, schema_version, state, created_at, updated_at FROM json_to_record(new_snapshot) AS s (
        stream text, version integer, schema_version smallint, state jsonb, created_at timestamptz, updated_at timestamptz
    )
    ON CONFLICT (stream) DO UPDATE
    SET version = excluded.version, schema_version = excluded.schema_version, state = excluded.state,
        updated_at = excluded.updated_at
    WHERE (snapshots.schema_version, snapshots.version) < (excluded.schema_version, excluded.version)
$$;

-- Delete up to `batch` of the oldest idempotency records that were made before a moment, and return how many.
CREATE OR REPLACE FUNCTION forget_keys(before timestamptz, batch integer) RETURNS bigint LANGUAGE sql AS $$
    WITH forgotten AS (
        DELETE FROM idempotency WHERE recorded_at < before AND key IN (
            SELECT key FROM idempotency WHERE recorded_at < before ORDER BY recorded_at LIMIT batch
        )
        RETURNING 1
    )
    SELECT count(*) FROM forgotten
$$;

-- Count up to `batch` further events and return how many there were. It neither delays appends nor waits for them: it
-- counts only events that can no longer change, for one caller at a time. event_seconds ignores events that a writer's
-- clock dates more than two minutes away.
-- SECURITY DEFINER: roles that may only read may count events.
CREATE OR REPLACE FUNCTION count_events(batch integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    counted events_counted;
    further integer;
BEGIN
    SELECT * INTO counted FROM events_counted FOR UPDATE;
    WITH new AS MATERIALIZED (
        SELECT epoch, transaction_id, position, type, split_part(stream, '-', 1) AS aggregate, recorded_at FROM events
        WHERE (epoch, transaction_id, position) > (counted.epoch, counted.transaction_id, counted.position)
          AND (epoch < (SELECT max(epoch) FROM epochs) OR transaction_id < pg_snapshot_xmin(pg_current_snapshot()))
        ORDER BY epoch, transaction_id, position LIMIT batch
    ), added AS (
        INSERT INTO event_counts (type, aggregate, count)
        SELECT type, aggregate, count(*) FROM new GROUP BY type, aggregate ORDER BY type, aggregate
        ON CONFLICT (type, aggregate) DO UPDATE SET count = event_counts.count + excluded.count
    ), timed AS (
        INSERT INTO event_seconds (second, count)
        SELECT date_trunc('second', recorded_at), count(*) FROM new
        WHERE recorded_at BETWEEN clock_timestamp() - interval '2 minutes' AND clock_timestamp() + interval '2 minutes'
        GROUP BY 1 ORDER BY 1
        ON CONFLICT (second) DO UPDATE SET count = event_seconds.count + excluded.count
    ), moved AS (
        UPDATE events_counted SET (epoch, transaction_id, position) = (
            SELECT epoch, transaction_id, position FROM new ORDER BY epoch DESC, transaction_id DESC, position DESC LIMIT 1
        )
        WHERE EXISTS (SELECT FROM new)
    )
    SELECT count(*) INTO further FROM new;
    IF further > 0 THEN
        DELETE FROM event_seconds WHERE second < clock_timestamp() - interval '2 minutes';
    END IF;
    RETURN further;
END
$$;

-- Return the age of the oldest transaction that holds back the log's readers, and how many committed events it hides from
-- them, counted up to 100,000. Every transaction with an id counts, in whichever database of the server it runs.
-- SECURITY DEFINER: pg_stat_activity shows when a transaction began only to its own user and to members of pg_monitor.
-- Where the owner of this function is neither, the time of the oldest hidden event stands for it.
CREATE OR REPLACE FUNCTION held_back(OUT oldest_transaction_seconds double precision, OUT events bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH hidden AS MATERIALIZED (
        SELECT recorded_at FROM events
        WHERE epoch = (SELECT max(epoch) FROM epochs) AND transaction_id >= pg_snapshot_xmin(pg_current_snapshot())
        LIMIT 100000
    ), running (since) AS (
        SELECT coalesce(xact_start, (SELECT min(recorded_at) FROM hidden)) FROM pg_stat_activity
        WHERE backend_xid IS NOT NULL
        UNION ALL SELECT prepared FROM pg_prepared_xacts
    )
    SELECT coalesce(greatest(0, extract(epoch FROM clock_timestamp() - min(since))), 0)::double precision,
        (SELECT count(*) FROM hidden)
    FROM running
$$;
