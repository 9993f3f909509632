"""Take down what runs, or everything. The data survives, unless whoever asks types that it shall not."""

from scripts.local.deploy_shell import Shell, Stop
from scripts.local.deploy_terraform import Terraform, targets

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
    _confirm(shell, terraform.project, "take down all of this")
    terraform.apply(plan)
    shell.tell(
        f"\nTaken down. scripts/deploy {terraform.project} brings it back with its data;"
        f" scripts/deploy {terraform.project} --destroy --with-data deletes that too."
    )


def _kept(address: str) -> bool:
    return address.startswith(_KEPT)


def delete_project(shell: Shell, project: str) -> None:
    """The only way that leaves nothing behind, and the only one that can be taken back, for 30 days. Raises Stop."""
    shell.step("Everything will be deleted")
    shell.tell(
        f"The whole project {project} with all that is in it: orders, sign-ins, backups, and whatever else there is."
    )
    _confirm(shell, f"delete all data of {project}", "delete it")
    shell.do(
        ["gcloud", "projects", "delete", project, "--quiet"],
        "The project could not be deleted; gcloud's message above says why.",
    )
    shell.tell(f"\nDeleted. For 30 days it can be had back: gcloud projects undelete {project}")


def _confirm(shell: Shell, words: str, what: str) -> None:
    if shell.dry:
        shell.tell(f"(here it asks for the words `{words}`)")
        return
    if shell.answer(f"To {what}, type `{words}`: ") != words:
        raise Stop("Nothing was done.")
