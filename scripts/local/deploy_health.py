"""Wait until the deployed shop is ready, and ask every function whether it is."""

import http.client
import time
import urllib.error
import urllib.request

from scripts.local.deploy_shell import Shell, Stop, patience

_PAUSE = 5.0
READINESS_JOB = "shop-readiness"


def wait_until_ready(shell: Shell, url: str) -> None:
    """Wait until the shop at `url` is ready. Raise Stop with its last answer after
    DEPLOY_PATIENCE_SECONDS."""
    seconds = patience()
    shell.tell(f"$ curl --fail {url}/health/ready")
    until = time.monotonic() + seconds
    while not shell.dry and (answer := _answer(f"{url}/health/ready")) is not None:
        if time.monotonic() > until:
            raise Stop(
                f"{url}/health/ready is not ready after {seconds:.0f} s: {answer}\n"
                "Everything is deployed. The log of graphql says why; fix the cause and run this again."
            )
        time.sleep(min(_PAUSE, seconds))
    shell.tell("  ready")


def require_newest(shell: Shell, project: str, region: str) -> None:
    """Raise Stop with the functions whose newest code did not start. Their old code still serves,
    and Terraform sees no difference."""
    revisions = "metadata.name,status.latestCreatedRevisionName,status.latestReadyRevisionName"
    of_the_shop = ["--filter=metadata.labels.app=shop", f"--format=csv[no-heading]({revisions})"]
    listed = shell.ask(
        ["gcloud", "run", "services", "list", f"--region={region}", f"--project={project}", *of_the_shop]
    )
    if not listed.ok:
        raise Stop(f"Could not check whether the new code runs: {listed.error}")
    services = [line.split(",") for line in listed.text.splitlines()]
    behind = [name for name, newest, ready in services if newest != ready]
    if behind:
        raise Stop(
            f"The newest code of {', '.join(behind)} did not start; the code before it still serves. To see why:\n"
            f"gcloud run services describe {behind[0]} --region={region} --project={project}\n"
            "Fix the cause and run this again."
        )


def require_all_ready(shell: Shell, project: str, region: str) -> None:
    """Ask every function through a job, because only graphql can be reached from outside. Raise
    Stop with the functions that are not ready, and why."""
    place = [f"--region={region}", f"--project={project}"]
    try:
        shell.do(["gcloud", "run", "jobs", "execute", READINESS_JOB, "--wait", *place, "--quiet"], "")
    except Stop as stop:
        listed = _not_ready(shell, project) or "  (its log names them; it is not there yet)"
        raise Stop(
            f"The new code serves, but not every function is ready:\n{listed}\n"
            f"To go back to the code before: scripts/deploy {project} --rollback\n"
            "Otherwise fix the cause and run this again."
        ) from stop
    shell.tell("  every function is ready")


def _not_ready(shell: Shell, project: str) -> str:
    """Return the lines of the job's log that name a function; empty when the log has none after
    some seconds."""
    log = f'resource.type="cloud_run_job" resource.labels.job_name="{READINESS_JOB}" textPayload:" is not ready: "'
    read = ["gcloud", "logging", "read", log, f"--project={project}", "--freshness=15m", "--format=value(textPayload)"]
    for _ in range(4):
        if lines := sorted(set(shell.ask(read).text.splitlines())):
            return "\n".join(f"  {line}" for line in lines)
        time.sleep(min(_PAUSE, patience() / 20))
    return ""


def _answer(url: str) -> str | None:
    """Return what is wrong, or None when the address answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=60):  # noqa: S310 - Terraform's output
            return None
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read(500).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
