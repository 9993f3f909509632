-- For people who search the log: events of one type in the log's order, and their number without counting them all
-- at each request.
-- formerly: 5729be700925c6c1ec1666f48e47d3ce7dcbd5a9623c081b7c3f18445605b7ea
CREATE INDEX events_by_type ON events (type, epoch, transaction_id, position);

CREATE TABLE event_counts (
    type text NOT NULL,
    aggregate text NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (type, aggregate)
);

-- The place in the log up to which `event_counts` has counted: one row.
CREATE TABLE events_counted (
    epoch smallint NOT NULL,
    transaction_id xid8 NOT NULL,
    position bigint NOT NULL
);
INSERT INTO events_counted VALUES (0, '0', 0);
