-- Name the saga store's outbox apart from the event store's.
ALTER TABLE outbox RENAME TO saga_outbox;
ALTER INDEX outbox_pkey RENAME TO saga_outbox_pkey;

-- Functions of the previous release, which run until a roll-out is complete, read and write `outbox`: without this view
-- their messages would wait for the relay, and their relay would fail. Drop it in a later release.
CREATE VIEW outbox AS SELECT id, topic, message, leased_until FROM saga_outbox;

-- always_functions.sql defines these with one more parameter; two versions of one name would be ambiguous.
DROP FUNCTION IF EXISTS save_saga(json, integer, json, json);
DROP FUNCTION IF EXISTS open_epoch();
