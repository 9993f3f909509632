-- Messages are looked for by when they were made: an event is its own announcement.
CREATE INDEX events_by_time ON events (type, recorded_at, position);
