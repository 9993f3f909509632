"""Identify callers: users by their Firebase ID token, the shop's own functions by their service
account's token."""

import os
from asyncio import to_thread
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any
from unicodedata import category
from urllib.parse import urlsplit

import structlog

from shared.auth.permissions import ANONYMOUS, DEVELOPER, SYSTEM, Actor, Role
from shared.domain.errors import Forbidden, Unavailable
from shared.domain.personal import ERASED
from shared.resilience import clock

_log = structlog.get_logger()

_RESERVED = frozenset(
    {ANONYMOUS.name, DEVELOPER.name, SYSTEM.name, ERASED}
)  # a user with such an id would pass for the shop
_CLOCK_SKEW = 10  # seconds between Google's clock and ours
_EXPIRED = "the ID token has expired; sign in again"
_REMOVED_BY_CLOUD_RUN = ".SIGNATURE_REMOVED_BY_GOOGLE"
"""What Cloud Run puts in the place of a signature that it has verified, so that a function cannot
reuse the token."""


@lru_cache
def _app(project_id: str) -> Any:
    """Return a Firebase app without credentials: verifying a token needs only Google's public
    keys."""
    import firebase_admin  # takes half a second to import, and only the graphql function needs it
    from firebase_admin.credentials import Base
    from google.auth.credentials import AnonymousCredentials

    anonymous = type("Anonymous", (Base,), {"get_credential": lambda _: AnonymousCredentials()})
    options = {"projectId": project_id, "httpTimeout": 5}
    return firebase_admin.initialize_app(anonymous(), options, f"shop-{project_id}")


def identify(authorization: str | None, project_id: str, admin_email: str) -> Actor:
    """Return the actor of an Authorization header.

    Without a header, and with an invalid token, the actor is anonymous; then `problem` says what is
    wrong with the token. Raises Unavailable when tokens cannot be verified. May fetch Google's
    public keys, which are cached for as long as Google allows, so call it off the event loop.
    """
    if not authorization:
        return ANONYMOUS
    from firebase_admin import auth

    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return Actor(problem="the Authorization header is malformed; it must be: Bearer <Firebase ID token>")
    try:
        claims = auth.verify_id_token(token.strip(), _app(project_id), clock_skew_seconds=_CLOCK_SKEW)
        expires = claims.get("exp", 0) + _CLOCK_SKEW
        if expires < clock.now().timestamp():  # not checked in the emulator's tokens
            return Actor(problem=_EXPIRED)
    except auth.ExpiredIdTokenError:
        return Actor(problem=_EXPIRED)
    except auth.CertificateFetchError as error:
        _log.error("cannot verify tokens", reason=str(error))
        raise Unavailable("ID tokens cannot be verified now; try again in a few seconds", retry_after=5) from error
    except (auth.InvalidIdTokenError, ValueError, TypeError, RecursionError) as error:
        return Actor(problem=f"the ID token is not valid: {_fault(error)}; sign in again")
    if claims["uid"] in _RESERVED or {"Cc", "Cs"} & {*map(category, claims["uid"])}:
        return Actor(problem="the token's user id is reserved or has control characters; sign in as another user")
    return Actor(claims["uid"], role_of(claims, admin_email), expires=expires)


def _fault(error: Exception) -> str:
    """Return what is wrong with a token. Firebase's own texts name the claim and what was expected;
    a parser's text shows Python."""
    text = str(error)
    return text[:200] if text.startswith("Firebase ID token") else "it is no Firebase ID token"


def role_of(claims: Mapping[str, Any], admin_email: str) -> Role:
    """Return the role in the claim `role`, READER for an unknown one. Without the claim, the user
    of a Google account with the verified address `admin_email` is an admin, and every other
    signed-in user is a writer.

    An address that only Firebase has verified makes no admin: an attacker could have registered it
    with a password, and a token's provider is "password" for e-mail links too. Addresses are
    compared without case, and only in ASCII: elsewhere `lower` maps different letters to the same
    one.
    """
    match claims:
        case {"role": name}:
            return next((role for role in Role if role.value == name), Role.READER)
        case {"email": str(email), "email_verified": True, "firebase": {"sign_in_provider": "google.com"}}:
            is_admin = admin_email and email.isascii() and email.lower() == admin_email.lower()
            return Role.ADMIN if is_admin else Role.WRITER
        case _:
            return Role.WRITER


