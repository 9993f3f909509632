-- The rights of each kind of access on the history of executions.
DO $$
BEGIN
    IF NOT admit_roles('{graphql,projections,sagas,coordination,expiry}') THEN
        RETURN;
    END IF;
    -- A function notes the outcome of every request and delivery to it.
    GRANT INSERT ON executions TO shop_graphql, shop_projections, shop_sagas, shop_coordination;
    GRANT SELECT, DELETE ON executions, execution_counts, execution_counters TO shop_expiry;
END
$$;
