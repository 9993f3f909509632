"""Deploy the whole system to a Google Cloud project, step by step; each step finds what an earlier
run has done."""

import argparse
import os
import sys
from collections.abc import Mapping, Set
from dataclasses import replace

from scripts.local.deploy_admin import create_admin
from scripts.local.deploy_adopt import adopt_sign_in
from scripts.local.deploy_checks import check
from scripts.local.deploy_destroy import erase, take_down
from scripts.local.deploy_health import require_all_ready, require_newest, wait_until_ready
from scripts.local.deploy_image import built
from scripts.local.deploy_options import bucket, options, region, variables
from scripts.local.deploy_rollback import Deployments, roll_back
from scripts.local.deploy_shell import Shell, Stop
from scripts.local.deploy_terraform import Change, Terraform, targets

# The APIs that Terraform itself needs; Terraform enables the others.
_APIS = ["cloudresourcemanager", "serviceusage", "storage", "iam"]
FOR_THE_BUILD = [
    "google_artifact_registry_repository_iam_member.build_pushes",
    "google_storage_bucket_iam_member.build_reads_and_logs",
    "google_storage_bucket_iam_member.build_sees_its_bucket",
]
# The rest takes Google some minutes to propagate, which passes while PostgreSQL is created.
FOR_THE_MIGRATION = [
    "google_cloud_run_v2_job.migrate",
    "google_apikeys_key.web",
    "google_service_account_iam_member.smoke_signs",
]


