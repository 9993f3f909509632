-- A cluster that is restored to an earlier moment keeps its identifier and goes on in another timeline; see open_epoch.
-- NULL: not known, in epochs from before this file.
ALTER TABLE epochs ADD COLUMN timeline integer;

-- always_functions.sql defines it with one more parameter; two versions of one name would be ambiguous.
DROP FUNCTION IF EXISTS open_epoch(regclass);
