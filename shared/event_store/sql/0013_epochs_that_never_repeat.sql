-- An epoch is numbered by the time at which it was opened; see open_epoch. This writes the table of events anew, about
-- 200,000 events a second, and appends wait meanwhile.
ALTER TABLE epochs ALTER COLUMN epoch DROP IDENTITY, ALTER COLUMN epoch TYPE bigint;
ALTER TABLE events ALTER COLUMN epoch TYPE bigint;
ALTER TABLE events_counted ALTER COLUMN epoch TYPE bigint;
