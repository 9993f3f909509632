"""Take down what runs, or everything. The data survives, unless whoever asks types that it shall not."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from scripts.local.deploy_shell import Shell, Stop
from scripts.local.deploy_terraform import OVERRIDE, Terraform, targets

# Data, and what it lies in or belongs to: service accounts own tables, whoever signed up is Identity Platform's. And what
# can't be made again under its name for 30 days after it was deleted.
_KEPT = (
    "google_sql_",
    "google_firestore_",
    "google_firebase",
    "google_identity_platform_",
    "google_secret_manager_secret.",
    "google_storage_bucket.",
    "google_compute_",
    "google_service_networking_",
    "google_project_service",
    "google_service_account.",
    "google_apikeys_key.",
    "google_iam_workload_identity_pool",
)
_PROTECTED = ["google_sql_database_instance.postgres", "google_firestore_database.read_models"]


def take_down(shell: Shell, terraform: Terraform) -> None:
    """Raises Stop, with nothing done, when whoever asks does not confirm it."""
    shell.step("What will be taken down")
    running = [address for address in terraform.resources() if not _kept(address)]
    if not running:
        shell.tell("Nothing runs there.")
        return
    plan = terraform.plan("destroy", "-destroy", *targets(running))
    lost = [address for address, did in terraform.changes(plan) if "delete" in did and _kept(address)]
    if lost:
        raise Stop(f"Nothing was done, because the data would go too: {', '.join(sorted(lost))}")
    shell.tell("\nThe databases, the read models, and who may sign in stay, and cost what they cost.")
    shell.tell("Messages on their way go; what a read model misses, its stream's next event brings.")
    _confirm(shell, terraform.project, "take down all of this")
    terraform.apply(plan)
    shell.tell(
        f"\nTaken down. scripts/deploy {terraform.project} brings it back with its data;"
        f" scripts/deploy {terraform.project} --destroy --with-data deletes that too."
    )


def _kept(address: str) -> bool:
    return address.startswith(_KEPT)


def erase(shell: Shell, terraform: Terraform) -> None:
    """All that Terraform has made, data and backups too. Raises Stop, with nothing done, when it is not confirmed."""
    shell.step("Everything will be erased")
    there = terraform.resources()
    shell.tell(f"{len(there)} kinds of things in {terraform.project}: orders, read models, sign-ins, backups.")
    shell.tell("Nothing brings them back.")
    _confirm(shell, f"delete all data of {terraform.project}", "erase it")
    terraform = replace(terraform, variables={**terraform.variables, "deletion_protection": "false"})
    protected = [one for one in _PROTECTED if one in there or shell.dry]  # what is gone would be made anew
    with _last_lock_off(shell):
        if protected:
            terraform.apply(terraform.plan("unlock", *targets(protected)))
        terraform.apply(terraform.plan("destroy", "-destroy"))
    shell.tell(
        f"\nErased. What is left in {terraform.project} is the bucket with Terraform's state. Google keeps some names for"
    )
    shell.tell(f'a while: to deploy here again soon, say `suffix = "2"` in terraform/{terraform.project}.tfvars.')


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
