-- expire_records deletes the oldest idempotency keys first.
-- formerly: 18f66abe777aab4c9a77a67bdba3d9271f78b5fe1cca3906439d97c1529b82cc
CREATE INDEX idempotency_oldest ON idempotency (recorded_at);
