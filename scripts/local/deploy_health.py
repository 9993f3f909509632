"""Wait until what was deployed answers."""

import http.client
import os
import time
import urllib.error
import urllib.request

from scripts.local.deploy_shell import Shell, Stop

_PATIENCE = "300"
_PAUSE = 5.0


def wait_until_ready(shell: Shell, url: str) -> None:
    """`url`: the shop's. Raises Stop with the last answer when it is not ready in DEPLOY_PATIENCE_SECONDS."""
    seconds = float(os.environ.get("DEPLOY_PATIENCE_SECONDS", _PATIENCE))
    shell.tell(f"$ curl --fail {url}/health/ready")
    until = time.monotonic() + seconds
    while not shell.dry and (answer := _answer(f"{url}/health/ready")) is not None:
        if time.monotonic() > until:
            raise Stop(
                f"{url}/health/ready is not well after {seconds:.0f} s: {answer}\n"
                "All is deployed. See the log of graphql for why, mend it and run this again."
            )
        time.sleep(min(_PAUSE, seconds))
    shell.tell("  ready")


def _answer(url: str) -> str | None:
    """What is wrong; None when it is well."""
    try:
        with urllib.request.urlopen(url, timeout=60):  # noqa: S310 - Terraform's output
            return None
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read(500).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
