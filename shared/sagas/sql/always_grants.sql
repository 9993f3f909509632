-- The rights of each kind of access on sagas.
DO $$
BEGIN
    IF NOT admit_roles('{graphql,projections,sagas,coordination,relay,recording,expiry,reporting}') THEN
        RETURN;
    END IF;
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_graphql;  -- people see everything through it

    GRANT SELECT, INSERT, UPDATE ON sagas TO shop_coordination;
    GRANT SELECT, INSERT ON saga_history TO shop_coordination;  -- a restart finds out whether it was done before
    GRANT SELECT, INSERT, DELETE ON saga_outbox, outbox TO shop_coordination;
    -- Messages that wait for a dependency; one that waits already is replaced.
    GRANT INSERT, SELECT (place), UPDATE (id, message, leased_until) ON saga_outbox TO shop_projections, shop_sagas;
    GRANT SELECT ON sagas TO shop_recording;  -- whose dead letters may be overtaken
    GRANT SELECT, UPDATE, DELETE ON saga_outbox, outbox TO shop_relay;

    GRANT SELECT, DELETE ON saga_history TO shop_expiry;
    GRANT SELECT ON sagas, saga_commands_counted TO shop_expiry;
    GRANT SELECT ON sagas, saga_outbox, outbox TO shop_reporting;
END
$$;
