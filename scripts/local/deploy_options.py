"""Read a deployment's options: the command line, terraform/PROJECT_ID.tfvars and the present
deployment."""

import argparse
import re
from collections.abc import Callable, Mapping

from scripts.local.deploy_shell import Stop
from scripts.local.deploy_terraform import tfvars, value_in

_ABOUT = """Deploy the whole system to a Google Cloud project, or update it there.
Safe to run again after any failure.

Other settings (alert_email, monthly_budget, github_repository, ...; terraform/variables.tf lists them all) go into
terraform/PROJECT_ID.tfvars."""
DEFAULTS = {"region": "asia-northeast1", "environment": "staging"}
_SHAPES = {
    "project": (
        r"[a-z][a-z0-9-]{4,28}[a-z0-9]",
        "a project's id, for example my-shop-123; `gcloud projects list` shows them",
    ),
    "region": (r"[a-z]+-[a-z]+[0-9]{1,2}", "a region, for example europe-west1; `gcloud run regions list` shows them"),
    "admin_email": (r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address"),
    "state_bucket": (r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", "the name of a bucket, without gs://"),
}


def options(arguments: list[str]) -> argparse.Namespace:
    """Return the command line's options. Exit with a message when they are invalid."""
    parser = argparse.ArgumentParser(
        prog="scripts/deploy", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("project", metavar="PROJECT_ID", type=_shaped("project"))
    parser.add_argument(
        "--region",
        type=_shaped("region"),
        help=f"for everything, permanently ({DEFAULTS['region']})",
    )
    parser.add_argument("--admin-email", type=_shaped("admin_email"), help="the shop's admin, who is created (you)")
    parser.add_argument(
        "--environment", choices=["staging", "prod"], help=f"the sizes to use ({DEFAULTS['environment']})"
    )
    parser.add_argument(
        "--state-bucket",
        type=_shaped("state_bucket"),
        help="(PROJECT_ID-terraform-state)",
    )
    parser.add_argument("--yes", action="store_true", help="don't ask before changing things")
    parser.add_argument(
        "--smoke",
        action=argparse.BooleanOptionalAction,
        help="place an order at the end (default: yes, except in prod)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the commands, in order; needs nothing")
    parser.add_argument(
        "--rollback",
        action="store_true",
        help="send the traffic back to the code of the deployment before, in a minute",
    )
    parser.add_argument("--destroy", action="store_true", help="delete everything that runs; the data stays")
    parser.add_argument("--with-data", action="store_true", help="with --destroy: also delete the data and its backups")
    chosen = parser.parse_args(arguments)
    if chosen.with_data and not chosen.destroy:
        parser.error("--with-data needs --destroy")
    if chosen.rollback and chosen.destroy:
        parser.error("--rollback and --destroy exclude each other")
    return chosen


def _shaped(name: str) -> Callable[[str], str]:
    pattern, meaning = _SHAPES[name]

    def checked(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"{text!r} is not {meaning}")
        return text

    return checked


def region(chosen: argparse.Namespace) -> str:
    """Return the region, before the present deployment is known."""
    return chosen.region or value_in(tfvars(chosen.project), "region") or DEFAULTS["region"]


def bucket(chosen: argparse.Namespace) -> str:
    return chosen.state_bucket or f"{chosen.project}-terraform-state"


def variables(chosen: argparse.Namespace, account: str, deployed: Mapping[str, str]) -> dict[str, str]:
    """Return each variable from the first of: command line, project's file, deployment, default.
    Raise Stop."""
    file = tfvars(chosen.project)
    person = {} if account.endswith("gserviceaccount.com") else {"admin_email": account}
    values = {"project_id": chosen.project}
    deployed_region = _region_of(deployed)
    deployed = {**deployed, "region": deployed_region}
    for name in ("region", "environment", "admin_email"):
        sources = (getattr(chosen, name), value_in(file, name), deployed.get(name), {**DEFAULTS, **person}.get(name))
        values[name] = next((value for value in sources if value), "")
    if not values["admin_email"]:
        raise Stop("The shop needs an admin: pass --admin-email E")
    if deployed_region and deployed_region != values["region"]:
        raise Stop(
            f"{chosen.project} has its shop in {deployed_region}, and data cannot be moved to {values['region']}."
            " Omit --region, or use another project."
        )
    return values


def _region_of(deployed: Mapping[str, str]) -> str:
    """Return the deployment's region, from its images if it was not finished; empty without a
    deployment."""
    return deployed.get("region") or deployed.get("artifact_registry", "").partition("-docker.pkg.dev")[0]
