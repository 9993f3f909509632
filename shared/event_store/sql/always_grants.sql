-- The rights of each kind of access in the event store.
DO $$
BEGIN
    IF NOT admit_roles(
        '{graphql,commands,projections,sagas,coordination,relay,administration,expiry,reporting,rebuilding,erasure}'
    ) THEN
        RETURN;
    END IF;

    -- People see everything through graphql, except the results that were recorded for other people's commands.
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_graphql;
    REVOKE SELECT ON idempotency FROM shop_graphql;

    -- No role may change or delete an event.
    GRANT SELECT ON events TO shop_commands, shop_sagas, shop_projections, shop_coordination, shop_relay, shop_reporting,
        shop_rebuilding, shop_erasure;
    GRANT INSERT ON events TO shop_commands, shop_sagas, shop_erasure;
    GRANT SELECT, INSERT, UPDATE ON snapshots TO shop_commands, shop_sagas, shop_erasure;
    GRANT SELECT, INSERT, DELETE ON event_outbox, outbox TO shop_commands, shop_sagas, shop_erasure;
    GRANT SELECT, UPDATE, DELETE ON event_outbox, outbox TO shop_relay;
    GRANT SELECT, INSERT, UPDATE, DELETE ON placements TO shop_commands;
    GRANT SELECT, INSERT, UPDATE ON idempotency TO shop_commands, shop_administration;
    GRANT SELECT, DELETE ON idempotency TO shop_expiry;

    GRANT SELECT ON epochs, event_outbox, outbox, event_counts, events_counted, event_seconds TO shop_reporting;
    GRANT SELECT ON epochs, event_counts, events_counted, event_seconds TO shop_rebuilding;
END
$$;
