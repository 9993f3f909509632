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


def require_newest(shell: Shell, project: str, region: str) -> None:
    """Raises Stop naming the functions whose newest code did not start: the old one goes on serving, and to Terraform all is
    as it should be."""
    revisions = "metadata.name,status.latestCreatedRevisionName,status.latestReadyRevisionName"
    of_the_shop = ["--filter=metadata.labels.app=shop", f"--format=csv[no-heading]({revisions})"]
    listed = shell.ask(
        ["gcloud", "run", "services", "list", f"--region={region}", f"--project={project}", *of_the_shop]
    )
    if not listed.ok:
        raise Stop(f"Whether the new code runs can't be seen: {listed.error}")
    services = [line.split(",") for line in listed.text.splitlines()]
    behind = [name for name, newest, ready in services if newest != ready]
    if behind:
        raise Stop(
            f"The newest code of {', '.join(behind)} did not start; what was there before still serves. Why, says\n"
            f"gcloud run services describe {behind[0]} --region={region} --project={project}\n"
            "Mend it and run this again."
        )


def _answer(url: str) -> str | None:
    """What is wrong; None when it is well."""
    try:
        with urllib.request.urlopen(url, timeout=60):  # noqa: S310 - Terraform's output
            return None
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read(500).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
