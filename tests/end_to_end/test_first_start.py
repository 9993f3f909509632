"""The environment is made once, even when the first two starts happen at the same time."""

import shutil
import subprocess
import sys
from pathlib import Path

from shared.config.manifest import ROOT


def test_of_two_first_starts_one_makes_the_environment(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "bootstrap.py", tmp_path / "scripts")
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).write_text("")
    command = [sys.executable, "-c", "import bootstrap; print(bootstrap.ready())"]
    starts = [
        subprocess.Popen(command, cwd=tmp_path / "scripts", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [start.communicate(timeout=120) for start in starts]
    assert [start.returncode for start in starts] == [0, 0], outputs
    assert [out.strip() for out, _ in outputs] == [str(tmp_path / ".venv" / "bin" / "python")] * 2
    assert sum("Making a virtual environment" in errors for _, errors in outputs) == 1
