"""Import resources that a project can have only once and never loses, when they exist already."""

import os
import urllib.error
import urllib.request

from scripts.local.deploy_shell import Shell
from scripts.local.deploy_terraform import Terraform

SIGN_IN = "google_identity_platform_config.sign_in"


def adopt_sign_in(shell: Shell, terraform: Terraform) -> None:
    """Import Identity Platform: it survives every deletion, and projects that used Firebase Authentication have it."""
    if SIGN_IN not in terraform.resources() and _is_there(shell, terraform.project):
        terraform.take_over(SIGN_IN, terraform.project)


def _is_there(shell: Shell, project: str) -> bool:
    api = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_IDENTITYTOOLKIT", "https://identitytoolkit.googleapis.com/")
    url = f"{api}v2/projects/{project}/config"
    shell.tell(f"$ curl --fail --oauth2-bearer TOKEN --header 'X-Goog-User-Project: {project}' {url}")
    if shell.dry:
        shell.tell("  (if it answers, sign-in is set up already, and `terraform import` takes it over)")
        return False
    token = shell.ask(["gcloud", "auth", "print-access-token", "--quiet"]).text
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}", "X-Goog-User-Project": project})  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=30):  # noqa: S310 - Google's address, or a test's
            return True
    except urllib.error.HTTPError:  # not set up, or its API is not even enabled
        return False
    except OSError as error:
        shell.tell(f"  Could not check whether sign-in is set up ({error}); Terraform will fail if it is.")
        return False
