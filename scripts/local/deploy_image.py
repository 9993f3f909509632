"""The one image that all functions run from, built by Google's buildpacks and named after what is in it."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.local.deploy_shell import ROOT, Shell, Stop

BUILDER = "gcr.io/buildpacks/builder:google-24"
SOURCES = ["functions", "shared", "scripts", "schema.graphql", "pyproject.toml", "requirements.txt"]
# The framework takes FUNCTION_SOURCE, FUNCTION_TARGET and PORT from each service's environment. The second file stands only
# in the copy: at the repository's root it would tell every developer's pyenv which Python to use.
ADDED = {"Procfile": "web: functions-framework\n", ".python-version": "3.13\n"}
_NO_DIGEST = "sha256:" + "0" * 64


def built(shell: Shell, where: Mapping[str, str]) -> str:
    """The image by its digest. What has been built of the same sources before is not built again. Raises Stop.

    `where`: what Terraform says of the registry, the bucket and the account that builds are done with.
    """
    repository = f"{where['artifact_registry']}/functions"
    tagged = f"{repository}:{tag()}"
    digest = _digest(shell, tagged)
    if digest and not shell.dry:
        shell.tell(f"  {tagged} is there; nothing to build")
    else:
        _build(shell, tagged, where)
        digest = _digest(shell, tagged)
    if not digest:
        raise Stop(f"{tagged} was built, but can't be found. Run this again.")
    return f"{repository}@{digest}"


def tag(root: Path = ROOT) -> str:
    """Of these sources, whether committed or not."""
    content = hashlib.sha256(repr((BUILDER, ADDED)).encode())
    for file in _files(root):
        content.update(f"{file.relative_to(root)}\0{file.stat().st_size}\0".encode())
        content.update(file.read_bytes())
    return f"content-{content.hexdigest()[:20]}"


def _files(root: Path) -> Iterator[Path]:
    for source in SOURCES:
        found = sorted((root / source).rglob("*")) if (root / source).is_dir() else [root / source]
        yield from (file for file in found if file.is_file() and not _made(file))


def _made(file: Path) -> bool:
    """By Python or npm, on this machine."""
    return bool({"__pycache__", "node_modules"} & {*file.parts})


def _digest(shell: Shell, tagged: str) -> str:
    """Empty when it is not there."""
    look = ["gcloud", "artifacts", "docker", "images", "describe", tagged, "--format=value(image_summary.digest)"]
    answer = shell.ask(look, _NO_DIGEST)
    return answer.text if answer.ok else ""


def _build(shell: Shell, tagged: str, where: Mapping[str, str]) -> None:
    account, bucket = where["build_service_account"], f"gs://{where['builds_bucket']}"
    with TemporaryDirectory(prefix="shop-image-") as copy:
        copy_sources(Path(copy))
        shell.do(
            [
                *["gcloud", "builds", "submit", copy, f"--pack=image={tagged},builder={BUILDER}"],
                *[f"--gcs-source-staging-dir={bucket}/source", f"--gcs-log-dir={bucket}/log"],
                # Nowhere in particular: in most regions new projects may not build.
                *[f"--service-account={account}", f"--project={account.split('/')[1]}", "--quiet"],
            ],
            "The build failed; what it printed says why. If it may not read or write something, its rights are new and"
            " take a minute to be known: run this again.",
        )


def copy_sources(target: Path, root: Path = ROOT) -> None:
    for file in _files(root):
        copy = target / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
    for name, text in ADDED.items():
        (target / name).write_text(text)
