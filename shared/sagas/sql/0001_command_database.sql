-- Schema of the command database: the write side's state besides the events.
-- formerly: ddcf11a49856241ccb16b957f48c0a057aae50ab3ebbc9d9a81db8517ff72759

CREATE TABLE sagas (
    id uuid PRIMARY KEY,
    type text NOT NULL,
    version integer NOT NULL,
    status text NOT NULL,
    deadline_at timestamptz,
    progress jsonb NOT NULL,
    correlation_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sagas_due ON sagas (deadline_at) WHERE deadline_at IS NOT NULL;

-- The events that a saga received and the commands that it sent, in order. `kind`: event, command or timer.
CREATE TABLE saga_history (
    saga_id uuid NOT NULL REFERENCES sagas (id),
    version integer NOT NULL,
    entry integer NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    data jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (saga_id, version, entry)
);

-- Messages that have not been published; 0009 names the table saga_outbox.
CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    topic text NOT NULL,
    message json NOT NULL,
    leased_until timestamptz NOT NULL
);

-- json, not jsonb: a poison message may hold characters that jsonb rejects, for example a null character.
CREATE TABLE dead_letters (
    subscription text NOT NULL,
    message_id text NOT NULL,
    attributes json NOT NULL,
    data text NOT NULL,
    attempts integer,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subscription, message_id)
);