def main(arguments: list[str]) -> int:
    chosen = options(arguments)
    shell = Shell(chosen.dry_run)
    try:
        account = check(shell, chosen.project)
        if chosen.destroy:
            (erase if chosen.with_data else take_down)(shell, _terraform(shell, chosen, account))
        elif chosen.rollback:
            _roll_back(shell, chosen, _terraform(shell, chosen, account))
        else:
            _prepare(shell, chosen)
            deploy(shell, chosen, _terraform(shell, chosen, account), account)
        shell.tell("\nThis was a dry run: nothing was done." if shell.dry else "")
    except Stop as stop:
        print(f"\n{stop}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Finished steps stay done; run this again to continue.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # for example with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def deploy(shell: Shell, chosen: argparse.Namespace, terraform: Terraform, account: str) -> None:
    """Carry out every step as `account`. Raise Stop at the first that fails."""
    shell.step("What the build needs")
    shell.until_known(lambda: terraform.apply(terraform.plan("build", *targets(FOR_THE_BUILD))))
    shell.step("The image")
    where = terraform.outputs(_example_outputs(terraform.variables))
    image = built(shell, where)
    terraform = replace(terraform, variables={**terraform.variables, "image": image})
    adopt_sign_in(shell, terraform)
    shell.step("What will change")
    agreed = shell.until_known(lambda: terraform.changes(terraform.plan("everything")))
    _agree(shell, chosen, bool(agreed) or shell.dry)
    shell.step("The databases, before any new code serves")
    _apply(chosen, terraform, agreed, FOR_THE_MIGRATION)
    _run_job(terraform, "shop-migrate", "The migration failed, and no new code serves yet.")
    shell.step("Everything else")
    _apply(chosen, terraform, agreed, [])
    shell.step("The admin")
    is_person = not account.endswith("gserviceaccount.com")  # a workflow's log may be public
    create_admin(shell, terraform.project, terraform.variables["admin_email"], show_link=is_person)
    _finish(shell, chosen, terraform)


def _prepare(shell: Shell, chosen: argparse.Namespace) -> None:
    """Create what Terraform needs to start: the bucket for its state, and the APIs to enable the
    others."""
    shell.step("A bucket for Terraform's state")
    url, project = f"gs://{bucket(chosen)}", f"--project={chosen.project}"
    shell.do(
        ["gcloud", "services", "enable", *(f"{name}.googleapis.com" for name in _APIS), project],
        "The APIs could not be enabled; gcloud's message above says why.",
    )
    if not _has_bucket(shell, chosen) or shell.dry:
        private = [f"--location={region(chosen)}", "--uniform-bucket-level-access", "--public-access-prevention"]
        shell.do(
            ["gcloud", "storage", "buckets", "create", url, project, *private],
            f"{url} could not be created. If another project has a bucket of that name, choose another: --state-bucket",
        )
    shell.do(
        ["gcloud", "storage", "buckets", "update", url, project, "--versioning"],
        f"Versioning could not be turned on for {url}; gcloud's message above says why.",
    )


def _has_bucket(shell: Shell, chosen: argparse.Namespace) -> bool:
    """Return whether this project has the bucket: one of another project would expose the state.
    Raise Stop."""
    name = bucket(chosen)
    look = ["gcloud", "storage", "buckets", "list", f"--project={chosen.project}", f"--filter=name={name}"]
    listed = shell.ask([*look, "--format=value(name)"], name)
    if not listed.ok:
        raise Stop(f"The buckets of {chosen.project} cannot be listed: {listed.error}")
    return listed.text == name


def _terraform(shell: Shell, chosen: argparse.Namespace, account: str) -> Terraform:
    """Return Terraform, initialized, with the variables of the present deployment. Raise Stop."""
    shell.step("What is deployed")
    if not _has_bucket(shell, chosen):
        raise Stop(f"There is no shop in {chosen.project}: it has no bucket {bucket(chosen)} with Terraform's state.")
    terraform = Terraform(shell, chosen.project)
    terraform.init(bucket(chosen))
    return replace(terraform, variables=variables(chosen, account, terraform.outputs({})))


def _example_outputs(variables: Mapping[str, str]) -> dict[str, str]:
    """Return examples of Terraform's outputs, for a dry run."""
    project, region = variables["project_id"], variables["region"]
    return {
        "artifact_registry": f"{region}-docker.pkg.dev/{project}/shop",
        "builds_bucket": f"{project}-shop-builds",
        "build_service_account": f"projects/{project}/serviceAccounts/shop-build@{project}.iam.gserviceaccount.com",
        "graphql_url": f"https://shop-graphql-NUMBER.{region}.run.app",
        "dashboard_url": f"https://console.cloud.google.com/monitoring/dashboards?project={project}",
    }


def _apply(chosen: argparse.Namespace, terraform: Terraform, agreed: Set[Change], only: list[str]) -> None:
    """Plan again and apply a part of the agreed changes: an earlier part may have changed the
    rest."""

    def plan_and_apply() -> None:
        plan = terraform.plan("part", *targets(only))
        if more := terraform.changes(plan) - agreed:
            terraform.shell.tell("More would change now than you have agreed to:")
            terraform.shell.tell("\n".join(f"  {address}: {did}" for address, did in sorted(more)))
            _agree(terraform.shell, chosen, True)
        terraform.apply(plan)

    terraform.shell.until_known(plan_and_apply)


def _agree(shell: Shell, chosen: argparse.Namespace, needed: bool) -> None:
    if not needed:
        shell.tell("Nothing differs from what is deployed.")
    elif shell.dry:
        shell.tell("(here it asks, unless you pass --yes)")
    elif not chosen.yes and shell.answer("Do this? Only `yes` is accepted: ") != "yes":
        raise Stop("You did not agree, so nothing was changed.")


def _run_job(terraform: Terraform, job: str, failed: str) -> None:
    where = [f"--region={terraform.variables['region']}", f"--project={terraform.project}"]
    log = f'resource.type="cloud_run_job" resource.labels.job_name="{job}"'
    otherwise = f"{failed} Its log: gcloud logging read '{log}' --project={terraform.project} --limit=30"
    command = ["gcloud", "run", "jobs", "execute", job, "--wait", *where, "--quiet"]
    terraform.shell.until_known(lambda: terraform.shell.do(command, f"{otherwise}\nFix the cause and run this again."))


def _deployments(shell: Shell, chosen: argparse.Namespace, terraform: Terraform) -> Deployments:
    return Deployments(shell, terraform.project, terraform.variables["region"], bucket(chosen))


def _roll_back(shell: Shell, chosen: argparse.Namespace, terraform: Terraform) -> None:
    """Send the traffic back to the revisions of the deployment before, and ask whether they are
    ready. Raise Stop."""
    roll_back(_deployments(shell, chosen, terraform), lambda: _agree(shell, chosen, True))
    wait_until_ready(shell, terraform.outputs(_example_outputs(terraform.variables))["graphql_url"])
    require_all_ready(shell, terraform.project, terraform.variables["region"])
    shell.tell("Rolled back. The next deployment sends the traffic to its own code.")


def _finish(shell: Shell, chosen: argparse.Namespace, terraform: Terraform) -> None:
    shell.step("Does it work?")
    found = terraform.outputs(_example_outputs(terraform.variables))
    require_newest(shell, terraform.project, terraform.variables["region"])
    wait_until_ready(shell, found["graphql_url"])
    require_all_ready(shell, terraform.project, terraform.variables["region"])
    if chosen.smoke or (chosen.smoke is None and terraform.variables["environment"] != "prod"):
        _run_job(terraform, "shop-smoke", "Everything is deployed, but an order is not confirmed.")
    else:
        shell.tell("  No order was placed; --smoke places one, which stays in the shop's history.")
    _deployments(shell, chosen, terraform).remember()
    shell.step("Done")
    shell.tell(f"GraphQL:   {found['graphql_url']}/graphql")
    shell.tell(f"Admin:     {terraform.variables['admin_email']}")
    shell.tell(f"Dashboard: {found['dashboard_url']}")
    shell.tell(f"Logs:      https://console.cloud.google.com/logs/query?project={chosen.project}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
