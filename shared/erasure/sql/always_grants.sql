-- The rights of each kind of access on the keys of persons.
DO $$
BEGIN
    IF NOT admit_roles('{graphql,ordering,projections,sagas,coordination,rebuilding,erasure,reporting}') THEN
        RETURN;
    END IF;
    -- Every function that reads what orders say about a person.
    GRANT SELECT ON person_keys, wrapping_keys, erasures TO shop_graphql, shop_ordering, shop_projections, shop_sagas,
        shop_coordination, shop_rebuilding, shop_erasure, shop_reporting;
    GRANT INSERT ON person_keys, wrapping_keys TO shop_ordering, shop_sagas;  -- the key of a new person
    GRANT DELETE ON person_keys TO shop_erasure;
    GRANT INSERT, UPDATE ON erasures TO shop_erasure;
END
$$;