def in_the_cloud(environment: Mapping[str, str] = os.environ) -> bool:
    return bool(environment.get("K_SERVICE"))


def without_sign_in(required: bool) -> Actor:
    """Return the actor of a request without a token. In the cloud it is anonymous, whatever the
    setting says."""
    return ANONYMOUS if required or in_the_cloud() else DEVELOPER


class EmulatorInTheCloud(Exception):
    """FIREBASE_AUTH_EMULATOR_HOST makes every token valid, even an unsigned one, so no deployed
    function starts with it."""


def refuse_emulator_in_the_cloud(environment: Mapping[str, str] = os.environ) -> None:
    if in_the_cloud(environment) and environment.get("FIREBASE_AUTH_EMULATOR_HOST"):
        raise EmulatorInTheCloud("FIREBASE_AUTH_EMULATOR_HOST is set, so forged ID tokens would be accepted; unset it")


async def authorization(url: str) -> dict[str, str]:
    """Return the header for calling our function at `url`: in the cloud a token for its audience,
    elsewhere no header.

    Raises GoogleAuthError."""
    return await to_thread(signed, url) if in_the_cloud() else {}


def signed(url: str) -> dict[str, str]:
    """Return what `authorization` returns, but block the calling thread. Raises GoogleAuthError."""
    return {"Authorization": f"Bearer {service_token(url)}"} if in_the_cloud() else {}


def service_token(url: str) -> str:
    """Return the process's ID token for calling `url`, from Google's metadata server. Raises
    GoogleAuthError."""
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


def require_caller(authorization: str, callers: str, audience: str) -> None:
    """In the cloud, raise Forbidden unless the token is of one of the service accounts `callers`,
    separated by spaces.

    `audience`: what the token must be for, the function's URL. Raises Unavailable when it cannot be
    verified.
    """
    if not in_the_cloud():
        return
    from google.auth.exceptions import GoogleAuthError, TransportError

    scheme, _, token = authorization.partition(" ")
    try:
        claims = _verified(token if scheme.lower() == "bearer" else "", audience)
    except TransportError as error:
        raise Unavailable("callers cannot be verified now; try again in a few seconds", retry_after=5) from error
    except (GoogleAuthError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise Forbidden(f"the caller's token is not valid: {error!s:.200}; send Authorization: Bearer TOKEN") from error
    if claims.get("email_verified") is not True or claims.get("email") not in callers.split():
        raise Forbidden("your service account may not call this function; send GraphQL to the graphql function")


def _verified(token: str, audience: str) -> Mapping[str, Any]:
    """Return the claims of a service account's ID token.

    A token without its signature comes from Cloud Run, which has verified it, and which lets no
    other token through in this header. Raises GoogleAuthError, ValueError, TypeError or KeyError
    for a token that is not valid.
    """
    from google.auth import jwt
    from google.oauth2 import id_token

    if jwt.decode_header(token)["alg"] != "RS256":
        raise ValueError("Google signs with RS256")
    if not token.endswith(_REMOVED_BY_CLOUD_RUN):
        verified: Mapping[str, Any] = id_token.verify_oauth2_token(token, _google(), audience, _CLOCK_SKEW)
        return verified
    claims: Mapping[str, Any] = jwt.decode(token, verify=False)
    if claims["aud"] != audience or claims["exp"] + _CLOCK_SKEW < clock.now().timestamp():
        raise ValueError(f"it has expired, or it is not for {audience}")
    return claims


@lru_cache
def _google() -> Callable[..., Any]:
    """Return the client that fetches Google's keys and caches them for as long as Google allows."""
    from cachecontrol import CacheControl
    from google.auth.transport.requests import Request

    transport = Request()
    CacheControl(transport.session)
    return partial(transport, timeout=5)
