-- Sagas that have sent a command again, among any number that go on in time.
CREATE INDEX sagas_repeating ON sagas (updated_at)
WHERE deadline_at IS NOT NULL AND (progress ->> 'attempts')::integer > 1;
