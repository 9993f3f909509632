-- Metrics count all sagas by status, and say since when the oldest of each has been there, every minute: from this alone.
CREATE INDEX sagas_by_status ON sagas (status, created_at);
