"""Send the traffic back to the revisions of the deployment before.

Each deployment that passed its checks is remembered in the bucket of Terraform's state, with the
revision of each function that served then. Cloud Run keeps old revisions, so nothing is built,
planned or migrated.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.local.deploy_shell import Shell, Stop

_REMEMBERED = 10
Revisions = Mapping[str, str]
"""The revision that serves, by service."""


@dataclass(frozen=True)
class Deployments:
    """The deployments of a project that passed their checks. `bucket`: that of Terraform's
    state."""

    shell: Shell
    project: str
    region: str
    bucket: str

    @property
    def _file(self) -> str:
        return f"gs://{self.bucket}/shop/deployments.json"

    def serving(self) -> dict[str, str]:
        """Return the revision that serves most requests, by service. Raise Stop."""
        listed = self.shell.ask(
            ["gcloud", "run", "services", "list", *self._place, "--filter=metadata.labels.app=shop", "--format=json"],
            "[]",
        )
        if not listed.ok:
            raise Stop(f"The services cannot be listed: {listed.error}")
        return {service["metadata"]["name"]: _most_traffic(service) for service in listed.json}

    def remembered(self) -> list[dict[str, Any]]:
        """Return the remembered deployments, the newest last: `at`, in UTC, and `revisions`. Raise
        Stop."""
        found = self.shell.ask(["gcloud", "storage", "ls", f"gs://{self.bucket}/shop/"])
        if not found.ok:
            raise Stop(f"The bucket {self.bucket} cannot be read: {found.error}")
        if self._file not in found.text.split():
            return []
        answer = self.shell.ask(["gcloud", "storage", "cat", self._file], "[]")
        if not answer.ok:
            raise Stop(f"{self._file} cannot be read: {answer.error}")
        return list(answer.json)

    def remember(self) -> None:
        """Remember that what serves now has passed the checks. Raise Stop."""
        before, now = self.remembered(), self.serving()
        if not before or before[-1]["revisions"] != now:
            self.write([*before, {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}", "revisions": now}][-_REMEMBERED:])

    def write(self, deployments: list[dict[str, Any]]) -> None:
        """Replace the remembered deployments. Raise Stop."""
        with tempfile.TemporaryDirectory(prefix="shop-deployments-") as folder:
            file = Path(folder) / "deployments.json"
            file.write_text(json.dumps(deployments))
            self.shell.do(
                ["gcloud", "storage", "cp", str(file), self._file],
                f"{self._file} could not be written; gcloud's message above says why. Fix the cause and run this again.",
            )

    def send_to(self, service: str, revision: str) -> None:
        """Send all traffic of the service to the revision. Raise Stop."""
        update = ["gcloud", "run", "services", "update-traffic", service, f"--to-revisions={revision}=100"]
        self.shell.do(
            [*update, *self._place, "--quiet"],
            f"{service} could not be sent back to {revision}; the message above says why. Services before it in the list"
            " are rolled back. Run this again to continue.",
        )

    @property
    def _place(self) -> list[str]:
        return [f"--region={self.region}", f"--project={self.project}"]


def roll_back(deployments: Deployments, agree: Callable[[], None]) -> None:
    """Send each function's traffic to its revision of the deployment before the one that serves;
    from a deployment that did not pass its checks, to the last that did. Run again, go back one
    more. Raise Stop."""
    shell = deployments.shell
    shell.step("Roll back")
    now, known = deployments.serving(), deployments.remembered()
    target = _before(now, known)
    if target is None:
        if shell.dry:
            shell.tell("(here it sends each function's traffic back: gcloud run services update-traffic SERVICE ...)")
            return
        raise Stop(
            f"No earlier deployment of {deployments.project} is remembered: only those that passed all checks are."
            " Deploy the old commit instead; its image is still there."
        )
    changes = {service: to for service, to in target["revisions"].items() if now.get(service, to) != to}
    shell.tell(f"To the deployment of {target['at']} UTC:")
    shell.tell("\n".join(f"  {service}: {now[service]} -> {to}" for service, to in changes.items()))
    shell.tell("The databases stay as they are: every migration suits the code before it as well, but not older code.")
    agree()
    deployments.write(known[: known.index(target) + 1])  # so that after a failure the next run goes on to the same one
    for service, revision in changes.items():
        deployments.send_to(service, revision)


def _before(now: Revisions, known: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the deployment before the one that serves now, which may be unknown because it failed
    its checks."""
    served = [number for number, one in enumerate(known) if _serves(one["revisions"], now)]
    earlier = known[: served[-1]] if served else known
    return next((one for one in reversed(earlier) if not _serves(one["revisions"], now)), None)


def _serves(revisions: Revisions, now: Revisions) -> bool:
    """Return whether the deployment serves now; services that only one of both has do not count."""
    return all(now[service] == revision for service, revision in revisions.items() if service in now)


def _most_traffic(service: Mapping[str, Any]) -> str:
    status = service["status"]
    traffic: Mapping[str, Any] = max(status.get("traffic", []), key=lambda one: one.get("percent", 0), default={})
    return str(traffic.get("revisionName") or status["latestReadyRevisionName"])
