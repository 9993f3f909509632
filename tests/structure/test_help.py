"""--help of every command only helps: at once, on a fresh checkout, without installing anything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.local.usage import FILE, MARK, written
from shared.config.manifest import ROOT

PINNED = (ROOT / ".python-version").read_text().strip() == ".".join(map(str, sys.version_info[:2]))
COMMANDS = sorted(one.name for one in (ROOT / "scripts").iterdir() if one.is_file() and not one.suffix)


@pytest.mark.skipif(not PINNED, reason="another Python prints --help in other words")
def test_the_texts_are_up_to_date() -> None:
    assert written() == FILE.read_text(), "run scripts/readme"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which nothing is installed."""
    folder = tmp_path_factory.mktemp("fresh")
    for name in ("scripts", "shared", "functions/manifest.yaml", ".python-version"):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__")
        (shutil.copytree(source, target, ignore=ignored) if source.is_dir() else shutil.copy(source, target))
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_helps_on_a_fresh_checkout(fresh: Path, command: str) -> None:
    for option in ("--help", "-h"):
        helped = subprocess.run(
            [sys.executable, "-I", "-S", f"scripts/{command}", option],
            cwd=fresh,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (helped.returncode, helped.stderr) == (0, "")
        assert helped.stdout.startswith(f"usage: scripts/{command}") and MARK not in helped.stdout
    assert not (fresh / ".venv").exists()


def test_a_subcommand_has_its_own_help(fresh: Path) -> None:
    command = [sys.executable, "-I", "-S", "scripts/dead-letters", "--url", "x", "discard", "--help"]
    helped = subprocess.run(command, cwd=fresh, capture_output=True, text=True, check=True)
    assert helped.stdout.startswith("usage: scripts/dead-letters discard") and "--reason" in helped.stdout
