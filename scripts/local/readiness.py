"""Ask every function whether it is ready, and name those that are not.

This runs as a Cloud Run job inside the shop's network: all functions but graphql accept requests
from there only. Its service account may call every function, and each function refuses it on every
path but its health and metrics.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx

from shared.auth.identity import service_token

_PATIENCE = "300"
_PAUSE = 5.0
_AT_ONCE = 8  # each request may start an instance

Token = Callable[[str], str]
"""Return the ID token for an audience."""


def not_ready(urls: Mapping[str, str], token: Token, patience: float) -> dict[str, str]:
    """Return why functions are not ready, by name, after asking again for `patience` seconds: an
    instance has to start, and the right to call a new function takes minutes to be known. `urls`:
    by function, each also its audience."""
    until, left = time.monotonic() + patience, dict(urls)
    while True:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            answers = dict(zip(left, threads.map(lambda url: _asked(url, token), left.values()), strict=True))
        reasons = {name: reason for name, reason in answers.items() if reason}
        if not reasons or time.monotonic() > until:
            return reasons
        left = {name: urls[name] for name in reasons}
        time.sleep(min(_PAUSE, patience))


def _asked(url: str, token: Token) -> str:
    """Return why the function is not ready; empty when it is."""
    try:
        answer = httpx.get(f"{url}/health/ready", headers={"Authorization": f"Bearer {token(url)}"}, timeout=60)
    except Exception as error:  # of the network or of the token: the function was not reached
        return f"no answer ({error!r})"
    if answer.status_code == 200:
        return ""
    try:
        checks = answer.json()["checks"]
        failed = [f"{one['name']} {one['message']}" for one in checks if one["status"] == "UNHEALTHY"]
    except (ValueError, KeyError, TypeError):
        failed = []
    return f"{answer.status_code} {', '.join(failed) or answer.text[:200]}"


def main(token: Token = service_token) -> int:
    urls: dict[str, str] = json.loads(os.environ["FUNCTION_URLS"])
    reasons = not_ready(urls, token, float(os.environ.get("READINESS_SECONDS", _PATIENCE)))
    for name, reason in sorted(reasons.items()):
        print(f"{name} is not ready: {' '.join(reason.split())}")
    print(f"{len(urls) - len(reasons)} of {len(urls)} functions are ready")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
