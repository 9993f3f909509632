-- Health reports count the sagas that wait for a person, among any number that have ended.
-- formerly: 79dc9a7a77ecb20636cdedd78381f0c05e402e04af587c3306e4bcb05a8d8c58
CREATE INDEX sagas_stuck ON sagas (id) WHERE status = 'STUCK';
