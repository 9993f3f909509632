-- Recent commands, queries and deliveries with their outcome, for people; nothing depends on them.
-- formerly: 91a71c632122a2aecdefb590ebdb38da39e8f0fddf5f38af45b016ef4a848e03
CREATE TABLE executions (
    id uuid PRIMARY KEY,
    kind text NOT NULL,  -- command, query or delivery
    name text NOT NULL,
    status text NOT NULL,
    milliseconds integer NOT NULL,
    error text,
    subject text,        -- the stream that it was about
    data json NOT NULL,
    correlation_id text NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX executions_newest ON executions (kind, recorded_at, id);
CREATE INDEX executions_of_name ON executions (kind, name, recorded_at, id);
CREATE INDEX executions_of_status ON executions (kind, status, recorded_at, id);
CREATE INDEX executions_of_correlation ON executions (correlation_id);
CREATE INDEX executions_oldest ON executions (recorded_at);
