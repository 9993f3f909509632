-- An erasure looks up the orders that are encrypted with one key, and whether orders are left that are not encrypted.
CREATE INDEX CONCURRENTLY IF NOT EXISTS events_of_key ON events ((data #>> '{sealed,key}')) WHERE type = 'OrderCreated';
