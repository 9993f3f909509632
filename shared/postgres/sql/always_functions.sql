-- Functions that every database has.

-- Transaction ids order a log (see SETTLED in event_store/postgres.py). A restored dump starts them anew, so each
-- stretch of a log that one cluster wrote is an epoch; the first migration on another cluster opens the next.
CREATE OR REPLACE FUNCTION open_epoch(log regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this_cluster bigint := (SELECT system_identifier FROM pg_control_system());
BEGIN
    IF (SELECT cluster FROM epochs ORDER BY epoch DESC LIMIT 1) IS DISTINCT FROM this_cluster THEN
        INSERT INTO epochs (cluster) VALUES (this_cluster);
        EXECUTE format('ALTER TABLE %s ALTER COLUMN epoch SET DEFAULT %s', log, (SELECT max(epoch) FROM epochs));
    END IF;
END
$$;

-- Admit these kinds of access to the database: create their roles and let them connect. Return false, and change
-- nothing, where the owner may not create roles, for example on a developer's own server: only the cloud needs roles.
-- functions/manifest.yaml names the kinds. No process signs in as a role: in the cloud every function has a user of
-- its own, a member of its roles (scripts/local/migrate.py); on a developer's machine all functions are the owner.
CREATE OR REPLACE FUNCTION admit_roles(kinds text[]) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    kind text;
BEGIN
    FOREACH kind IN ARRAY kinds LOOP
        IF to_regrole('shop_' || kind) IS NULL THEN
            IF NOT (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) THEN
                RAISE NOTICE 'no grants: % may not create roles; only the cloud needs them', current_user;
                RETURN false;
            END IF;
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', 'shop_' || kind);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- roles belong to the whole server, and the migration of another database has just created it
            END;
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), 'shop_' || kind);
        EXECUTE format('GRANT SELECT ON migrations TO %I', 'shop_' || kind);  -- /health/ready checks that none is missing
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    RETURN true;
END
$$;
