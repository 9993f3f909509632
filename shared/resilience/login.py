"""Signing in to Cloud SQL: as the process's service account, with a token in place of a password."""

from functools import lru_cache
from threading import Lock
from typing import Any

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
