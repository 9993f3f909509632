-- Functions that every database has.

-- Transaction ids order a log (see SETTLED in event_store/postgres.py). A restored dump starts them anew on another
-- cluster, and a cluster restored to an earlier moment repeats those that were lost, on another timeline. So each stretch
-- of a log that one timeline of one cluster wrote is an epoch.

-- Return whether the last epoch belongs to this cluster and timeline. While it does not, readers of the log miss events.
-- SECURITY DEFINER: every function's /health/ready asks, and few roles may read epochs.
CREATE OR REPLACE FUNCTION written_here() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT cluster = system_identifier AND coalesce(timeline = timeline_id, true)
    FROM epochs, pg_control_system(), pg_control_checkpoint() ORDER BY epoch DESC LIMIT 1
$$;

-- Open the next epoch unless the last belongs to this cluster and timeline. `anew`: open it in any case, for a backup that
-- was restored in place and keeps both. A new database begins with epoch 1; every later epoch is the time in milliseconds,
-- so a backup that is restored twice does not open an epoch that readers of the log have already followed.
CREATE OR REPLACE FUNCTION open_epoch(log regclass, anew boolean DEFAULT false) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this_cluster bigint := (SELECT system_identifier FROM pg_control_system());
    this_timeline integer := (SELECT timeline_id FROM pg_control_checkpoint());
BEGIN
    IF anew OR written_here() IS DISTINCT FROM true THEN
        INSERT INTO epochs (epoch, cluster, timeline)
        SELECT CASE WHEN max(epoch) IS NULL THEN 1
            ELSE greatest(max(epoch) + 1, floor(extract(epoch FROM clock_timestamp()) * 1000)) END,
            this_cluster, this_timeline
        FROM epochs;
        EXECUTE format('ALTER TABLE %s ALTER COLUMN epoch SET DEFAULT %s', log, (SELECT max(epoch) FROM epochs));
    ELSE  -- the timeline of an epoch that is older than this column
        UPDATE epochs SET timeline = this_timeline WHERE timeline IS NULL AND epoch = (SELECT max(epoch) FROM epochs);
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
