"""Delete everything that runs, or everything including the data, after the user has typed the words
for it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from scripts.local.deploy_shell import Shell, Stop
from scripts.local.deploy_terraform import OVERRIDE, Terraform, targets

# The data, and the resources that hold or own it: service accounts own tables, Identity Platform
# holds the users. Also resources whose names Google reserves for 30 days after they were deleted.
_KEPT = (
    "google_sql_",
    "google_firestore_",
    "google_firebase",
    "google_identity_platform_",
    "google_kms_",
    "google_secret_manager_secret.",
    "google_storage_bucket.",
    "google_compute_",
    "google_service_networking_",
    "google_project_service",
    "google_service_account.",
    "google_apikeys_key.",
    "google_iam_workload_identity_pool",
)
POSTGRES, NETWORK = "google_sql_database_instance.postgres", "google_compute_network.shop"
_PROTECTED = [POSTGRES, "google_firestore_database.read_models", "google_kms_crypto_key.persons"]
_PEERING = "servicenetworking-googleapis-com"


def take_down(shell: Shell, terraform: Terraform) -> None:
    """Delete everything that runs; the data stays. Raise Stop, with nothing done, without a
    confirmation."""
    shell.step("What will be deleted")
    running = [address for address in terraform.resources() if not _kept(address)]
    if not running:
        shell.tell("Nothing runs there.")
        return
    plan = terraform.plan("destroy", "-destroy", *targets(running))
    lost = [address for address, did in terraform.changes(plan) if "delete" in did and _kept(address)]
    if lost:
        raise Stop(f"Nothing was done, because the data would be deleted too: {', '.join(sorted(lost))}")
    shell.tell("\nThe databases, the read models and the users stay, and still cost money.")
    shell.tell("Undelivered messages are lost; a read model catches up with the next event of its stream.")
    _confirm(shell, terraform.project, "delete all of this")
    terraform.apply(plan)
    shell.tell(
        f"\nDeleted. scripts/deploy {terraform.project} brings it back with its data;"
        f" scripts/deploy {terraform.project} --destroy --with-data deletes that too."
    )


def _kept(address: str) -> bool:
    return address.startswith(_KEPT)


def erase(shell: Shell, terraform: Terraform) -> None:
    """Delete everything that Terraform has created, with data and backups. Raise Stop without a
    confirmation."""
    shell.step("Everything will be deleted")
    existing = terraform.resources()
    shell.tell(f"{len(existing)} kinds of resources in {terraform.project}: orders, read models, sign-ins, backups.")
    shell.tell("They cannot be restored.")
    _confirm(shell, f"delete all data of {terraform.project}", "delete it")
    terraform = replace(terraform, variables={**terraform.variables, "deletion_protection": "false"})
    protected = [one for one in _PROTECTED if one in existing or shell.dry]  # a plan would create missing ones again
    with _last_lock_off(shell):
        if protected:
            terraform.apply(terraform.plan("unlock", *targets(protected)))
        if POSTGRES in existing or shell.dry:  # first, because the peering serves it
            terraform.apply(terraform.plan("destroy", "-destroy", *targets([POSTGRES])))
        if NETWORK in existing or shell.dry:
            _remove_peering(shell, terraform.project)
        terraform.apply(terraform.plan("destroy", "-destroy"))
    shell.tell(
        f"\nDeleted. {terraform.project} still has the bucket with Terraform's state. Google reserves some names for"
    )
    shell.tell(f'a while: to deploy here again soon, set `suffix = "2"` in terraform/{terraform.project}.tfvars.')


def _remove_peering(shell: Shell, project: str) -> None:
    """Remove the peering with PostgreSQL's network from our side. Google's own side keeps it for
    days after the last database was deleted, so Terraform cannot delete it, and a network with a
    peering cannot be deleted. Raise Stop."""
    peerings = ["gcloud", "compute", "networks", "peerings"]
    where = ["--network=shop", f"--project={project}"]
    listed = shell.ask([*peerings, "list", *where, "--flatten=peerings", "--format=value(peerings.name)"], _PEERING)
    if not listed.ok:
        raise Stop(f"The peerings of the network cannot be listed: {listed.error}\nRun this again.")
    if _PEERING in listed.text.split():
        shell.do(
            [*peerings, "delete", _PEERING, *where, "--quiet"],
            "The peering could not be removed; gcloud's message above says why. Run this again.",
        )


@contextmanager
def _last_lock_off(shell: Shell) -> Iterator[None]:
    shell.tell(f"$ cp {OVERRIDE}.example {OVERRIDE}")
    if not shell.dry:
        shutil.copyfile(f"{OVERRIDE}.example", OVERRIDE)
    try:
        yield
    finally:
        shell.tell(f"$ rm {OVERRIDE}")
        OVERRIDE.unlink(missing_ok=True)


def _confirm(shell: Shell, words: str, what: str) -> None:
    if shell.dry:
        shell.tell(f"(here it asks for the words `{words}`)")
        return
    if shell.answer(f"To {what}, type `{words}`: ") != words:
        raise Stop("Nothing was done.")
