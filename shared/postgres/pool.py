"""PostgreSQL: connections, what its failures mean to a caller, and bringing a database up to date: numbered files once, in
order; `always_*` files every time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from threading import Lock
from typing import Any, TypeVar

from psycopg import Connection, Cursor, InterfaceError, OperationalError, errors
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout

from shared.domain.errors import TimedOut, Unavailable
from shared.observability.context import SpanKind, span
from shared.resilience.calls import time_left

RV = TypeVar("RV")
Password = Callable[[], str]
"""Asked for every connection: it may be a token that expires. Sessions outlive it."""

_SYSTEM = {"db.system.name": "postgresql"}

STATEMENT_SECONDS = 15.0
"""For one statement, or less when the request has less left."""
_CONNECT_SECONDS = 5.0

# A forgotten open transaction holds back everyone who reads the log, so no transaction may idle.
_LIMITS = "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=10s"

# The limits above live on the server; these notice a network that is gone.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}


class TooSlow(OperationalError):
    """A statement took longer than the caller could wait. It may have happened."""


class Session(Connection[TupleRow]):
    """Waits for the server no longer than there is time: one that hangs keeps its connections open and says nothing."""

    @cached_property
    def writer(self) -> Cursor[TupleRow]:
        """For statements that return no rows. It is kept: making a cursor and finding out anew how each parameter is sent
        takes the processor half as long as a small statement does."""
        return self.cursor()

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


class Pool(ConnectionPool[Session]):
    """Of connections in autocommit mode."""

    @contextmanager
    def use(self, what: str) -> Iterator[Session]:
        """A connection, in the time that is left. `what` it is used for is in spans and errors: Unavailable for lost
        connections and an exhausted pool, TimedOut for statements that ran out of time."""
        try:
            with span(what, SpanKind.CLIENT, _SYSTEM):
                connection = self.getconn(time_left(self.timeout))
                try:
                    yield connection
                finally:
                    self.putconn(connection)
        except (errors.DeadlockDetected, errors.SerializationFailure):
            raise
        except (TooSlow, errors.QueryCanceled) as error:
            raise TimedOut(f"{what} did not answer in time; it may have happened") from error
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            raise Unavailable(f"{what} does not answer; try again in a moment") from error


def connect(conninfo: str, size: int, password: Password | None = None) -> Pool:
    """A pool of at most `size` connections in autocommit mode, opened when first needed."""
    options: dict[str, Any] = {"autocommit": True, "prepare_threshold": 1, "options": _LIMITS}
    options |= {"connect_timeout": int(_CONNECT_SECONDS), **_KEEPALIVE}
    return Pool(
        conninfo,
        connection_class=Session,
        min_size=0,
        max_size=size,
        timeout=_CONNECT_SECONDS,
        reconnect_timeout=_CONNECT_SECONDS,  # then give up, and let the next caller try at once
        kwargs=(lambda: options | {"password": password()}) if password else options,
        open=True,
    )


_SCOPE = "https://www.googleapis.com/auth/sqlservice.login"
"""Good for signing in to databases and for nothing else."""


_lock = Lock()


def login_token() -> str:
    """The account's token, a new one a few minutes before the last expires. Raises GoogleAuthError."""
    from google.auth.transport.requests import Request

    with _lock:  # several connections may be opened at once
        credentials = _credentials()
        if not credentials.valid:
            credentials.refresh(Request())
        token: str = credentials.token
        return token


@lru_cache
def _credentials() -> Any:
    """Imported only where it is used, in the cloud."""
    import google.auth

    credentials, _ = google.auth.default(scopes=[_SCOPE])
    return credentials


def storable(text: str) -> str:
    """Return the text with U+FFFD for U+0000 and `?` for lone surrogates, which PostgreSQL cannot store."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
