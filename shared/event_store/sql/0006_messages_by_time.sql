-- People search messages by the time when they were made; an event is its own announcement.
-- formerly: ab45b5b15a72dd1498b03d6fc615eaa6aa1e2cb76508815640e0719c4e173a77
CREATE INDEX events_by_time ON events (type, recorded_at, position);
