"""Run Terraform: its state in the project's bucket, its plan in a file, and only changes that were
agreed to."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.local.deploy_shell import ROOT, Shell, Stop

FOLDER = ROOT / "terraform"
OVERRIDE = FOLDER / "erase_override.tf"
"""While this file exists, Terraform may delete data."""
_LOCKED = (
    "Terraform's message above says why. Its state has what it created so far: fix the cause and run this again. If the"
    " state is locked and no other deployment runs: terraform -chdir=terraform force-unlock ID"
)
Change = tuple[str, str]
"""The address of a resource and the action on it."""


@dataclass(frozen=True)
class Terraform:
    """`variables`: those of every plan; they override terraform/ENVIRONMENT.tfvars and
    terraform/PROJECT.tfvars."""

    shell: Shell
    project: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def init(self, bucket: str) -> None:
        if not self.shell.dry:
            OVERRIDE.unlink(missing_ok=True)  # left by an interrupted deletion
        self.shell.do(
            self._terraform("init", "-input=false", "-reconfigure", f"-backend-config=bucket={bucket}"),
            "Terraform could not be initialized; its message above says why.",
        )

    def outputs(self, examples: Mapping[str, str]) -> dict[str, str]:
        """Return the deployment's outputs, empty before the first one; in a dry run the
        examples."""
        answer = self.shell.ask(
            self._terraform("output", "-json"), json.dumps({name: {"value": value} for name, value in examples.items()})
        )
        if not answer.ok:
            raise Stop(f"Terraform cannot read its state: {answer.error}")
        return {name: one["value"] for name, one in answer.json.items() if isinstance(one["value"], str)}

    def plan(self, name: str, *options: str) -> Path:
        """Write a plan and return its file."""
        file = ROOT / ".dev" / "deploy" / f"{self.project}-{name}.tfplan"
        file.parent.mkdir(parents=True, exist_ok=True)
        plan = [*self._terraform("plan", "-input=false", "-lock-timeout=5m", f"-out={file}"), *options, *self._given()]
        self.shell.do(plan, _LOCKED)
        return file

    def take_over(self, address: str, id: str) -> None:
        """Import an existing resource into Terraform's state."""
        taken = self._terraform("import", "-input=false", "-lock-timeout=5m")
        self.shell.do([*taken, *self._given(), address, id], _LOCKED)

    def apply(self, plan: Path) -> None:
        try:
            self.shell.do(self._terraform("apply", "-input=false", "-lock-timeout=5m", str(plan)), _LOCKED)
        finally:
            plan.unlink(missing_ok=True)  # it contains the state, and cannot be applied twice

    def changes(self, plan: Path) -> set[Change]:
        answer = self.shell.ask(self._terraform("show", "-json", str(plan)))
        if not answer.ok:
            raise Stop(f"Terraform cannot read its plan: {answer.error}")
        return {(one["address"], did) for one in answer.json.get("resource_changes", []) if (did := _done(one))}

    def resources(self) -> list[str]:
        """Return the addresses of the existing resources, without the keys of `for_each`."""
        answer = self.shell.ask(self._terraform("state", "list"), "google_cloud_run_v2_service.function")
        if not answer.ok:
            raise Stop(f"Terraform cannot read its state: {answer.error}")
        found = [line.partition("[")[0] for line in answer.text.splitlines()]
        return [one for one in dict.fromkeys(found) if not one.startswith("data.")]

    def _given(self) -> list[str]:
        files = [tfvars(self.variables["environment"]), tfvars(self.project)]
        return [
            *(f"-var-file={file.name}" for file in files if file.exists()),
            *(f"-var={name}={value}" for name, value in self.variables.items()),
        ]

    def _terraform(self, *arguments: str) -> list[str]:
        return ["terraform", f"-chdir={FOLDER.relative_to(ROOT)}", *arguments]


def _done(one: Mapping[str, Any]) -> str:
    """Return the actions on the resource; empty when there is none."""
    return "" if one["change"]["actions"] in (["no-op"], ["read"]) else " and ".join(one["change"]["actions"])


def targets(addresses: Iterable[str]) -> Sequence[str]:
    return [f"-target={address}" for address in addresses]


def tfvars(name: str) -> Path:
    """Return the settings file of an environment or a project."""
    return FOLDER / f"{name}.tfvars"


def value_in(file: Path, variable: str) -> str | None:
    """Return a variable's text in a tfvars file, or None when the file does not set it."""
    found = re.search(rf'^\s*{variable}\s*=\s*"([^"]*)"', file.read_text(), re.MULTILINE) if file.exists() else None
    return found[1] if found else None
