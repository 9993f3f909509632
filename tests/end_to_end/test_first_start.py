"""The environment is made once, even when the first two starts happen at the same time; settings
are checked first."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.config.manifest import ROOT


def checkout_without_packages(folder: Path, python_version: str) -> list[str]:
    """Return the command that makes the environment of a checkout that needs no packages."""
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "bootstrap.py", folder / "scripts")
    for name in ("requirements.txt", "requirements-dev.txt"):
        (folder / name).write_text("")
    (folder / ".python-version").write_text(f"{python_version}\n")
    return [sys.executable, "-c", "import bootstrap; print(bootstrap.ready())"]


def test_of_two_first_starts_one_makes_the_environment(tmp_path: Path) -> None:
    command = checkout_without_packages(tmp_path, f"{sys.version_info.major}.{sys.version_info.minor}")
    starts = [
        subprocess.Popen(command, cwd=tmp_path / "scripts", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [start.communicate(timeout=120) for start in starts]
    assert [start.returncode for start in starts] == [0, 0], outputs
    assert [out.strip() for out, _ in outputs] == [str(tmp_path / ".venv" / "bin" / "python")] * 2
    assert sum("Making a virtual environment" in errors for _, errors in outputs) == 1


@pytest.mark.parametrize("body", [None, "exit 127", 'exec "$REAL" "$@"'], ids=["missing", "switched off", "there"])
def test_the_pinned_python_is_used_where_it_runs(tmp_path: Path, body: str | None) -> None:
    command = checkout_without_packages(tmp_path, "3.99")
    pinned = tmp_path / "bin" / "python3.99"
    pinned.parent.mkdir()
    if body is not None:
        pinned.write_text(f"#!/bin/sh\n{body}\n")
        pinned.chmod(0o755)
    environment = {**os.environ, "PATH": f"{pinned.parent}:{os.environ['PATH']}", "REAL": sys.executable}
    start = subprocess.run(
        command, cwd=tmp_path / "scripts", env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    other = f"This machine has no Python 3.99, which the cloud runs; using {sys.executable}"
    assert (other in start.stderr) == (body != 'exec "$REAL" "$@"')


START = """
import sys
from pathlib import Path
from scripts.local.ports import Ports
from scripts.local.shop import Shop
Shop(Ports(), Path(sys.argv[1]), print, memory=True).start()
"""


def test_a_malformed_setting_stops_the_start_and_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ALLOWED_ORIGINS": "https://shop.example.com/"}
    start = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert start.returncode == 1
    assert "CannotStart: The shop does not start: the environment variable ALLOWED_ORIGINS must be" in start.stderr
    assert "got 'https://shop.example.com/'" in start.stderr
