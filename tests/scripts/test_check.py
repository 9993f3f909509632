"""A run of all tests gives a failed test one more try, and hides nothing."""

import os
import subprocess
import sys
from pathlib import Path

from scripts.local.check import ALL_TESTS, SECOND_TRY

ONCE = """
from pathlib import Path

def test_passes_at_the_second_try():
    seen = Path(__file__).parent / "seen"
    tried = seen.exists()
    seen.touch()
    assert tried, "a chance"
"""
NEVER = """
def test_fails():
    assert 1 == 2
"""


def run(folder: Path, *files: str) -> tuple[int, str]:
    """Run the tests as a whole run does. Return the exit status and what was printed."""
    for n, tests in enumerate(files):
        (folder / f"test_{n}.py").write_text(tests)
    (folder / "pytest.ini").touch()
    # With a folder of its own: pytest closes the common one to other users, and PostgreSQL is one.
    command = [sys.executable, "-m", "pytest", "--color=no", f"--basetemp={folder / 'data'}", *SECOND_TRY, *ALL_TESTS]
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_a_test_that_depends_on_chance_is_named_with_what_failed(tmp_path: Path) -> None:
    status, printed = run(tmp_path, ONCE)
    assert status == 0
    assert "RERUN test_0.py::test_passes_at_the_second_try" in printed and "AssertionError: a chance" in printed
    assert "1 passed, 1 rerun" in printed


def test_a_test_that_fails_again_fails_the_run(tmp_path: Path) -> None:
    status, printed = run(tmp_path, NEVER)
    assert status == 1
    assert "1 failed, 1 rerun" in printed


def test_the_fourth_test_that_depends_on_chance_fails_the_run(tmp_path: Path) -> None:
    status, printed = run(tmp_path, *[ONCE.replace('"seen"', f'"seen {n}"') for n in range(4)])
    assert status == 1
    assert "1 failed, 3 passed, 3 rerun" in printed
