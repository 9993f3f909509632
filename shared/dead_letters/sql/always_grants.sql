-- The rights of each kind of access on dead letters.
DO $$
BEGIN
    IF NOT admit_roles('{projections,sagas,coordination,recording,administration,expiry,reporting}') THEN
        RETURN;
    END IF;
    -- A function notes why a delivery to it failed.
    GRANT SELECT, INSERT, UPDATE ON delivery_failures TO shop_projections, shop_sagas, shop_coordination;

    GRANT SELECT, INSERT, UPDATE ON dead_letters TO shop_recording;
    GRANT SELECT, INSERT ON dead_letter_history TO shop_recording, shop_administration, shop_coordination;
    GRANT SELECT, DELETE ON delivery_failures TO shop_recording;
    GRANT SELECT, UPDATE ON dead_letters TO shop_administration, shop_coordination;  -- the latter discards overtaken ones

    GRANT SELECT, DELETE ON dead_letters, delivery_failures TO shop_expiry;
    GRANT SELECT ON dead_letters TO shop_reporting;
END
$$;
