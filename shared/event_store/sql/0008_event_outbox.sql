-- Name the event store's outbox apart from the saga store's.
ALTER TABLE outbox RENAME TO event_outbox;
ALTER INDEX outbox_pkey RENAME TO event_outbox_pkey;

-- Functions of the previous release, which run until a roll-out is complete, read and write `outbox`: without this view
-- their appends would fail. Drop it in a later release.
CREATE VIEW outbox AS SELECT position, leased_until FROM event_outbox;

-- always_functions.sql defines these with one more parameter; two versions of one name would be ambiguous.
DROP FUNCTION IF EXISTS append_events(json, json, json);
DROP FUNCTION IF EXISTS open_epoch();
