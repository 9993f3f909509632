"""A copy of the repository that a test may change."""

import os
import shutil
import subprocess
from pathlib import Path

from shared.config.manifest import ROOT

NO_REGISTRY = "http://127.0.0.1:9"
"""As npm_config_registry: the console is not built."""


def scratch_copy(folder: Path) -> Path:
    """Copy the files that git knows, and new ones, into the folder. Return it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    os.symlink(ROOT / ".venv", folder / ".venv")
    return folder
