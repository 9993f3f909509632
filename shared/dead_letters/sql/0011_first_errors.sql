-- What stands still and why. `first_error`: of the first failed attempt; NULL where only the last one was kept.
-- `waits_for`: the dependency whose open circuit breaker the message waits for; such a wait is no failed attempt.
ALTER TABLE delivery_failures ADD COLUMN first_error text, ADD COLUMN waits_for text;
CREATE INDEX delivery_failures_waiting ON delivery_failures (last_at) WHERE waits_for IS NOT NULL;
ALTER TABLE dead_letters ADD COLUMN first_error text;
