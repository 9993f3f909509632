-- Run by every migration: who may do what here. See event_store/sql/always_grants.sql.
DO $$
DECLARE
    roles text[] := '{graphql,projections,sagas,coordination,relay,recording,administration,expiry,reporting}';
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
        EXECUTE format('GRANT SELECT ON migrations TO %I', 'shop_' || kind);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());

    GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_graphql;

    -- Whoever is asked or delivered to notes how it went.
    GRANT INSERT ON executions TO shop_graphql, shop_projections, shop_sagas, shop_coordination;
    GRANT SELECT, INSERT, UPDATE ON delivery_failures TO shop_projections, shop_sagas, shop_coordination;

    GRANT SELECT, INSERT, UPDATE ON sagas TO shop_coordination;
    GRANT INSERT ON saga_history TO shop_coordination;
    GRANT SELECT, INSERT, DELETE ON outbox TO shop_coordination;
    GRANT SELECT, UPDATE, DELETE ON outbox TO shop_relay;

    GRANT SELECT, INSERT, UPDATE ON dead_letters TO shop_recording;
    GRANT SELECT, INSERT ON dead_letter_history TO shop_recording, shop_administration;
    GRANT SELECT, DELETE ON delivery_failures TO shop_recording;
    GRANT SELECT, UPDATE ON dead_letters TO shop_administration;

    GRANT SELECT, DELETE ON dead_letters, delivery_failures, saga_history, executions TO shop_expiry;
    GRANT SELECT ON sagas TO shop_expiry;

    GRANT SELECT ON sagas, outbox, dead_letters TO shop_reporting;
END
$$;
