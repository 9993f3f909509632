-- A query for the newest entries of one name must not use an index on the time alone: where the name is rare or absent,
-- it would read the whole index. Only the deletion of the oldest entries uses an index on this expression.
-- formerly: 7c93e8a6ee5f074aec966a2d69e28499ac1b7f4d7f7b8ec059a2ff55f252c5c0
DROP INDEX saga_history_oldest;
CREATE INDEX saga_history_oldest ON saga_history ((recorded_at AT TIME ZONE 'UTC'));
DROP INDEX executions_oldest;
CREATE INDEX executions_oldest ON executions ((recorded_at AT TIME ZONE 'UTC'));
