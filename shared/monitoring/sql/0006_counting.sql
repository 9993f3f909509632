-- Numbers for monitoring: how many records there are, and how many requests there were. They are kept while the records
-- change, so a reader needs a few rows, however many records there are.
-- formerly: 7366d4120a5a340f435439b2a6a2b693ce865483c585b2f96aa486465436fa17

-- `status`: the status of sagas; '' for all other relations. A FAILED saga that had something to undo counts as
-- COMPENSATED. Writers of the same number wait for each other until they commit; `slot` spreads them, and the number is
-- the sum of its slots.
CREATE TABLE record_counts (
    relation text NOT NULL,
    status text NOT NULL,
    slot smallint NOT NULL,
    count bigint NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (relation, status, slot)
) WITH (fillfactor = 50);

-- No other transaction may write between this count and the triggers, which this migration creates at its end.
LOCK TABLE sagas, saga_history, dead_letters, executions IN SHARE ROW EXCLUSIVE MODE;
UPDATE sagas SET progress = progress || '{"compensated": true}' WHERE EXISTS (
    SELECT FROM saga_history WHERE saga_id = sagas.id AND kind = 'command'
        AND name IN ('ReleaseInventory', 'RefundPayment', 'CancelShipping')
);
INSERT INTO record_counts
SELECT 'sagas', CASE WHEN status = 'FAILED' AND (progress ->> 'compensated')::boolean THEN 'COMPENSATED' ELSE status END,
    0, count(*), max(updated_at) FROM sagas GROUP BY 2
UNION ALL SELECT 'saga_history', '', 0, count(*), max(recorded_at) FROM saga_history HAVING count(*) > 0
UNION ALL SELECT 'dead_letters', '', 0, count(*), max(updated_at) FROM dead_letters HAVING count(*) > 0
UNION ALL SELECT 'executions', '', 0, count(*), max(recorded_at) FROM executions HAVING count(*) > 0;

-- How many commands, queries and deliveries there were, including those whose record has been deleted. `minute`: the
-- minute of the count, '-infinity' for all since counting began; the rows of a minute are of all names, written ''.
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

-- A process counts in numbered batches, so a batch that it sends again because the answer was lost counts once.
CREATE TABLE execution_counters (
    id uuid PRIMARY KEY,
    batch integer NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX execution_counters_oldest ON execution_counters (at);

-- The last failure of a subscription's deliveries, and how many of its dead letters are pending.
CREATE INDEX delivery_failures_newest ON delivery_failures (subscription, last_at);
CREATE INDEX dead_letters_pending_of_source ON dead_letters (source, updated_at) WHERE status = 'PENDING';
