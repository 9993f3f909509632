"""Requests that are refused before an operation runs."""

from collections.abc import Mapping
from typing import Any


class HttpRefusal(Exception):
    """The request is answered with `status`, and no operation runs."""

    def __init__(
        self, status: int, message: str, headers: Mapping[str, str] | None = None, code: str = "INVALID_INPUT"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
        self.extensions: Mapping[str, Any] = {"code": code}


class RetryLater(HttpRefusal):
    """The client may send the same request again after `wait` seconds."""

    def __init__(self, status: int, message: str, wait: int, code: str = "SERVICE_UNAVAILABLE") -> None:
        super().__init__(status, message, {"Retry-After": str(wait)})
        self.extensions = {"code": code, "retryAfter": wait}
