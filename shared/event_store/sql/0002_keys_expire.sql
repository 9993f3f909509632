-- An idempotency key that has had its day is like new: whoever uses it next takes its place.
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
