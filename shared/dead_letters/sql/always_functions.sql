-- Recording, settling and counting dead letters.

-- Record one failure of a message: a new letter, or an existing letter that becomes pending again. A failure that has
-- been recorded already changes nothing.
CREATE OR REPLACE FUNCTION record_dead_letter(letter json, attributes json, data bytea) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    new record;
    failure record;
BEGIN
    SELECT * INTO new FROM json_to_record(letter) AS l (
        id uuid, source text, topic text, type text, subject text, attempts integer, traceparent text,
        correlation_id text, delivery text, message text
    );
    INSERT INTO dead_letters (id, source, topic, type, subject, attributes, data, traceparent, correlation_id)
    VALUES (new.id, new.source, new.topic, new.type, new.subject, attributes, data, new.traceparent, new.correlation_id)
    ON CONFLICT (id) DO NOTHING;
    PERFORM FROM dead_letters WHERE id = new.id FOR UPDATE;
    IF EXISTS (SELECT FROM dead_letter_history WHERE letter_id = new.id AND delivery = new.delivery) THEN
        RETURN;
    END IF;
    DELETE FROM delivery_failures WHERE subscription = new.source AND message = new.message
    RETURNING error, first_error INTO failure;
    INSERT INTO dead_letter_history (letter_id, kind, attempts, reason, delivery)
    VALUES (new.id, 'FAILED', new.attempts, failure.error, new.delivery);
    UPDATE dead_letters SET status = 'PENDING', version = version + 1, leased_until = '-infinity', error = failure.error,
        first_error = coalesce(dead_letters.first_error, failure.first_error, failure.error),
        attempts = dead_letters.attempts + coalesce(new.attempts, 0), updated_at = clock_timestamp()
    WHERE id = new.id;
END
$$;

-- Mark the letters that the caller claimed and published as retried. A letter that has failed again meanwhile stays
-- pending.
CREATE OR REPLACE FUNCTION settle_retried(ids uuid[], versions integer[], claimed_at timestamptz, admin text)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO dead_letter_history (letter_id, kind, at, by)
    SELECT id, 'RETRIED', claimed_at, admin FROM dead_letters WHERE id = ANY (ids);
    UPDATE dead_letters l SET status = 'RETRIED', leased_until = '-infinity', updated_at = clock_timestamp()
    FROM unnest(ids, versions) AS p (id, version)
    WHERE l.id = p.id AND l.version = p.version AND l.status = 'PENDING';
$$;

-- SECURITY DEFINER: the trigger updates the counters, so roles that insert failures need no right on the counters.
CREATE OR REPLACE FUNCTION count_dead_letter() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO dead_letter_counts (source, count, last_at)
    SELECT source, 1, NEW.at FROM dead_letters WHERE id = NEW.letter_id
    ON CONFLICT (source) DO UPDATE SET count = dead_letter_counts.count + 1,
        last_at = greatest(dead_letter_counts.last_at, excluded.last_at);
    RETURN NULL;
END
$$;

-- Created once, not with OR REPLACE: that would lock the table in every migration, and could deadlock with writers.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'dead_letters_counted') THEN
        CREATE TRIGGER dead_letters_counted AFTER INSERT ON dead_letter_history
        FOR EACH ROW WHEN (NEW.kind = 'FAILED') EXECUTE FUNCTION count_dead_letter();
    END IF;
END
$$;
