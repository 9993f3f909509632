-- Admins retry and discard what has one cause. The hash, because an error may be too long for an index.
CREATE INDEX CONCURRENTLY IF NOT EXISTS dead_letters_of_cause
ON dead_letters (md5(source || coalesce(type, '') || coalesce(error, '')), status, recorded_at, id);
