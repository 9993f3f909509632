-- Health reports count the sagas that wait for a person, among any number that have ended.
CREATE INDEX sagas_stuck ON sagas (id) WHERE status = 'STUCK';
