-- People look at the unfinished sagas of one step, named by its command.
CREATE INDEX CONCURRENTLY IF NOT EXISTS sagas_at_step ON sagas ((
    CASE WHEN (progress ->> 'step')::integer >= 0 THEN progress -> 'steps' ->> (progress ->> 'step')::integer END
), created_at, id) WHERE status IN ('STARTED', 'COMPENSATING', 'STUCK');
