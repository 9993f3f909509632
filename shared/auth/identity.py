"""Who calls: a user by a Firebase ID token, one of the shop's own functions by its service account's."""

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

_RESERVED = frozenset({ANONYMOUS.name, DEVELOPER.name, SYSTEM.name})  # or a user would pass for the shop itself
_CLOCK_SKEW = 10  # seconds between Google's clock and ours


@lru_cache
def _app(project_id: str) -> Any:
    """Verifying takes Google's public keys and no rights of our own."""
    import firebase_admin  # only the graphql function needs it, and it takes its time
    from firebase_admin.credentials import Base
    from google.auth.credentials import AnonymousCredentials

    nobody = type("Nobody", (Base,), {"get_credential": lambda _: AnonymousCredentials()})
    options = {"projectId": project_id, "httpTimeout": 5}
    return firebase_admin.initialize_app(nobody(), options, f"shop-{project_id}")


def identify(authorization: str | None, project_id: str, admin_email: str) -> Actor:
    """The actor of an Authorization header. Without one, nobody; with an invalid one, nobody with the problem. Raises
    Unavailable when nothing can be verified.

    May ask Google for its public keys, which are cached as long as Google says; so call it off the event loop.
    """
    if not authorization:
        return ANONYMOUS
    from firebase_admin import auth

    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return Actor(problem="the Authorization header must be: Bearer <Firebase ID token>")
    try:
        claims = auth.verify_id_token(token.strip(), _app(project_id), clock_skew_seconds=_CLOCK_SKEW)
    except auth.ExpiredIdTokenError:
        return Actor(problem="the ID token has expired; sign in again")
    except auth.CertificateFetchError as error:
        _log.error("cannot verify tokens", reason=str(error))
        raise Unavailable("tokens cannot be verified at the moment; try again", retry_after=5) from error
    except (auth.InvalidIdTokenError, ValueError, TypeError, RecursionError) as error:
        return Actor(problem=f"the ID token is not valid: {error!s:.200}")
    if claims["uid"] in _RESERVED or {"Cc", "Cs"} & {*map(category, claims["uid"])}:
        return Actor(problem="the ID token is for a user id that can't be used here")
    return Actor(claims["uid"], role_of(claims, admin_email))


def role_of(claims: Mapping[str, Any], admin_email: str) -> Role:
    """The claim `role` wins, an unknown one being the least; then a verified ADMIN_EMAIL; whoever signed in writes."""
    if "role" in claims:
        return next((role for role in Role if role.value == claims["role"]), Role.READER)
    if _is_admin(claims, admin_email):
        return Role.ADMIN
    return Role.WRITER


def _is_admin(claims: Mapping[str, Any], admin_email: str) -> bool:
    """E-mail addresses differ in case only by accident; ASCII only, where lowering maps no two letters to one."""
    email = claims.get("email")
    if not admin_email or not isinstance(email, str) or not email.isascii():
        return False
    return claims.get("email_verified") is True and email.lower() == admin_email.lower()


def in_the_cloud(environment: Mapping[str, str] = os.environ) -> bool:
    return bool(environment.get("K_SERVICE"))


def without_sign_in(required: bool) -> Actor:
    """Who a request without any identity comes from. In the cloud that is nobody, whatever the settings say."""
    return ANONYMOUS if required or in_the_cloud() else DEVELOPER


class EmulatorInTheCloud(Exception):
    """FIREBASE_AUTH_EMULATOR_HOST makes every token valid, signed or not; a deployed function refuses to start with it."""


def refuse_emulator_in_the_cloud(environment: Mapping[str, str] = os.environ) -> None:
    if in_the_cloud(environment) and environment.get("FIREBASE_AUTH_EMULATOR_HOST"):
        raise EmulatorInTheCloud("unset FIREBASE_AUTH_EMULATOR_HOST: it lets anybody be anybody")


async def authorization(url: str) -> dict[str, str]:
    """The header that lets us call the function at `url`: in the cloud a token for its audience, elsewhere nothing."""
    return await to_thread(signed, url) if in_the_cloud() else {}


def signed(url: str) -> dict[str, str]:
    """The same, to a thread. Raises GoogleAuthError."""
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
