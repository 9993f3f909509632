"""Renew requirements.txt and requirements-dev.txt from the versions in pyproject.toml.

Both files name every package, also indirect dependencies, with its exact version and the hashes of
its files for every platform and every supported Python. pip then refuses a file that differs from
the tested one. A package that is already locked keeps its version; `--upgrade` takes the newest
version that fits.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_UV = Path(sys.executable).with_name("uv")
_OLDEST = "3.11"  # pyproject.toml says the same


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/lock", description=__doc__.split("\n")[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that pyproject.toml allows")
    options = ["--upgrade"] if parser.parse_args(arguments).upgrade else []
    _compile("requirements.txt", ["pyproject.toml", *options])
    _compile("requirements-dev.txt", ["--group", "dev", "--constraints", "requirements.txt", *options])
    return 0


def _compile(output: str, arguments: list[str]) -> None:
    command: list[str | Path] = [
        _UV,
        "pip",
        "compile",
        "--universal",
        "--python-version",
        _OLDEST,
        "--generate-hashes",
        "--quiet",
    ]
    command += ["--no-header", "--no-emit-index-url", "--no-emit-find-links", "--output-file", output, *arguments]
    subprocess.run(command, cwd=ROOT, check=True)
    file = ROOT / output
    file.write_text(f"# Written by scripts/lock from pyproject.toml. Don't edit.\n{file.read_text()}")
    print(f"{output} is up to date")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
