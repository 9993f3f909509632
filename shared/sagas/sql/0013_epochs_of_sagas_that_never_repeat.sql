-- As in the event store: an epoch is numbered by the time at which it was opened; see open_epoch.
ALTER TABLE epochs ALTER COLUMN epoch DROP IDENTITY, ALTER COLUMN epoch TYPE bigint;
ALTER TABLE saga_history ALTER COLUMN epoch TYPE bigint;
ALTER TABLE saga_commands_counted ALTER COLUMN epoch TYPE bigint;
