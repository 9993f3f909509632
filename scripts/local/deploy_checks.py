"""Check what a deployment needs before anything is changed: tools, sign-in, project, billing,
rights."""

import json
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator

from scripts.local.deploy_shell import Shell, Stop

_TOOLS = {
    "gcloud": "https://cloud.google.com/sdk/docs/install, or use Cloud Shell, which has all three",
    "terraform": "https://developer.hashicorp.com/terraform/install, 1.9 or newer",
    "npm": "https://nodejs.org, version 20 or newer",
}
_OLDEST = (1, 9)

# For each kind of resource, one right to create it and the smallest predefined role that has the
# right.
RIGHTS = {
    "serviceusage.services.enable": "roles/serviceusage.serviceUsageAdmin",
    "storage.buckets.create": "roles/storage.admin",
    "resourcemanager.projects.setIamPolicy": "roles/resourcemanager.projectIamAdmin",
    "iam.serviceAccounts.create": "roles/iam.serviceAccountAdmin",
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser",
    "artifactregistry.repositories.create": "roles/artifactregistry.admin",
    "cloudbuild.builds.create": "roles/cloudbuild.builds.editor",
    "run.services.create": "roles/run.admin",
    "run.jobs.run": "roles/run.admin",
    "pubsub.topics.create": "roles/pubsub.admin",
    "cloudsql.instances.create": "roles/cloudsql.admin",
    "datastore.databases.create": "roles/datastore.owner",
    "compute.networks.create": "roles/compute.networkAdmin",
    "dns.managedZones.create": "roles/dns.admin",
    "cloudscheduler.jobs.create": "roles/cloudscheduler.admin",
    "secretmanager.secrets.create": "roles/secretmanager.admin",
    "monitoring.alertPolicies.create": "roles/monitoring.admin",
    "logging.logMetrics.create": "roles/logging.configWriter",
    "logging.logEntries.list": "roles/logging.viewer",
    "firebaseauth.configs.create": "roles/identityplatform.admin",
    "firebaseauth.users.create": "roles/identityplatform.admin",
    "serviceusage.apiKeys.create": "roles/serviceusage.apiKeysAdmin",
    "firebaserules.releases.create": "roles/firebaserules.admin",
}


def check(shell: Shell, project: str) -> str:
    """Return the account that deploys. Raise Stop with everything that is missing; a dry run prints
    it and continues."""
    shell.step("What is needed")
    _stop(shell, [*_missing_tools(shell)])
    _stop(shell, [*_not_signed_in(shell)])
    account = shell.ask(["gcloud", "config", "get", "account"], "you@example.com").text
    _stop(shell, [*_of_project(shell, project)])
    _stop(shell, [*_rights_not_held(shell, project, account)])
    return account


def _stop(shell: Shell, problems: list[str]) -> None:
    if problems and shell.dry:
        shell.tell("\n".join(f"  missing here: {problem}" for problem in problems))
    elif problems:
        raise Stop("\n".join(problems))


def _missing_tools(shell: Shell) -> Iterator[str]:
    for tool, where in _TOOLS.items():
        if not shutil.which(tool):
            yield f"{tool} is not installed. Get it from {where}."
    answer = shell.ask(["terraform", "version", "-json"], offline=True) if shutil.which("terraform") else None
    found = re.search(r'"terraform_version": *"(\d+)\.(\d+)', answer.text) if answer else None
    if found and (int(found[1]), int(found[2])) < _OLDEST:
        yield f"terraform is {found[1]}.{found[2]}, and 1.9 is needed. Get it from {_TOOLS['terraform']}."


def _not_signed_in(shell: Shell) -> Iterator[str]:
    if not shell.ask(["gcloud", "auth", "print-access-token", "--quiet"]).ok:
        yield "gcloud is not signed in. Run: gcloud auth login"
    if not shell.ask(["gcloud", "auth", "application-default", "print-access-token", "--quiet"]).ok:
        yield "Terraform has no credentials. Run: gcloud auth application-default login"


def _of_project(shell: Shell, project: str) -> Iterator[str]:
    found = shell.ask(
        ["gcloud", "projects", "describe", project, "--format=value(lifecycleState)"],
        "ACTIVE",
    )
    if not found.ok:
        yield (
            f"The project {project} is missing, or not visible to you. Create it with: gcloud projects create {project}\n"
            f"or have its owner run: gcloud projects add-iam-policy-binding {project} --member=user:YOU --role=roles/owner\n"
            f"gcloud said: {found.error}"
        )
        return
    if found.text != "ACTIVE":
        yield f"The project {project} is being deleted. Restore it with: gcloud projects undelete {project}"
        return
    paid = shell.ask(["gcloud", "billing", "projects", "describe", project, "--format=value(billingEnabled)"], "True")
    if paid.ok and paid.text != "True":
        yield (
            f"{project} has no billing account. List the accounts with: gcloud billing accounts list\n"
            f"and run: gcloud billing projects link {project} --billing-account=ACCOUNT"
        )
    if not paid.ok:
        shell.tell(f"  Could not check whether {project} has billing; without it, enabling the APIs will fail.")


def _rights_not_held(shell: Shell, project: str, account: str) -> Iterator[str]:
    held = _rights_held(shell, project)
    missing = [right for right in RIGHTS if held is not None and right not in held]
    if missing:
        kind = "serviceAccount" if account.endswith("gserviceaccount.com") else "user"
        yield f"{account} may not do in {project}: {', '.join(missing)}.\nHave an owner of the project run:"
        for role in dict.fromkeys(RIGHTS[right] for right in missing):
            yield f"  gcloud projects add-iam-policy-binding {project} --member={kind}:{account} --role={role}"


def _rights_held(shell: Shell, project: str) -> set[str] | None:
    """Return the rights that the caller has, or None when Google does not answer; later steps then
    fail instead."""
    api = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER")
    url = f"{api or 'https://cloudresourcemanager.googleapis.com/'}v1/projects/{project}:testIamPermissions"
    shell.tell(
        f"$ curl --request POST --oauth2-bearer TOKEN {url} --data '{{\"permissions\": [{len(RIGHTS)} of them]}}'"
    )
    if shell.dry:
        return None
    token = shell.ask(["gcloud", "auth", "print-access-token", "--quiet"]).text
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps({"permissions": [*RIGHTS]}).encode()
    try:
        asked = urllib.request.Request(url, body, headers)  # noqa: S310 - Google's address, or gcloud's override
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
            return set(json.load(answer).get("permissions", []))
    except (urllib.error.URLError, OSError, ValueError) as error:
        shell.tell(f"  Could not check your rights ({error}); a step that lacks one will fail.")
        return None
