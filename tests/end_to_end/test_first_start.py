"""The environment is made once, even when the first two starts happen at the same time; settings
are checked first."""

import os
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
    start = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert start.returncode == 1
    assert "CannotStart: The shop does not start: the environment variable ALLOWED_ORIGINS must be" in start.stderr
    assert "got 'https://shop.example.com/'" in start.stderr
