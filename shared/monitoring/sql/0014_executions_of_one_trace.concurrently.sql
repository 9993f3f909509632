-- People look up the commands and queries of one trace.
CREATE INDEX CONCURRENTLY IF NOT EXISTS executions_of_trace ON executions ((data ->> 'trace'));
