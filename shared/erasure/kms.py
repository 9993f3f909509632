"""Cloud KMS, over its REST interface: one small request at a process's first use, for which
Google's client library would take a second to import."""

import base64
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from google.auth.exceptions import GoogleAuthError

from shared.domain.errors import TimedOut, Unavailable
from shared.resilience.calls import deadline, time_left

_SCOPE = "https://www.googleapis.com/auth/cloudkms"
_URL = "https://cloudkms.googleapis.com/v1"
_SECONDS = 5.0


@dataclass(frozen=True)
class CloudKms:
    """`key`: projects/P/locations/L/keyRings/R/cryptoKeys/K. `token`: returns an access token."""

    key: str
    client: httpx.Client
    token: Callable[[], str]

    def wrap(self, secret: bytes) -> bytes:
        return self._call("encrypt", "plaintext", secret, "ciphertext")

    def unwrap(self, wrapped: bytes) -> bytes:
        return self._call("decrypt", "ciphertext", wrapped, "plaintext")

    def _call(self, method: str, name: str, value: bytes, answer: str) -> bytes:
        body = {name: base64.b64encode(value).decode()}
        with deadline(_SECONDS):
            try:
                headers = {"Authorization": f"Bearer {self.token()}"}
                url = f"{_URL}/{self.key}:{method}"
                response = self.client.post(url, json=body, headers=headers, timeout=time_left(_SECONDS))
                return base64.b64decode(response.raise_for_status().json()[answer], validate=True)
            except httpx.TimeoutException as error:
                raise TimedOut("no answer from Cloud KMS in time; try again") from error
            except (httpx.HTTPError, GoogleAuthError, ValueError, KeyError) as error:
                raise Unavailable("Cloud KMS does not answer as expected; try again in a moment") from error


def access_token() -> str:
    """Return a token of the service account. Raise GoogleAuthError."""
    import google.auth
    from google.auth.transport.requests import Request

    credentials = google.auth.default(scopes=[_SCOPE])[0]
    credentials.refresh(Request())
    return str(credentials.token)
