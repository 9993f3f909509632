"""Every check of the repository, one after the other; all of them run even when one fails."""

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
    "tests": [sys.executable, "-m", "pytest"],
}


ALL_TESTS = ["-n", "2", "--dist", "loadfile"]
"""Two files at a time: those that take engines away mostly wait."""


def main(pytest_arguments: list[str]) -> int:
    failed = []
    for name, command in CHECKS.items():
        print(f"\n== {name}", flush=True)
        started = time.monotonic()
        arguments = (pytest_arguments or ALL_TESTS) if name == "tests" else []
        if subprocess.run([*command, *arguments], check=False).returncode:
            failed.append(name)
        print(
            f"== {name}: {'failed' if name in failed else 'passed'} in {time.monotonic() - started:.0f} s", flush=True
        )
    print(f"\nFailed: {', '.join(failed)}" if failed else "\nAll checks passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
