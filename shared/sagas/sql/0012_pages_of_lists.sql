-- Lists of sagas, dead letters and executions are read page by page, each page by an index.

CREATE INDEX sagas_active ON sagas (created_at, id) WHERE status IN ('STARTED', 'COMPENSATING', 'STUCK');
CREATE INDEX sagas_compensated ON sagas (created_at, id)
    WHERE status = 'FAILED' AND (progress ->> 'compensated')::boolean;
CREATE INDEX sagas_of_correlation ON sagas (correlation_id);

CREATE INDEX dead_letters_of_status ON dead_letters (status, recorded_at, id);
CREATE INDEX dead_letters_of_source ON dead_letters (source, recorded_at, id);
CREATE INDEX dead_letters_of_topic ON dead_letters (topic, recorded_at, id);
CREATE INDEX dead_letters_of_type ON dead_letters (type, recorded_at, id);
CREATE INDEX dead_letters_of_subject ON dead_letters (subject);
CREATE INDEX dead_letters_of_correlation ON dead_letters (correlation_id);

CREATE INDEX executions_slowest ON executions (kind, milliseconds, id);
CREATE INDEX executions_slowest_of_name ON executions (kind, name, milliseconds, id);
