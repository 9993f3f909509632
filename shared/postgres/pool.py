"""Connections to PostgreSQL: their time limits, what their failures mean to a caller, and signing
in with IAM."""

import atexit
import select
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from threading import Lock
from typing import Any, TypeVar
from weakref import ref

from psycopg import Connection, Cursor, InterfaceError, OperationalError, errors
from psycopg.abc import Params, PQGen, QueryNoTemplate
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout

from shared.domain.errors import TimedOut, Unavailable
from shared.observability.context import SpanKind, span
from shared.resilience import clock
from shared.resilience.calls import deadline, time_left

RV = TypeVar("RV")
Password = Callable[[], str]
"""Called for every new connection: the password may be a token that expires. Open connections
outlive it."""

STATEMENT_SECONDS = 15.0  # or the time that the request has left, when that is less
_CONNECT_SECONDS = 5.0
_CLOSE_SECONDS = 1.0  # for a thread that connects at the end of the process
_IDLE_SECONDS = 1.0  # after which the server is asked whether it still has the connection
_CHECK_SECONDS = 2.0  # for the answer
# An open transaction that was forgotten holds back all readers of the log, so no transaction may
# idle.
_LIMITS = "-c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=10s"
# The server enforces the limits above; these settings detect a network that is gone.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}


class ConnectionLost(Unavailable):
    """The connection ended before the answer came."""


class TooSlow(OperationalError):
    """A statement took longer than the caller could wait. It may have taken effect."""


