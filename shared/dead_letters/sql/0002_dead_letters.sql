-- Dead letters that people can read, retry and discard, and the reasons of failed deliveries.
-- formerly: 65bbaa28db048b75c1dfe611d23c1bc33fc66e5d45ed31446e375b3ef66abcbd

ALTER TABLE dead_letters RENAME TO plain_dead_letters;

-- `source`: the subscription whose delivery failed. `attributes` and `data` (base64, in UTF-8) are exactly the published
-- ones; json and bytea hold characters that text rejects, for example a null character. `version` counts the
-- message's failures. Until `leased_until`, only the process that claimed the letter retries it.
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

-- `kind`: FAILED, RETRIED or DISCARDED. `delivery`: the dead-letter topic's id of a failure, so that it counts once.
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

-- Why the last attempt to deliver a message failed; Pub/Sub does not pass the reason on to the dead-letter topic.
CREATE TABLE delivery_failures (
    subscription text NOT NULL,
    message text NOT NULL,
    error text NOT NULL,
    count integer NOT NULL DEFAULT 1,
    last_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (subscription, message)
);
CREATE INDEX delivery_failures_oldest ON delivery_failures (last_at);

INSERT INTO dead_letters (id, source, topic, type, subject, attributes, data, attempts, version, recorded_at, updated_at)
SELECT gen_random_uuid(), subscription, split_part(subscription, '.', 2), NULL, NULL, attributes,
    convert_to(data, 'UTF8'), coalesce(attempts, 0), 1, recorded_at, recorded_at
FROM plain_dead_letters;
INSERT INTO dead_letter_history (letter_id, kind, at, attempts)
SELECT id, 'FAILED', recorded_at, attempts FROM dead_letters;
DROP TABLE plain_dead_letters;

-- Monitoring lists sagas by these.
CREATE INDEX sagas_newest ON sagas (created_at, id);
CREATE INDEX saga_history_oldest ON saga_history (recorded_at);
