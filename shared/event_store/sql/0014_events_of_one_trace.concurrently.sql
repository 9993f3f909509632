-- People look up the events of one trace.
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_of_trace ON events (split_part(metadata ->> 'traceparent', '-', 2));
