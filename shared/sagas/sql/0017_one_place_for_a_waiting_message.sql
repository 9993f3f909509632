-- A message that waits for a dependency has one row for each subscription, however often it is stored: `place` names both.
-- A delivery that could not tell whether it was stored comes again, and would add a second copy, which doubles too.
ALTER TABLE saga_outbox ADD COLUMN place text UNIQUE;
