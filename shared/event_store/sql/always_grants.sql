-- Run by every migration: who may do what here. There is a role for each kind of access that functions/manifest.yaml names;
-- nobody signs in as one. In the cloud every function has a user of its own, a member of its roles
-- (scripts/local/migrate.py); on a developer's machine all are the owner, and no role matters.
DO $$
DECLARE
    roles text[] := '{graphql,commands,projections,sagas,coordination,relay,administration,expiry,reporting,rebuilding}';
    kind text;
BEGIN
    FOREACH kind IN ARRAY roles LOOP
        IF to_regrole('shop_' || kind) IS NULL THEN
            IF NOT (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) THEN
                RAISE NOTICE 'no grants: % may not make roles. Only the cloud needs them.', current_user;
                RETURN;
            END IF;
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', 'shop_' || kind);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- roles are the whole server's, and whoever migrates another database has just made it
            END;
        END IF;
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public FROM %I', 'shop_' || kind);
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), 'shop_' || kind);
        EXECUTE format('GRANT SELECT ON migrations TO %I', 'shop_' || kind);  -- /health/ready looks whether all are done
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());

    -- People see everything through it but the answers that others got.
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_graphql;
    REVOKE SELECT ON idempotency FROM shop_graphql;

    -- Nobody may change an event or delete one.
    GRANT SELECT ON events TO shop_commands, shop_sagas, shop_projections, shop_coordination, shop_relay, shop_reporting,
        shop_rebuilding;
    GRANT INSERT ON events TO shop_commands, shop_sagas;
    GRANT SELECT, INSERT, UPDATE ON snapshots TO shop_commands, shop_sagas;
    GRANT SELECT, INSERT, DELETE ON outbox TO shop_commands, shop_sagas;
    GRANT SELECT, UPDATE, DELETE ON outbox TO shop_relay;
    GRANT SELECT, INSERT, UPDATE, DELETE ON placements TO shop_commands;
    GRANT SELECT, INSERT, UPDATE ON idempotency TO shop_commands, shop_administration;
    GRANT SELECT, DELETE ON idempotency TO shop_expiry;

    GRANT SELECT ON epochs, outbox, event_counts, events_counted, event_seconds TO shop_reporting;
    GRANT SELECT ON epochs TO shop_rebuilding;
END
$$;
