"""Connections to PostgreSQL, and what its failures mean to a caller."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from psycopg import Connection, InterfaceError, OperationalError, errors
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout

from shared.domain.errors import TimedOut, Unavailable
from shared.resilience.calls import time_left

RV = TypeVar("RV")

STATEMENT_SECONDS = 15.0
"""For one statement, or less when the request has less left."""
_CONNECT_SECONDS = 5.0

# A forgotten open transaction holds back everyone who reads the log, so no transaction may idle.
_LIMITS = "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=10s"

# The limits above live on the server; these notice a network that is gone.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}


class TooSlow(OperationalError):
    """A statement took longer than the caller could wait. It may have happened."""


class _Bounded(Connection[TupleRow]):
    """Waits for the server no longer than there is time: one that hangs keeps its connections open and says nothing."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, timeout=_patience() if timeout is None else timeout)
        except errors._WaitTimeout as error:
            self.close()  # what it would still answer is for nobody
            raise TooSlow("no answer in time") from error


def _patience() -> float:
    try:
        return time_left(STATEMENT_SECONDS)
    except TimedOut:
        return 0.1  # for ending what was begun in time


class Pool(ConnectionPool):
    """Hands out a connection in the time that is left, or raises TimedOut or psycopg's PoolTimeout."""

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[Connection[TupleRow]]:
        with super().connection(time_left(self.timeout if timeout is None else timeout)) as connection:
            yield connection


def connect(conninfo: str, size: int) -> Pool:
    """A pool of at most `size` connections in autocommit mode, opened when first needed."""
    options: dict[str, Any] = {"autocommit": True, "prepare_threshold": 1, "options": _LIMITS}
    return Pool(
        conninfo,
        connection_class=_Bounded,
        min_size=0,
        max_size=size,
        timeout=_CONNECT_SECONDS,
        reconnect_timeout=_CONNECT_SECONDS,  # then give up, and let the next caller try at once
        kwargs={**options, "connect_timeout": int(_CONNECT_SECONDS), **_KEEPALIVE},
        open=True,
    )


@contextmanager
def unavailable_when_down(what: str) -> Iterator[None]:
    """Raise Unavailable for lost connections and exhausted pools, TimedOut for statements that ran out of time."""
    try:
        yield
    except (errors.DeadlockDetected, errors.SerializationFailure):
        raise
    except (TooSlow, errors.QueryCanceled) as error:
        raise TimedOut(f"{what} did not answer in time; it may have happened") from error
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise Unavailable(f"{what} does not answer; try again in a moment") from error
