-- Schema of the event store: the log, and the four tables that must change in the same transaction as the log.
-- formerly: 2165e0956ef7e19e430f15dc503b536f00926b7a46751313afeca481797fe8a7

-- One row for each cluster that has written the log; see open_epoch.
CREATE TABLE epochs (
    epoch smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster bigint NOT NULL
);

CREATE TABLE events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch smallint NOT NULL DEFAULT 1,
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id uuid NOT NULL,
    stream text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    type text NOT NULL,
    schema_version smallint NOT NULL,
    data jsonb NOT NULL,
    metadata jsonb NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT events_stream_version UNIQUE (stream, version),
    CONSTRAINT events_id UNIQUE (id)
);
CREATE INDEX events_log ON events (epoch, transaction_id, position);

CREATE TABLE snapshots (
    stream text PRIMARY KEY,
    version integer NOT NULL,
    schema_version smallint NOT NULL,
    state jsonb NOT NULL,
    created_at timestamptz NOT NULL,  -- when the stream's first event was recorded
    updated_at timestamptz NOT NULL   -- when the event of this version was recorded
);

-- Events that have not been announced; 0008 names the table event_outbox. Until `leased_until`, only the process that
-- appended or claimed an event announces it; after that, any process may claim it.
CREATE TABLE outbox (
    position bigint PRIMARY KEY,
    leased_until timestamptz NOT NULL
);

CREATE TABLE idempotency (
    key text PRIMARY KEY,
    fingerprint text NOT NULL,
    result text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

-- The category that contains a category or product. The foreign key and the index keep the rules under any concurrency.
CREATE TABLE placements (
    stream text PRIMARY KEY,
    parent text CONSTRAINT placements_parent REFERENCES placements (stream),
    name text
);
CREATE UNIQUE INDEX placements_sibling_name ON placements (coalesce(parent, ''), name) WHERE name IS NOT NULL;
CREATE INDEX placements_children ON placements (parent);
