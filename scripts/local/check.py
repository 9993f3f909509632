"""Run every check of the repository: lint, types, layers, console and tests. A failure does not stop the others."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

_BIN = Path(sys.executable).parent

CHECKS: dict[str, list[str | Path]] = {
    "lint": [_BIN / "ruff", "check", "."],
    "format": [_BIN / "ruff", "format", "--check", "."],
    "types": [_BIN / "mypy"],
    "layers": [_BIN / "lint-imports"],
    "console": [sys.executable, "-m", "scripts.local.console"],
    "tests": [sys.executable, "-m", "pytest"],
}


ALL_TESTS = ["-n", "2", "--dist", "loadfile"]
"""Two test files run at a time: the tests of outages mostly wait."""


def arguments() -> list[str]:
    """Return the arguments for pytest. Exit after printing the help when it is asked for."""
    parser = argparse.ArgumentParser(
        prog="scripts/test",
        usage="scripts/test [-h] [PYTEST ARGUMENTS]",
        description=__doc__,
        epilog="All other arguments go to pytest, for example: scripts/test tests/domain -k cancel. A test that needs"
        " something that this machine lacks is skipped with the reason.",
    )
    return parser.parse_known_args()[1]


def main(pytest_arguments: list[str]) -> int:
    failed = []
    for name, command in CHECKS.items():
        print(f"\n== {name}", flush=True)
        started = time.monotonic()
        options = (pytest_arguments or ALL_TESTS) if name == "tests" else []
        if subprocess.run([*command, *options], check=False).returncode:
            failed.append(name)
        print(
            f"== {name}: {'failed' if name in failed else 'passed'} in {time.monotonic() - started:.0f} s", flush=True
        )
    print(f"\nFailed: {', '.join(failed)}" if failed else "\nAll checks passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(arguments()))
