"""Run every check of the repository: lint, types, layers, console and tests. A failure does not
stop the others. With arguments for pytest, run only these tests."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

_BIN = Path(sys.executable).parent
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - as Linux names it
_ROOM = 6 * 2**30

CHECKS: dict[str, list[str | Path]] = {
    "lint": [_BIN / "ruff", "check", "."],
    "format": [_BIN / "ruff", "format", "--check", "."],
    "types": [_BIN / "mypy"],
    "layers": [_BIN / "lint-imports"],
    "console": [sys.executable, "-m", "scripts.local.console"],
    "tests": [sys.executable, "-m", "pytest"],
}


ALL_TESTS = ["-n", "3", "--dist", "loadfile", "--no-loadscope-reorder"]
"""Three test files run at a time, on two processors: the tests of outages mostly wait. With four,
statements take longer than the shop allows them."""

SECOND_TRY = ["--reruns=1", "--max-suite-reruns=3", "--rerun-show-tracebacks"]
"""In a run of all tests, which takes twenty minutes on a machine that may stand still for seconds,
a test that fails is tried once more. One that passes then is named RERUN at the end, with what
failed: it depends on chance and has to be mended. More than three of them fail the run."""

SLOWEST = ["--durations=20", "--durations-min=1"]

QUICK_TESTS = [
    *[*ALL_TESTS, "-rfE", "--without-engines"],
    *[f"tests/{folder}" for folder in ("domain", "sagas", "contracts", "functions", "auth")],
]
"""Everything that runs in memory, except the slower tests of the API."""


def arguments() -> tuple[argparse.Namespace, list[str]]:
    """Return our options and the arguments for pytest. Exit after printing the help when it is
    asked for."""
    parser = argparse.ArgumentParser(
        prog="scripts/test",
        usage="scripts/test [-h] [--quick] [PYTEST ARGUMENTS]",
        description=__doc__,
        epilog="All other arguments go to pytest, and only these tests run, with their names and the slowest ones, for"
        " example: scripts/test tests/domain -k cancel. A test that needs something that this machine lacks is skipped"
        " with the reason.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="check in a minute what runs in memory; not enough before a merge"
    )
    return parser.parse_known_args()


def environment() -> dict[str, str]:
    """Return the environment of the checks. Temporary files lie in memory where that has room:
    tests start and delete thirty databases, which takes minutes on a slow disk. TMPDIR, when it is
    set, says otherwise."""
    folder = _IN_MEMORY / f"shop-tests-{os.getuid()}"
    if "TMPDIR" in os.environ or not _has_room():
        return {**os.environ}
    folder.mkdir(mode=0o755, exist_ok=True)
    return {**os.environ, "TMPDIR": str(folder)}


def _has_room() -> bool:
    """Return whether programs may run from the folder in memory, and 6 GB are free there."""
    if not _IN_MEMORY.is_dir():
        return False
    found = os.statvfs(_IN_MEMORY)
    free = min(found.f_bavail * found.f_frsize, psutil.virtual_memory().available)
    return free >= _ROOM and not found.f_flag & os.ST_NOEXEC


def main(chosen: argparse.Namespace, pytest_arguments: list[str]) -> int:
    if chosen.quick:
        checks = {name: command for name, command in CHECKS.items() if name != "console"}
        checks["tests"] = [*CHECKS["tests"], *QUICK_TESTS, *pytest_arguments]
    elif pytest_arguments:
        checks = {"tests": [*CHECKS["tests"], "--verbose", *SLOWEST, *pytest_arguments]}
    else:
        checks = CHECKS | {"tests": [*CHECKS["tests"], *SLOWEST, *SECOND_TRY, *ALL_TESTS]}
    failed, surroundings = [], environment()
    for name, command in checks.items():
        print(f"\n== {name}", flush=True)
        started = time.monotonic()
        if subprocess.run(command, check=False, env=surroundings).returncode:
            failed.append(name)
        print(
            f"== {name}: {'failed' if name in failed else 'passed'} in {time.monotonic() - started:.0f} s", flush=True
        )
    print(f"\nFailed: {', '.join(failed)}" if failed else "\nAll checks passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*arguments()))
