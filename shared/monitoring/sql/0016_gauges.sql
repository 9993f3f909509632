-- What waited in the shop in each minute: shared/monitoring/gauges.py says what the numbers mean. NULL: a store did not
-- answer. A minute in which nothing was measured has no row.
CREATE TABLE gauges (
    minute timestamptz PRIMARY KEY,
    lag_seconds double precision,
    lag_streams bigint,
    outbox_waiting bigint,
    sagas_started bigint,
    sagas_compensating bigint,
    sagas_stuck bigint
);
