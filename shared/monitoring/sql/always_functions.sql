-- Counting records and executions while they change.

-- Add to the counts of a relation. It locks its rows in one order, so that two callers never wait for each other in a
-- circle; for a statement that changed no row it locks nothing.
-- SECURITY DEFINER: the triggers update the counters, so roles that write records need no right on the counters.
CREATE OR REPLACE FUNCTION add_to_counts(changed text, statuses text[], by_how_many bigint[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO record_counts AS c (relation, status, slot, count, updated_at)
    SELECT changed, s, (pg_backend_pid() & 15)::smallint, sum(n), clock_timestamp()
    FROM unnest(statuses, by_how_many) AS u (s, n) GROUP BY s ORDER BY s
    ON CONFLICT (relation, status, slot) DO UPDATE
    SET count = c.count + excluded.count, updated_at = excluded.updated_at
$$;

CREATE OR REPLACE FUNCTION counted_as(status text, progress jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN status = 'FAILED' AND (progress ->> 'compensated')::boolean THEN 'COMPENSATED' ELSE status END
$$;

CREATE OR REPLACE FUNCTION count_sagas() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE OR REPLACE FUNCTION count_records() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE OR REPLACE FUNCTION forget_counts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM record_counts WHERE relation = TG_TABLE_NAME;
    RETURN NULL;
END
$$;

-- Created once, not with OR REPLACE: that would lock the tables in every migration, and could deadlock with writers.
DO $$
DECLARE
    counted text;
    counting text;
BEGIN
    FOREACH counted IN ARRAY ARRAY['sagas', 'saga_history', 'dead_letters', 'executions'] LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_trigger WHERE tgname = 'counted_insert' AND tgrelid = counted::regclass
        );
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

-- Add a process's batch number `number` of counts; a batch that has been added already changes nothing.
-- SECURITY DEFINER: every function that records executions may count them.
CREATE OR REPLACE FUNCTION count_executions(counter uuid, number integer, counts json) RETURNS void
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
