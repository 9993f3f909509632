"""Import resources that a project can have only once and never loses, when they exist already."""

import urllib.error

from scripts.local.deploy_admin import ask_identity_platform
from scripts.local.deploy_shell import Shell
from scripts.local.deploy_terraform import Terraform

SIGN_IN = "google_identity_platform_config.sign_in"


def adopt_sign_in(shell: Shell, terraform: Terraform) -> None:
    """Import Identity Platform: it survives every deletion, and projects that used Firebase
    Authentication have it."""
    if SIGN_IN not in terraform.resources() and _is_there(shell, terraform.project):
        terraform.take_over(SIGN_IN, terraform.project)


def _is_there(shell: Shell, project: str) -> bool:
    try:
        config = ask_identity_platform(shell, project, "config")
    except urllib.error.HTTPError:  # not set up, or its API is not even enabled
        return False
    except (OSError, ValueError) as error:
        shell.tell(f"  Could not check whether sign-in is set up ({error}); Terraform will fail if it is.")
        return False
    if shell.dry:
        shell.tell("  (if it answers, sign-in is set up already, and `terraform import` takes it over)")
    return bool(config)
