-- Every minute, metrics count all sagas by status and find the oldest of each status: this index alone answers both.
-- formerly: 23e31c72a6cbfa6f44768e105d5d5a6cad266a7f065f62171fa1b562d6922793
CREATE INDEX sagas_by_status ON sagas (status, created_at);
