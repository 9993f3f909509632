"""How the shop's own functions know each other in the cloud: by their service accounts' ID tokens."""

import base64
import binascii
import json
import os
from asyncio import to_thread
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from shared.auth.permissions import DEVELOPER, NOBODY, Actor
from shared.domain.errors import Forbidden


def in_the_cloud(environment: Mapping[str, str] = os.environ) -> bool:
    return bool(environment.get("K_SERVICE"))


def without_sign_in(required: bool) -> Actor:
    """Who a request without any identity comes from. In the cloud that is nobody, whatever the settings say."""
    return NOBODY if required or in_the_cloud() else DEVELOPER


class EmulatorInTheCloud(Exception):
    """FIREBASE_AUTH_EMULATOR_HOST makes every token valid, signed or not; a deployed function refuses to start with it."""


def refuse_emulator_in_the_cloud(environment: Mapping[str, str] = os.environ) -> None:
    if in_the_cloud(environment) and environment.get("FIREBASE_AUTH_EMULATOR_HOST"):
        raise EmulatorInTheCloud("unset FIREBASE_AUTH_EMULATOR_HOST: it lets anybody be anybody")


async def authorization(url: str) -> dict[str, str]:
    """The header that lets us call the function at `url`: in the cloud a token for its audience, elsewhere nothing."""
    return {"Authorization": f"Bearer {await to_thread(_token, url)}"} if in_the_cloud() else {}


def _token(url: str) -> str:
    from google.auth.transport.requests import Request

    parts = urlsplit(url)
    credentials = _credentials(f"{parts.scheme}://{parts.netloc}")
    if not credentials.valid:
        credentials.refresh(Request())
    token: str = credentials.token
    return token


@lru_cache
def _credentials(audience: str) -> Any:
    """Kept per audience, because each new one asks the metadata server."""
    from google.auth.compute_engine import IDTokenCredentials
    from google.auth.transport.requests import Request

    return IDTokenCredentials(Request(), target_audience=audience, use_metadata_identity_endpoint=True)


def require_caller(authorization: str | None, caller_email: str) -> None:
    """In the cloud, raise Forbidden unless the caller is the service account `caller_email`.

    The platform has verified signature, audience and time of the token, and removed the signature; what is left to do is
    to read who it was.
    """
    if in_the_cloud() and (not caller_email or _email(authorization or "") != caller_email):
        raise Forbidden("only the graphql function may call this")


def _email(authorization: str) -> str | None:
    try:
        payload = authorization.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, binascii.Error, ValueError):
        return None
    return claims.get("email") if isinstance(claims, dict) and claims.get("email_verified") is True else None
