"""A running shop is found through its file; a file that a killed shop has left behind is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.local import running
from scripts.local.running import Running, announced, find, shops
from shared.config.manifest import ROOT


def shop(port: int) -> Running:
    return Running(port, os.getpid(), "--memory", "/data", "admin@example.com", 0.0)


def test_a_shop_is_found_while_it_runs_and_not_afterwards(tmp_path: Path) -> None:
    with announced(shop(8080), tmp_path) as announcement:
        assert find(None, tmp_path) == shop(8080)
        announcement.tell(is_open=True)
        assert find(8080, tmp_path).is_open
        assert find(None, tmp_path).url == "http://localhost:8080/graphql"
    assert shops(tmp_path) == []
    with pytest.raises(running.NotFound, match="start it with scripts/dev --memory"):
        find(None, tmp_path)


def test_of_several_shops_one_is_chosen_by_its_port(tmp_path: Path) -> None:
    with announced(shop(8180), tmp_path), announced(shop(8080), tmp_path):
        with pytest.raises(running.NotFound, match=r"ports 8080, 8180; choose one with --port N"):
            find(None, tmp_path)
        assert find(8180, tmp_path).port == 8180
        with pytest.raises(running.NotFound, match=r"no shop runs on port 9000; running: 8080, 8180"):
            find(9000, tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from scripts.local.running import Running, announced
with announced(Running(8080, os.getpid(), "", "", "", 0.0), Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_file_of_a_killed_shop_is_stale(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=60)
    assert json.loads((tmp_path / "8080.json").read_text())["port"] == 8080
    assert shops(tmp_path) == []
    with announced(shop(8080), tmp_path):
        assert find(None, tmp_path) == shop(8080)


def test_only_its_owner_may_read_the_settings_of_a_shop(tmp_path: Path) -> None:
    with announced(shop(8080), tmp_path):
        assert (tmp_path / "8080.json").stat().st_mode & 0o777 == 0o600
