-- People follow causation: which events the message or the request with this id has led to.
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_of_cause ON events ((metadata ->> 'causation_id'));
