"""How many dead letters wait. The same tests run on PostgreSQL and in memory."""

import pytest
from psycopg_pool import ConnectionPool

from shared.messaging.dead_letters import DeadLetter, DeadLetters, MemoryDeadLetters, PostgresDeadLetters


@pytest.fixture(params=["memory", "postgres"])
def letters(request: pytest.FixtureRequest) -> DeadLetters:
    if request.param == "memory":
        return MemoryDeadLetters()
    pool: ConnectionPool = request.getfixturevalue("command_pool")
    return PostgresDeadLetters(pool)


def test_each_letter_is_counted_once_however_often_it_comes(letters: DeadLetters) -> None:
    assert letters.pending() == 0
    for message_id in ("1", "2", "1"):
        letters.record(DeadLetter("worker.things", message_id, {}, "", 5))
    assert letters.pending() == 2
