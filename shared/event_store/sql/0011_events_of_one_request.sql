-- People look up the events of one request, which share its correlation id.
CREATE INDEX events_of_correlation ON events ((metadata ->> 'correlation_id'));
