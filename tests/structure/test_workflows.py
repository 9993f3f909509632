"""The GitHub workflows are well-formed, call existing scripts, and agree with the deployer's
rights."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.local.deploy_checks import RIGHTS
from shared.config.manifest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
TERRAFORM = ROOT / "terraform"


def steps(file: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(file.read_text())["jobs"].values()
    return [step for job in jobs for step in job.get("steps", [])]


def test_there_is_one_that_tests_one_that_deploys_and_one_for_the_night() -> None:
    assert [file.name for file in WORKFLOWS] == ["deploy.yaml", "simulate.yaml", "test.yaml"]


def test_workflows_match_githubs_schema() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*check, *WORKFLOWS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_and_scripts_are_there(file: Path) -> None:
    for step in steps(file):
        assert re.search(r"@[0-9a-f]{40}$", step["uses"]) if "uses" in step else step["run"]
        for script in re.findall(r"\bscripts/[\w-]+", step.get("run", "")):
            assert (ROOT / script).stat().st_mode & 0o111, script


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_every_pinned_action_says_its_release(file: Path) -> None:
    """A tag can be moved to other code, a commit cannot; the comment is for people, and for tools
    that renew it."""
    used = re.findall(r"uses: (.*)", file.read_text())
    assert len(used) > 3
    for one in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/test\.yaml", one), one


def test_pull_requests_get_no_token_of_googles() -> None:
    tested = yaml.safe_load((WORKFLOWS[2]).read_text())
    assert tested["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in tested["jobs"].values())


def test_a_deployment_is_tested_approved_and_alone() -> None:
    workflow = yaml.safe_load(WORKFLOWS[0].read_text())
    deploy = workflow["jobs"]["deploy"]
    assert "pull_request" not in workflow[True]  # YAML takes the key `on` for a truth
    assert deploy["needs"] == "test"
    assert workflow["jobs"]["test"]["uses"] == "./.github/workflows/test.yaml"
    assert deploy["environment"]
    assert deploy["concurrency"]["cancel-in-progress"] is False
    assert deploy["permissions"]["id-token"] == "write"


def test_nothing_that_others_write_gets_into_a_command() -> None:
    """An expression in `run` is pasted into the shell; a variable is not."""
    assert not [step for file in WORKFLOWS for step in steps(file) if "${{" in step.get("run", "")]


def listed(name: str) -> set[str]:
    text = (TERRAFORM / "github.tf").read_text()
    (found,) = re.findall(rf"{name} += (?:toset\()?\[(.*?)\]", text, re.DOTALL)
    return set(re.findall(r'"(roles/[\w.]+)"', found))


def test_the_deployer_has_the_roles_that_scripts_deploy_asks_of_a_person() -> None:
    assert listed("deployer_roles") == {*RIGHTS.values()} - {"roles/resourcemanager.projectIamAdmin"}


def test_the_deployer_may_grant_what_terraform_grants_on_the_project_and_nothing_else() -> None:
    granted = set()
    for file in TERRAFORM.glob("*.tf"):
        blocks = re.findall(r'resource "google_project_iam_member" .*?\n}\n', file.read_text(), re.DOTALL)
        if file.name != "github.tf":
            granted |= {role for block in blocks for role in re.findall(r'"(roles/[\w.]+)"', block)}
    assert listed("roles_it_may_grant") == granted
