-- Only an append that has events writes events: what records nothing but its answer needs no right to.
CREATE OR REPLACE FUNCTION append_events(new_events json, new_placements json, new_record json)
RETURNS void LANGUAGE plpgsql AS $$
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
        INSERT INTO outbox (position, leased_until)
        SELECT position, clock_timestamp() + interval '15 seconds' FROM inserted;
        GET DIAGNOSTICS appended = ROW_COUNT;
        IF appended < json_array_length(new_events) THEN
            RAISE unique_violation USING CONSTRAINT = 'events_stream_version';
        END IF;
    END IF;
    IF new_placements IS NOT NULL THEN PERFORM place_all(new_placements); END IF;
END
$$;
