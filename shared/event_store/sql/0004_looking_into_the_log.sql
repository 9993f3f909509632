-- For people who look into the log: events of one type in the log's order, and how many there are without counting them
-- all again.
CREATE INDEX events_by_type ON events (type, epoch, transaction_id, position);

CREATE TABLE event_counts (
    type text NOT NULL,
    aggregate text NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (type, aggregate)
);

-- How far `event_counts` has come: one row.
CREATE TABLE events_counted (
    epoch smallint NOT NULL,
    transaction_id xid8 NOT NULL,
    position bigint NOT NULL
);
INSERT INTO events_counted VALUES (0, '0', 0);

-- Count up to `batch` further events; how many there were. Nothing is written while an append runs or in its way: only
-- what can no longer change is counted, by one caller at a time.
CREATE FUNCTION count_events(batch integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    counted events_counted;
    further integer;
BEGIN
    SELECT * INTO counted FROM events_counted FOR UPDATE;
    WITH new AS MATERIALIZED (
        SELECT epoch, transaction_id, position, type, split_part(stream, '-', 1) AS aggregate FROM events
        WHERE (epoch, transaction_id, position) > (counted.epoch, counted.transaction_id, counted.position)
          AND (epoch < (SELECT max(epoch) FROM epochs) OR transaction_id < pg_snapshot_xmin(pg_current_snapshot()))
        ORDER BY epoch, transaction_id, position LIMIT batch
    ), added AS (
        INSERT INTO event_counts (type, aggregate, count)
        SELECT type, aggregate, count(*) FROM new GROUP BY type, aggregate ORDER BY type, aggregate
        ON CONFLICT (type, aggregate) DO UPDATE SET count = event_counts.count + excluded.count
    ), moved AS (
        UPDATE events_counted SET (epoch, transaction_id, position) = (
            SELECT epoch, transaction_id, position FROM new ORDER BY epoch DESC, transaction_id DESC, position DESC LIMIT 1
        )
        WHERE EXISTS (SELECT FROM new)
    )
    SELECT count(*) INTO further FROM new;
    RETURN further;
END
$$;
