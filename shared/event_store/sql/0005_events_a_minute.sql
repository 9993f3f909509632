-- How many events were recorded in each of the last seconds, kept where all are counted, so that their rate is known
-- without looking for them in the log. By the writers' clocks; what they date far away is no event of this minute.
CREATE TABLE event_seconds (
    second timestamptz PRIMARY KEY,
    count bigint NOT NULL
);

-- Who may only read may have events counted.
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
