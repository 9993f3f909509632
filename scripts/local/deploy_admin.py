"""Create the shop's admin in Identity Platform: a user with the claim that makes an admin, who then
chooses a password.

These are the requests of Firebase's Admin SDK, made without it: this runs before any package is
installed.
"""

import json
import os
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from scripts.local.deploy_shell import Shell, Stop

Fields = dict[str, Any]


def create_admin(shell: Shell, project: str, email: str, show_link: bool) -> None:
    """Make the user with this address an admin, unless it is one, and show a link with which its
    password is chosen.

    A user that is there without the claim may have been registered by anybody, so it loses its
    password, its sessions and all ways to sign in that don't prove the address. The claim comes
    last: after a failure, the next run repeats it all. Raise Stop.
    """
    try:
        found = ask_identity_platform(shell, project, "accounts:lookup", {"email": [email]}).get("users", [])
        user: Fields = found[0] if found else {}
        claims: Fields = json.loads(user.get("customAttributes") or "{}")
        if claims.get("role") == "admin":
            shell.tell(f"  {email} is an admin already")
            return
        password = {"email": email, "password": secrets.token_urlsafe(32)}
        if user:
            shell.tell(f"  {email} was registered already, perhaps by another person: its password and sessions end")
            ask_identity_platform(shell, project, "accounts:update", password | _locked(user))
        else:
            user = ask_identity_platform(shell, project, "accounts", password)
        link = _link(shell, project, email) if show_link else ""
        claim = {"localId": user.get("localId", "ID"), "customAttributes": json.dumps(claims | {"role": "admin"})}
        ask_identity_platform(shell, project, "accounts:update", claim)
    except urllib.error.HTTPError as error:
        reason = error.read(500).decode(errors="replace")
        raise Stop(f"The admin {email} could not be created: {error.code} {reason}\n{_AGAIN}") from error
    except (OSError, ValueError) as error:
        raise Stop(f"The admin {email} could not be created: {error}\n{_AGAIN}") from error
    shell.tell(f"  {email} is an admin now and chooses a password here: {link}" if link else _NO_LINK)


_AGAIN = "The shop is deployed. Fix the cause and run this again."
_NO_LINK = (
    "  The admin is created. A log is no place for its password link: terraform/README.md says how to get one by mail."
)


def _link(shell: Shell, project: str, email: str) -> str:
    wanted = {"requestType": "PASSWORD_RESET", "email": email, "returnOobLink": True}
    return str(ask_identity_platform(shell, project, "accounts:sendOobCode", wanted).get("oobLink", "LINK"))


def _locked(user: Mapping[str, Any]) -> Fields:
    """Return the changes after which only the owner of the address can sign in as the user."""
    ways = [
        way["providerId"]
        for way in user.get("providerUserInfo", [])
        if way["providerId"] != "password"
        and not (way["providerId"] == "google.com" and way.get("email", "").lower() == user["email"].lower())
    ]
    return {"localId": user["localId"], "validSince": str(int(time.time())), "deleteProvider": ways}


def ask_identity_platform(shell: Shell, project: str, path: str, body: Fields | None = None) -> Fields:
    """Return the answer about the project; in a dry run nothing. Raise OSError, also for a refusal,
    and ValueError."""
    api = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_IDENTITYTOOLKIT", "https://identitytoolkit.googleapis.com/")
    url = f"{api}{'v2' if body is None else 'v1'}/projects/{project}/{path}"
    shown = json.dumps({name: "..." if name == "password" else value for name, value in (body or {}).items()})
    data = f" --data '{shown}'" if body else ""
    shell.tell(f"$ curl --fail --oauth2-bearer TOKEN --header 'X-Goog-User-Project: {project}' {url}{data}")
    if shell.dry:
        return {}
    token = shell.ask(["gcloud", "auth", "print-access-token", "--quiet"]).text
    headers = {"Authorization": f"Bearer {token}", "X-Goog-User-Project": project, "Content-Type": "application/json"}
    sent = json.dumps(body).encode() if body is not None else None
    asked = urllib.request.Request(url, sent, headers)  # noqa: S310 - Google's address, or a test's
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
        found: Fields = json.load(answer)
        return found
