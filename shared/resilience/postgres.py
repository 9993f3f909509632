"""Connections to PostgreSQL, and what its failures mean to a caller."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import InterfaceError, OperationalError, errors
from psycopg_pool import ConnectionPool, PoolTimeout

from shared.domain.errors import Unavailable

# A forgotten open transaction holds back everyone who reads the log, so no transaction may idle.
_LIMITS = "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=10s"

# The limits above live on the server; these notice a server or network that is gone.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}


def connect(conninfo: str, size: int) -> ConnectionPool:
    """A pool of at most `size` connections in autocommit mode, opened when first needed."""
    return ConnectionPool(
        conninfo,
        min_size=0,
        max_size=size,
        timeout=5,
        reconnect_timeout=5,  # then give up, and let the next caller try at once
        kwargs={"autocommit": True, "prepare_threshold": 1, "options": _LIMITS, "connect_timeout": 5, **_KEEPALIVE},
        open=True,
    )


@contextmanager
def unavailable_when_down(what: str) -> Iterator[None]:
    """Raise Unavailable for lost connections, exhausted pools and statements that ran out of time."""
    try:
        yield
    except (errors.DeadlockDetected, errors.SerializationFailure):
        raise
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise Unavailable(f"{what} does not answer; try again in a moment") from error
