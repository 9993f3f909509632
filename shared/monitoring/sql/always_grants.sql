-- The rights of each kind of access on the histories of executions and gauges.
DO $$
BEGIN
    IF NOT admit_roles('{graphql,projections,sagas,coordination,relay,reporting,rebuilding,expiry,erasure}') THEN
        RETURN;
    END IF;
    -- A function notes the outcome of every request and delivery to it.
    GRANT INSERT ON executions TO shop_graphql, shop_projections, shop_sagas, shop_coordination;
    GRANT INSERT ON executions TO shop_relay, shop_reporting, shop_rebuilding, shop_expiry, shop_erasure;  -- and of each scheduled run
    GRANT INSERT ON gauges TO shop_reporting;
    GRANT SELECT, DELETE ON executions, execution_counts, execution_counters, gauges TO shop_expiry;
END
$$;
