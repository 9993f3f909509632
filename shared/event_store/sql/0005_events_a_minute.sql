-- The number of events recorded in each of the last seconds, by the writers' clocks. count_events fills it, so the
-- rate of events is known without a search in the log.
-- formerly: 953005f20f5b987a3c4deb4248590b332ac320d396652dfcea74d7a04f2ee77c
CREATE TABLE event_seconds (
    second timestamptz PRIMARY KEY,
    count bigint NOT NULL
);
