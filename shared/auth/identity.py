"""Identify callers: users by their Firebase ID token, the shop's own functions by their service account's token."""

import base64
import binascii
import json
import os
from asyncio import to_thread
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from unicodedata import category
from urllib.parse import urlsplit

import structlog

from shared.auth.permissions import ANONYMOUS, DEVELOPER, SYSTEM, Actor, Role
from shared.domain.errors import Forbidden, Unavailable

_log = structlog.get_logger()

_RESERVED = frozenset({ANONYMOUS.name, DEVELOPER.name, SYSTEM.name})  # a user with such an id would pass for the shop
_CLOCK_SKEW = 10  # seconds between Google's clock and ours


@lru_cache
def _app(project_id: str) -> Any:
    """Return a Firebase app without credentials: verifying a token needs only Google's public keys."""
    import firebase_admin  # takes half a second to import, and only the graphql function needs it
    from firebase_admin.credentials import Base
    from google.auth.credentials import AnonymousCredentials

    anonymous = type("Anonymous", (Base,), {"get_credential": lambda _: AnonymousCredentials()})
    options = {"projectId": project_id, "httpTimeout": 5}
    return firebase_admin.initialize_app(anonymous(), options, f"shop-{project_id}")


def identify(authorization: str | None, project_id: str, admin_email: str) -> Actor:
    """Return the actor of an Authorization header.

    Without a header, and with an invalid token, the actor is anonymous; then `problem` says what is wrong with the
    token. Raises Unavailable when tokens cannot be verified. May fetch Google's public keys, which are cached for as
    long as Google allows, so call it off the event loop.
    """
    if not authorization:
        return ANONYMOUS
    from firebase_admin import auth

    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return Actor(problem="the Authorization header is malformed; it must be: Bearer <Firebase ID token>")
    try:
        claims = auth.verify_id_token(token.strip(), _app(project_id), clock_skew_seconds=_CLOCK_SKEW)
    except auth.ExpiredIdTokenError:
        return Actor(problem="the ID token has expired; sign in again")
    except auth.CertificateFetchError as error:
        _log.error("cannot verify tokens", reason=str(error))
        raise Unavailable(
            "ID tokens cannot be verified at the moment; try again in a few seconds", retry_after=5
        ) from error
    except (auth.InvalidIdTokenError, ValueError, TypeError, RecursionError) as error:
        return Actor(problem=f"the ID token is not valid: {error!s:.200}; sign in again")
    if claims["uid"] in _RESERVED or {"Cc", "Cs"} & {*map(category, claims["uid"])}:
        return Actor(
            problem="the user id of the ID token is reserved or has control characters; sign in as another user"
        )
    return Actor(claims["uid"], role_of(claims, admin_email))


def role_of(claims: Mapping[str, Any], admin_email: str) -> Role:
    """Return the role in the claim `role`, READER for an unknown one. Without the claim, a verified `admin_email` makes
    an admin, and every other signed-in user is a writer."""
    if "role" in claims:
        return next((role for role in Role if role.value == claims["role"]), Role.READER)
    if _is_admin(claims, admin_email):
        return Role.ADMIN
    return Role.WRITER


def _is_admin(claims: Mapping[str, Any], admin_email: str) -> bool:
    """Compare e-mail addresses without case. ASCII only: elsewhere `lower` maps different letters to the same one."""
    email = claims.get("email")
    if not admin_email or not isinstance(email, str) or not email.isascii():
        return False
    return claims.get("email_verified") is True and email.lower() == admin_email.lower()


def in_the_cloud(environment: Mapping[str, str] = os.environ) -> bool:
    return bool(environment.get("K_SERVICE"))


def without_sign_in(required: bool) -> Actor:
    """Return the actor of a request without a token. In the cloud it is anonymous, whatever the setting says."""
    return ANONYMOUS if required or in_the_cloud() else DEVELOPER


class EmulatorInTheCloud(Exception):
    """FIREBASE_AUTH_EMULATOR_HOST makes every token valid, even an unsigned one, so no deployed function starts with it."""


def refuse_emulator_in_the_cloud(environment: Mapping[str, str] = os.environ) -> None:
    if in_the_cloud(environment) and environment.get("FIREBASE_AUTH_EMULATOR_HOST"):
        raise EmulatorInTheCloud("FIREBASE_AUTH_EMULATOR_HOST is set, so forged ID tokens would be accepted; unset it")


async def authorization(url: str) -> dict[str, str]:
    """Return the header for calling our function at `url`: in the cloud a token for its audience, elsewhere no header.

    Raises GoogleAuthError."""
    return await to_thread(signed, url) if in_the_cloud() else {}


def signed(url: str) -> dict[str, str]:
    """Return what `authorization` returns, but block the calling thread. Raises GoogleAuthError."""
    return {"Authorization": f"Bearer {_token(url)}"} if in_the_cloud() else {}


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
    """Cache the credentials of each audience, because new ones ask the metadata server."""
    from google.auth.compute_engine import IDTokenCredentials
    from google.auth.transport.requests import Request

    return IDTokenCredentials(Request(), target_audience=audience, use_metadata_identity_endpoint=True)


def require_caller(authorization: str | None, caller_email: str) -> None:
    """In the cloud, raise Forbidden unless the caller is the service account `caller_email`.

    Cloud Run has verified the token's signature, audience and time, and removed the signature, so reading the e-mail
    address is enough.
    """
    if in_the_cloud() and (not caller_email or _email(authorization or "") != caller_email):
        raise Forbidden("only the graphql function may call this function; send your request to it")


def _email(authorization: str) -> str | None:
    try:
        payload = authorization.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, binascii.Error, ValueError):
        return None
    return claims.get("email") if isinstance(claims, dict) and claims.get("email_verified") is True else None
