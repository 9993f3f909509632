-- Numbers for people who watch: how many records there are, and how much was asked of the shop, kept while they change, so
-- that asking reads a few rows however many there are to count.

-- `status`: of sagas; '' for all others. A FAILED saga that had something to undo counts as COMPENSATED. Writers of the same
-- number wait for each other until they commit; `slot` spreads them, and the number is the sum of its slots.
CREATE TABLE record_counts (
    relation text NOT NULL,
    status text NOT NULL,
    slot smallint NOT NULL,
    count bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (relation, status, slot)
) WITH (fillfactor = 50);

-- Locks in one order, so that two of them never wait for each other in a circle; a statement that met no row locks nothing.
-- Who may write what is counted need not be let write the counts.
CREATE FUNCTION add_to_counts(changed text, statuses text[], by_how_many bigint[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO record_counts AS c (relation, status, slot, count, updated_at)
    SELECT changed, s, (pg_backend_pid() & 15)::smallint, sum(n), clock_timestamp()
    FROM unnest(statuses, by_how_many) AS u (s, n) GROUP BY s ORDER BY s
    ON CONFLICT (relation, status, slot) DO UPDATE
    SET count = c.count + excluded.count, updated_at = excluded.updated_at
$$;

CREATE FUNCTION counted_as(status text, progress jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN status = 'FAILED' AND (progress ->> 'compensated')::boolean THEN 'COMPENSATED' ELSE status END
$$;

CREATE FUNCTION count_sagas() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counts record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(counted_as(status, progress)) AS statuses, array_agg(1::bigint) AS numbers INTO counts FROM added;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(counted_as(status, progress)) AS statuses, array_agg(-1::bigint) AS numbers INTO counts FROM removed;
    ELSE
        SELECT array_agg(s) AS statuses, array_agg(n) AS numbers INTO counts FROM (
            SELECT counted_as(status, progress), 1::bigint FROM added
            UNION ALL SELECT counted_as(status, progress), -1::bigint FROM removed
        ) AS moved (s, n);
    END IF;
    PERFORM add_to_counts('sagas', counts.statuses, counts.numbers);
    RETURN NULL;
END
$$;

CREATE FUNCTION count_records() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT -count(*) INTO changed FROM removed;
    ELSE
        SELECT count(*) INTO changed FROM added;
    END IF;
    IF changed <> 0 THEN
        PERFORM add_to_counts(TG_TABLE_NAME, ARRAY[''], ARRAY[CASE TG_OP WHEN 'UPDATE' THEN 0 ELSE changed END]);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION forget_counts() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM record_counts WHERE relation = TG_TABLE_NAME;
    RETURN NULL;
END
$$;

-- From here on nobody else writes until this is committed, so what is counted below is all there is.
DO $$
DECLARE
    counted text;
    counting text;
BEGIN
    FOREACH counted IN ARRAY ARRAY['sagas', 'saga_history', 'dead_letters', 'executions'] LOOP
        counting := CASE counted WHEN 'sagas' THEN 'count_sagas' ELSE 'count_records' END;
        EXECUTE format('CREATE TRIGGER counted_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION %I()', counted, counting);
        EXECUTE format('CREATE TRIGGER counted_update AFTER UPDATE ON %I
            REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION %I()', counted, counting);
        EXECUTE format('CREATE TRIGGER counted_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS removed
            FOR EACH STATEMENT EXECUTE FUNCTION %I()', counted, counting);
        EXECUTE format('CREATE TRIGGER counted_truncate AFTER TRUNCATE ON %I
            FOR EACH STATEMENT EXECUTE FUNCTION forget_counts()', counted);
    END LOOP;
END
$$;

UPDATE sagas SET progress = progress || '{"compensated": true}' WHERE EXISTS (
    SELECT FROM saga_history WHERE saga_id = sagas.id AND kind = 'command'
        AND name IN ('ReleaseInventory', 'RefundPayment', 'CancelShipping')
);
DELETE FROM record_counts;
INSERT INTO record_counts
SELECT 'sagas', counted_as(status, progress), 0, count(*), max(updated_at) FROM sagas GROUP BY 2
UNION ALL SELECT 'saga_history', '', 0, count(*), max(recorded_at) FROM saga_history HAVING count(*) > 0
UNION ALL SELECT 'dead_letters', '', 0, count(*), max(updated_at) FROM dead_letters HAVING count(*) > 0
UNION ALL SELECT 'executions', '', 0, count(*), max(recorded_at) FROM executions HAVING count(*) > 0;

-- How many commands, queries and deliveries there were: all of them, whatever the history of executions keeps. `minute`:
-- when it was written, '-infinity' for all since counting began; rows of a minute are of all names, which is ''.
CREATE TABLE execution_counts (
    minute timestamptz NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    slot smallint NOT NULL,
    count bigint NOT NULL,
    errors bigint NOT NULL,
    milliseconds bigint NOT NULL,
    succeeded_at timestamptz,
    PRIMARY KEY (minute, kind, name, slot)
) WITH (fillfactor = 50);

-- A process counts in batches and says of each how many it has counted before, so a batch that is sent again, because its
-- answer was lost, counts once.
CREATE TABLE execution_counters (
    id uuid PRIMARY KEY,
    batch integer NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX execution_counters_oldest ON execution_counters (at);

CREATE FUNCTION count_executions(counter uuid, number integer, counts json) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO execution_counters (id, batch, at) VALUES (counter, number, clock_timestamp())
    ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, at = excluded.at
    WHERE execution_counters.batch < excluded.batch;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    WITH new AS (
        SELECT * FROM json_to_recordset(counts) AS n (
            kind text, name text, count bigint, errors bigint, milliseconds bigint
        )
    ), placed AS (
        SELECT '-infinity'::timestamptz AS minute, kind, name, count, errors, milliseconds FROM new
        UNION ALL SELECT date_trunc('minute', clock_timestamp()), kind, '', count, errors, milliseconds FROM new
    )
    INSERT INTO execution_counts AS c (minute, kind, name, slot, count, errors, milliseconds, succeeded_at)
    SELECT minute, kind, name, hashtext(counter::text) & 15, sum(count), sum(errors), sum(milliseconds),
        CASE WHEN sum(count) > sum(errors) THEN clock_timestamp() END
    FROM placed GROUP BY minute, kind, name ORDER BY minute, kind, name
    ON CONFLICT (minute, kind, name, slot) DO UPDATE
    SET count = c.count + excluded.count, errors = c.errors + excluded.errors,
        milliseconds = c.milliseconds + excluded.milliseconds,
        succeeded_at = coalesce(excluded.succeeded_at, c.succeeded_at);
END
$$;

-- What last went wrong with the messages of a subscription, and how many of them wait for somebody.
CREATE INDEX delivery_failures_newest ON delivery_failures (subscription, last_at);
CREATE INDEX dead_letters_pending_of_source ON dead_letters (source, updated_at) WHERE status = 'PENDING';
