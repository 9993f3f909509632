"""What a deployment is told: on the command line, in terraform/PROJECT_ID.tfvars, and by what is deployed already."""

import argparse
import re
from collections.abc import Callable, Mapping

from scripts.local.deploy_shell import Stop
from scripts.local.deploy_terraform import said_in, tfvars

_ABOUT = """Put the whole system into a Google Cloud project, or bring it up to date there.
Safe to run again after any failure.

What a project wants otherwise than by default (alert_email, monthly_budget, github_repository, ...; terraform/variables.tf
has them all) it says in terraform/PROJECT_ID.tfvars."""
_DEFAULTS = {"region": "asia-northeast1", "environment": "staging"}
_SHAPES = {
    "project": (
        r"[a-z][a-z0-9-]{4,28}[a-z0-9]",
        "a project's id, such as my-shop-123; `gcloud projects list` has them",
    ),
    "region": (r"[a-z]+-[a-z]+[0-9]{1,2}", "one region, such as europe-west1; `gcloud run regions list` has them"),
    "admin_email": (r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address"),
    "state_bucket": (r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", "the name of a bucket, without gs://"),
}


def options(arguments: list[str]) -> argparse.Namespace:
    """Ends the program, with what is wrong, when they make no sense."""
    parser = argparse.ArgumentParser(
        prog="scripts/deploy", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", metavar="PROJECT_ID", type=_shaped("project"))
    parser.add_argument("--region", type=_shaped("region"), help=f"of everything, for ever ({_DEFAULTS['region']})")
    parser.add_argument("--admin-email", type=_shaped("admin_email"), help="who is admin of the shop (you)")
    parser.add_argument("--environment", choices=["staging", "prod"], help=f"({_DEFAULTS['environment']})")
    parser.add_argument("--state-bucket", type=_shaped("state_bucket"), help="(PROJECT_ID-terraform-state)")
    parser.add_argument("--yes", action="store_true", help="don't ask before changing things")
    parser.add_argument(
        "--smoke", action=argparse.BooleanOptionalAction, help="place an order at the end (yes, but not in prod)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the commands, in order; needs nothing")
    parser.add_argument("--destroy", action="store_true", help="take down all that runs; the data stays")
    parser.add_argument("--with-data", action="store_true", help="with --destroy: the data and its backups, too")
    chosen = parser.parse_args(arguments)
    if chosen.with_data and not chosen.destroy:
        parser.error("--with-data goes with --destroy")
    return chosen


def _shaped(name: str) -> Callable[[str], str]:
    pattern, meaning = _SHAPES[name]

    def checked(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"{text!r} is not {meaning}")
        return text

    return checked


def region(chosen: argparse.Namespace) -> str:
    """Before anything is known of what is deployed."""
    return chosen.region or said_in(tfvars(chosen.project), "region") or _DEFAULTS["region"]


def bucket(chosen: argparse.Namespace) -> str:
    return chosen.state_bucket or f"{chosen.project}-terraform-state"


def variables(chosen: argparse.Namespace, account: str, deployed: Mapping[str, str]) -> dict[str, str]:
    """From the command line; else from the project's file; else as it is deployed; else by default. Raises Stop."""
    file = tfvars(chosen.project)
    person = {} if account.endswith("gserviceaccount.com") else {"admin_email": account}
    found = {"project_id": chosen.project}
    there = _region_of(deployed)
    deployed = {**deployed, "region": there}
    for name in ("region", "environment", "admin_email"):
        sources = (getattr(chosen, name), said_in(file, name), deployed.get(name), {**_DEFAULTS, **person}.get(name))
        found[name] = next((value for value in sources if value), "")
    if not found["admin_email"]:
        raise Stop("Say who shall be admin of the shop: --admin-email E")
    if there and there != found["region"]:
        raise Stop(
            f"{chosen.project} has its shop in {there}, and data can't be moved to {found['region']}."
            " Leave --region out, or take another project."
        )
    return found


def _region_of(deployed: Mapping[str, str]) -> str:
    """Where an unfinished first deployment has put at least its images. Empty when nothing is there."""
    return deployed.get("region") or deployed.get("artifact_registry", "").partition("-docker.pkg.dev")[0]