class Session(Connection[TupleRow]):
    """Waits for the server no longer than the request has time: a server that hangs keeps its
    connections open."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._answered_at = clock.monotonic()

    @cached_property
    def writer(self) -> Cursor[TupleRow]:
        """A cursor for statements that return no rows. It is reused: a new cursor, which has to
        look up again how to send each parameter, costs half as much processor time as a small
        statement."""
        return self.cursor()

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        seconds = _time_left() if timeout is None else timeout
        until = clock.monotonic() + seconds
        try:
            answer = super().wait(gen, interval, seconds)
            self._answered_at = clock.monotonic()
            return answer
        except OperationalError as error:
            # The error of a wait that timed out has no public name. It does not come from the
            # server, so it has no state.
            if error.sqlstate or clock.monotonic() < until:
                raise
            self.close()  # a late answer would be taken for that of the next statement
            raise TooSlow("no answer in time") from error

    def is_alive(self) -> bool:
        """Return whether the server still has this connection; close it otherwise.

        A server that stops, also by a crash, ends its connections: something has arrived on the
        socket, which costs two microseconds to see. A server that fails over may be gone without a
        word, so after a second of idling the check is a round trip. A busy connection never pays
        for that.
        """
        arrived = select.poll()
        try:
            arrived.register(self.fileno(), select.POLLIN)
            if arrived.poll(0) or clock.monotonic() - self._answered_at > _IDLE_SECONDS:
                with deadline(_CHECK_SECONDS):
                    self.execute("", prepare=False)
        except OperationalError:
            self.close()
        return not self.closed


def _time_left() -> float:
    try:
        return time_left(STATEMENT_SECONDS)
    except TimedOut:
        return 0.1  # to end a transaction that began in time


class Pool(ConnectionPool[Session]):
    """A pool of connections in autocommit mode."""

    @contextmanager
    def use(self, what: str) -> Iterator[Session]:
        """Lend a living connection, in the time that the request has left. `what` names its use in
        spans and errors.

        Raise Unavailable for a connection that is lost meanwhile or an exhausted pool, TimedOut for
        a statement that ran out of time. In both cases a statement may have been carried out, so
        none is repeated here: `rows` repeats reads, and the client of a command repeats it with the
        same idempotency key.
        """
        try:
            with span(what, SpanKind.CLIENT, {"db.system.name": "postgresql"}):
                connection = self._living()
                try:
                    yield connection
                finally:
                    self.putconn(connection)
        except (errors.DeadlockDetected, errors.SerializationFailure):
            raise
        except (TooSlow, errors.QueryCanceled) as error:
            raise TimedOut(f"no answer from {what} in time; the change may have happened") from error
        except PoolTimeout as error:
            raise Unavailable(f"no answer from {what}; try again in a moment") from error
        except (OperationalError, InterfaceError) as error:
            raise ConnectionLost(f"no answer from {what}; try again in a moment") from error

    def rows(self, what: str, query: QueryNoTemplate, values: Params = ()) -> list[TupleRow]:
        """Return the rows of a statement that only reads, or that may take effect twice. Raise as
        `use` does.

        When its connection is lost, it is repeated once on another: the server may restart between
        the check and the statement, and another read does no harm.
        """
        try:
            return self._rows(what, query, values)
        except ConnectionLost:
            return self._rows(what, query, values)

    def _rows(self, what: str, query: QueryNoTemplate, values: Params) -> list[TupleRow]:
        with self.use(what) as connection:
            return connection.execute(query, values).fetchall()

    def _living(self) -> Session:
        """Return a living connection. With the first dead one all others are replaced, because they
        died together.

        Not by psycopg_pool's `check`: it pauses for seconds after the second dead connection.
        """
        while not (connection := self.getconn(time_left(self.timeout))).is_alive():
            self.drain()
            self.putconn(connection)
        return connection


def connect(conninfo: str, size: int, password: Password | None = None, server_ca: str = "") -> Pool:
    """Return a pool of at most `size` connections in autocommit mode, each opened when it is first
    needed. `server_ca`: as for `verified`."""
    options: dict[str, Any] = {"autocommit": True, "prepare_threshold": 1, "options": _LIMITS}
    options |= {"connect_timeout": int(_CONNECT_SECONDS), **_KEEPALIVE}
    more: dict[str, Any] = {"kwargs": (lambda: options | {"password": password()}) if password else options}
    more |= {"timeout": _CONNECT_SECONDS, "reconnect_timeout": _CONNECT_SECONDS}  # then the next caller tries at once
    more |= {"connection_class": Session, "min_size": 0, "max_size": size, "open": True}
    pool = Pool(verified(conninfo, server_ca), **more)
    atexit.register(_close, ref(pool))
    return pool


def _close(pool: "ref[Pool]") -> None:
    """Before Python's end, which stops the pool's threads: then each is waited for in vain."""
    if still := pool():
        still.close(_CLOSE_SECONDS)


def verified(conninfo: str, server_ca: str) -> str:
    """Return the connection string with TLS and the server's certificate verified; without a CA,
    unchanged.

    `server_ca`: certificates in PEM. A Cloud SQL instance has a CA of its own, so a server with a
    certificate of this CA is that instance; its certificate names no address to compare. A token is
    sent only after the certificate is verified.
    """
    return make_conninfo(conninfo, sslmode="verify-ca", sslrootcert=_file_of(server_ca)) if server_ca else conninfo


@lru_cache
def _file_of(server_ca: str) -> str:
    """Return the name of a file with the certificates: libpq reads them from nowhere else."""
    with tempfile.NamedTemporaryFile("w", prefix="server-ca-", suffix=".pem", delete=False) as file:
        file.write(server_ca)
    return file.name


_SCOPE = "https://www.googleapis.com/auth/sqlservice.login"  # permits signing in to databases and nothing else
_lock = Lock()


def login_token() -> str:
    """Return the service account's token, renewed a few minutes before it expires. Raise
    GoogleAuthError."""
    from google.auth.transport.requests import Request

    with _lock:  # several connections may be opened at once, and one request for a token is enough
        credentials = _credentials()
        if not credentials.valid:
            credentials.refresh(Request())
        return str(credentials.token)


@lru_cache
def _credentials() -> Any:
    import google.auth

    return google.auth.default(scopes=[_SCOPE])[0]
