-- Dead letters that can be looked at, retried and discarded, why deliveries failed, and what monitoring lists sagas by.

ALTER TABLE dead_letters RENAME TO plain_dead_letters;

-- `source`: the subscription that gave up. `attributes` and `data` (base64, in UTF-8) are exactly what was published;
-- json and bytea hold what text can't, such as a null character. `version` counts its failures. `leased_until`: whoever
-- retries it has so long before others may.
CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    source text NOT NULL,
    topic text NOT NULL,
    type text,
    subject text,
    attributes json NOT NULL,
    data bytea NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    error text,
    traceparent text,
    correlation_id text,
    status text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'RETRIED', 'DISCARDED')),
    version integer NOT NULL DEFAULT 0,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX dead_letters_newest ON dead_letters (recorded_at, id);
CREATE INDEX dead_letters_pending ON dead_letters (recorded_at, id) WHERE status = 'PENDING';
CREATE INDEX dead_letters_settled ON dead_letters (updated_at) WHERE status <> 'PENDING';

-- `kind`: FAILED, RETRIED or DISCARDED. `delivery`: the dead-letter topic's id of a failure, which makes it count once.
CREATE TABLE dead_letter_history (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    letter_id uuid NOT NULL REFERENCES dead_letters (id) ON DELETE CASCADE,
    kind text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    by text,
    attempts integer,
    reason text,
    delivery text,
    CONSTRAINT dead_letter_history_once UNIQUE (letter_id, delivery)
);

-- Why the last attempt to deliver a message failed; Pub/Sub doesn't pass that on to the dead-letter topic.
CREATE TABLE delivery_failures (
    subscription text NOT NULL,
    message text NOT NULL,
    error text NOT NULL,
    count integer NOT NULL DEFAULT 1,
    last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (subscription, message)
);
CREATE INDEX delivery_failures_oldest ON delivery_failures (last_at);

-- One failure of a message: a new letter, or one that is there, pending again. Nothing when the same is recorded twice.
CREATE FUNCTION record_dead_letter(letter json, attributes json, data bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    new record;
    why text;
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
    DELETE FROM delivery_failures WHERE subscription = new.source AND message = new.message RETURNING error INTO why;
    INSERT INTO dead_letter_history (letter_id, kind, attempts, reason, delivery)
    VALUES (new.id, 'FAILED', new.attempts, why, new.delivery);
    UPDATE dead_letters SET status = 'PENDING', version = version + 1, leased_until = '-infinity', error = why,
        attempts = dead_letters.attempts + coalesce(new.attempts, 0), updated_at = clock_timestamp()
    WHERE id = new.id;
END
$$;

-- Who claimed the letters, and published those, says so. One that has failed again meanwhile stays pending.
CREATE FUNCTION settle_retried(ids uuid[], versions integer[], claimed_at timestamptz, admin text)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO dead_letter_history (letter_id, kind, at, by)
    SELECT id, 'RETRIED', claimed_at, admin FROM dead_letters WHERE id = ANY (ids);
    UPDATE dead_letters l SET status = 'RETRIED', leased_until = '-infinity', updated_at = clock_timestamp()
    FROM unnest(ids, versions) AS p (id, version)
    WHERE l.id = p.id AND l.version = p.version AND l.status = 'PENDING';
$$;

INSERT INTO dead_letters (id, source, topic, type, subject, attributes, data, attempts, version, recorded_at, updated_at)
SELECT gen_random_uuid(), subscription, split_part(subscription, '.', 2), NULL, NULL, attributes,
    convert_to(data, 'UTF8'), coalesce(attempts, 0), 1, recorded_at, recorded_at
FROM plain_dead_letters;
INSERT INTO dead_letter_history (letter_id, kind, at, attempts)
SELECT id, 'FAILED', recorded_at, attempts FROM dead_letters;
DROP TABLE plain_dead_letters;

CREATE INDEX sagas_newest ON sagas (created_at, id);
CREATE INDEX saga_history_oldest ON saga_history (recorded_at);
