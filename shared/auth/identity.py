"""Who calls: a Firebase ID token becomes an actor."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import firebase_admin
import structlog
from firebase_admin import auth, credentials
from google.auth.credentials import AnonymousCredentials

from shared.auth.permissions import NOBODY, Actor, Role

_log = structlog.get_logger()

_CLOCK_SKEW = 10  # seconds between Google's clock and ours


class _None(credentials.Base):  # type: ignore[misc]  # the library has no types
    """Verifying takes Google's public keys and no rights of our own."""

    def get_credential(self) -> AnonymousCredentials:
        return AnonymousCredentials()


@lru_cache
def _app(project_id: str) -> firebase_admin.App:
    options = {"projectId": project_id, "httpTimeout": 5}
    return firebase_admin.initialize_app(_None(), options, f"shop-{project_id}")


def identify(authorization: str | None, project_id: str, admin_email: str) -> Actor:
    """The actor of an Authorization header. Without one, nobody; with an invalid one, nobody with the problem.

    May ask Google for its public keys, which are cached as long as Google says; so call it off the event loop.
    """
    if not authorization:
        return NOBODY
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return Actor(problem="the Authorization header must be: Bearer <Firebase ID token>")
    try:
        claims = auth.verify_id_token(token.strip(), _app(project_id), clock_skew_seconds=_CLOCK_SKEW)
    except auth.ExpiredIdTokenError:
        return Actor(problem="the ID token has expired; sign in again")
    except (auth.InvalidIdTokenError, ValueError) as error:
        return Actor(problem=f"the ID token is not valid: {error}")
    except auth.CertificateFetchError as error:
        _log.error("cannot verify tokens", reason=str(error))
        return Actor(problem="tokens cannot be verified at the moment; try again")
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
