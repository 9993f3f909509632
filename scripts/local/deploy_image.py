"""Build the one image that all functions run, with Google's buildpacks; its tag is a hash of its
sources."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from scripts.local.deploy_shell import ROOT, Shell, Stop

BUILDER = "gcr.io/buildpacks/builder:google-24"
CONSOLE = Path("functions") / "graphql" / "console"
SOURCES = [
    *["functions", "shared", "scripts", "schema.graphql"],
    *["pyproject.toml", "requirements.txt", ".python-version"],
]
# The framework takes FUNCTION_SOURCE, FUNCTION_TARGET and PORT from each service's environment. The
# second file adds a last step to the build: Google's buildpacks compile the packages only, so each
# cold start would compile our own code. Times of files don't survive in an image, so the bytecode
# is taken unchecked.
BYTECODE = "python3 -m compileall -q --invalidation-mode unchecked-hash functions shared scripts"
ADDED = {
    "Procfile": "web: functions-framework\n",
    "project.toml": f"""\
[_]
schema-version = "0.2"

[[io.buildpacks.post.group]]
id = "shop/bytecode"

[io.buildpacks.post.group.script]
api = "0.10"
inline = "{BYTECODE}"
""",
}
_GENERATED = {"__pycache__", "node_modules", "graphql-env.d.ts"}
_NO_DIGEST = "sha256:" + "0" * 64


def built(shell: Shell, where: Mapping[str, str]) -> str:
    """Return the image by its digest, building it unless the same sources were built before. Raise
    Stop.

    `where`: Terraform's outputs for the registry, the bucket and the service account of builds.
    """
    repository = f"{where['artifact_registry']}/functions"
    tagged = f"{repository}:{tag()}"
    digest = _digest(shell, tagged)
    if digest and not shell.dry:
        shell.tell(f"  {tagged} exists; nothing to build")
    else:
        _build(shell, tagged, where)
        digest = _digest(shell, tagged)
    if not digest:
        raise Stop(f"{tagged} was built, but the registry does not have it. Run this again.")
    return f"{repository}@{digest}"


def tag(root: Path = ROOT) -> str:
    """Return the tag for the sources as they are on disk, committed or not."""
    content = hashlib.sha256(repr((BUILDER, ADDED)).encode())
    for file in _files(root):
        content.update(f"{file.relative_to(root)}\0{file.stat().st_size}\0".encode())
        content.update(file.read_bytes())
    return f"content-{content.hexdigest()[:20]}"


def _files(root: Path) -> Iterator[Path]:
    """Yield every file of the sources, but not what Python, npm or the console's checks have
    generated on this machine."""
    for source in SOURCES:
        if (root / source).is_file():
            yield root / source
        for folder, inside, names in os.walk(root / source):
            here = Path(folder)
            inside[:] = sorted({*inside} - _GENERATED - ({"dist"} if here == root / CONSOLE else set()))
            yield from (here / name for name in sorted({*names} - _GENERATED))


def _digest(shell: Shell, tagged: str) -> str:
    """Return the image's digest; empty when the registry does not have it."""
    look = ["gcloud", "artifacts", "docker", "images", "describe", tagged, "--format=value(image_summary.digest)"]
    answer = shell.ask(look, _NO_DIGEST)
    return answer.text if answer.ok else ""


def _build(shell: Shell, tagged: str, where: Mapping[str, str]) -> None:
    account, bucket = where["build_service_account"], f"gs://{where['builds_bucket']}"
    with TemporaryDirectory(prefix="shop-image-") as copy:
        copy_sources(Path(copy))
        _build_console(shell, Path(copy) / CONSOLE)
        command = [
            *["gcloud", "builds", "submit", copy, f"--pack=image={tagged},builder={BUILDER}"],
            *[f"--gcs-source-staging-dir={bucket}/source", f"--gcs-log-dir={bucket}/log"],
            # No region: in most regions new projects may not build.
            *[f"--service-account={account}", f"--project={account.split('/')[1]}", "--quiet"],
        ]
        shell.until_known(lambda: shell.do(command, "The build failed; its output above says why."))


def _build_console(shell: Shell, console: Path) -> None:
    """Build the console into its folder `dist`, which the graphql function serves."""
    otherwise = "The console could not be built; npm's output above says why. Fix the cause and run this again."
    shell.do(["npm", f"--prefix={console}", "ci", "--omit=dev", "--no-audit", "--no-fund"], otherwise)
    shell.do(["npm", f"--prefix={console}", "run", "build"], otherwise)
    shutil.rmtree(console / "node_modules", ignore_errors=True)


def copy_sources(target: Path, root: Path = ROOT) -> None:
    for file in _files(root):
        copy = target / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copy)
    for name, text in ADDED.items():
        (target / name).write_text(text)
