-- Who asks for the newest entries of one name must not be served from an index on the time alone: where the name is rare, or
-- nothing has it, that is a walk through all there is. Of an expression, only what deletes the oldest makes use.
DROP INDEX saga_history_oldest;
CREATE INDEX saga_history_oldest ON saga_history ((recorded_at AT TIME ZONE 'UTC'));
DROP INDEX executions_oldest;
CREATE INDEX executions_oldest ON executions ((recorded_at AT TIME ZONE 'UTC'));
