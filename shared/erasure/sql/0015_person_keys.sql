-- The key of each person. `person`: a hash of the user id. `wrapped`: the key, encrypted with the wrapping key.
CREATE TABLE person_keys (
    person bytea PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    wrapped bytea NOT NULL
);

-- One row: the key that encrypts the persons' keys, itself encrypted by Cloud KMS.
CREATE TABLE wrapping_keys (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    wrapped bytea NOT NULL
);

-- The keys that were destroyed. They do not tell whose they were. `finished_at`: since then every order has its
-- OrderErased.
CREATE TABLE erasures (
    key uuid PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    by text NOT NULL,
    reason text NOT NULL,
    finished_at timestamptz
);
CREATE INDEX erasures_unfinished ON erasures (erased_at, key) WHERE finished_at IS NULL;
