"""Make ID tokens as Firebase's Auth emulator does: unsigned, so they are refused where signatures
are checked."""

import argparse
import base64
import json
import sys
import time
from typing import Any

from scripts.local import running

PROJECT = "shop-local"
ADMIN_EMAIL = "admin@example.com"


_YEAR = 365 * 24 * 3600


def emulator_token(
    email: str,
    uid: str | None = None,
    role: str | None = None,
    verified: bool = True,
    provider: str = "google.com",
    lifetime: int = _YEAR,
) -> str:
    """Return a token for `uid`, by default the part of the e-mail address before the @. `role`: the
    custom claim.

    `provider`: how the user signed in, for example "password". `lifetime`: seconds from now until
    it expires.
    """
    user, now = uid or email.partition("@")[0], int(time.time())
    claims: dict[str, Any] = {
        "iss": f"https://securetoken.google.com/{PROJECT}",
        "aud": PROJECT,
        "sub": user,
        "user_id": user,
        "iat": now,
        "auth_time": now,
        "exp": now + lifetime,
        "email": email,
        "email_verified": verified,
        "firebase": {"sign_in_provider": provider, "identities": {"email": [email]}},
    }
    return ".".join([_encoded({"alg": "none", "typ": "JWT"}), _encoded(claims | ({"role": role} if role else {})), ""])


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/token", description="Print an ID token that scripts/dev accepts.")
    parser.add_argument("email", nargs="?", help="the user's address; without one, the running shop's admin")
    parser.add_argument("--port", type=int, metavar="N", help="of the shop, if several run (found by itself)")
    parser.add_argument(
        "--role",
        choices=["reader", "writer", "admin"],
        help="the custom claim, which overrides all else",
    )
    parser.add_argument("--uid", help="user id (the part of the address before the @)")
    parser.add_argument("--unverified", action="store_true", help="mark the address as not verified")
    parser.add_argument("--password", action="store_true", help="a sign-in with a password instead of a Google account")
    parser.add_argument("--expired", action="store_true", help="a token that expired an hour ago")
    chosen = parser.parse_args()
    provider, lifetime = "password" if chosen.password else "google.com", -3600 if chosen.expired else _YEAR
    email = chosen.email or running.found(chosen.port).admin_email
    print(emulator_token(email, chosen.uid, chosen.role, not chosen.unverified, provider, lifetime))
    return 0


if __name__ == "__main__":
    sys.exit(main())
