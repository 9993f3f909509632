-- Take every right on tables from the roles. The always_grants.sql of the folders that follow grant what each role
-- may do, in the same transaction, so a right that is no longer listed there is gone.
DO $$
DECLARE
    kind text;
BEGIN
    FOR kind IN SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'shop_') LOOP
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public FROM %I', kind);
    END LOOP;
END
$$;
