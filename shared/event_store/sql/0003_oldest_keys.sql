-- expire_records deletes idempotency keys from the oldest on.
CREATE INDEX idempotency_oldest ON idempotency (recorded_at);
