"""Add a command, projection, saga step or event field: its code, its entries and its tests. The
result runs and is green at once; what it prints at the end is left to decide."""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from scripts.local.edits import CannotEdit, Edits
from scripts.local.names import BadName, Names, checked
from scripts.local.new_command import PAGE as COMMAND_PAGE
from scripts.local.new_command import add_command
from scripts.local.new_event_field import PAGE as FIELD_PAGE
from scripts.local.new_event_field import add_event_field
from scripts.local.new_projection import PAGE as PROJECTION_PAGE
from scripts.local.new_projection import add_projection
from scripts.local.new_saga_step import PAGE as STEP_PAGE
from scripts.local.new_saga_step import add_saga_step
from shared.config.manifest import ROOT, manifest

Add = Callable[[Edits, Names], list[str]]

KINDS: dict[str, tuple[Add, str, str]] = {
    "command": (add_command, "product", COMMAND_PAGE),
    "projection": (add_projection, "product", PROJECTION_PAGE),
    "saga-step": (add_saga_step, "order", STEP_PAGE),
    "event-field": (add_event_field, "product", FIELD_PAGE),
}
"""By kind: what adds it, the aggregate that it is about, and the page that explains each step."""
_DEFINED_IN = ("commands", "events", "product", "order", "fulfilment")
_BIN = Path(sys.executable).parent


def taken(root: Path) -> set[str]:
    """Return the names in snake case of everything that a new name could be confused with."""
    functions = {name for one in manifest().functions for name in (one, one.removeprefix("project_"))}
    text = "".join((root / f"shared/domain/{module}.py").read_text() for module in _DEFINED_IN)
    text += (root / "shared/read_models/documents.py").read_text() + (root / "shared/api/loaders.py").read_text()
    found = re.findall(r"^ *(?:def |class )?(\w+)(?=[(:]| = )", text, re.MULTILINE)
    found += re.findall(r"^  (\w+)(?=[(:])", (root / "schema.graphql").read_text(), re.MULTILINE)
    return functions | {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", one).lower() for one in found}


def add(kind: str, name: str, root: Path = ROOT) -> tuple[list[str], list[str]]:
    """Make and write the changes. Return the changed files, and what is left to decide. Raise
    BadName or CannotEdit; then nothing was written."""
    adds, subject, _ = KINDS[kind]
    known = taken(root)
    names = Names(checked(name, known), subject)
    if kind in ("command", "saga-step"):
        checked(names.flag, known)
    edits = Edits(root)
    left = adds(edits, names)
    edits.write()
    return edits.changed, left


def tidy(root: Path, files: list[str]) -> None:
    """Sort imports, format, and write the generated parts of the pages."""
    python = [file for file in files if file.endswith(".py")]
    subprocess.run([_BIN / "ruff", "check", "--select=I", "--fix", "--quiet", *python], cwd=root, check=True)
    subprocess.run([_BIN / "ruff", "format", "--quiet", *python], cwd=root, check=True)
    subprocess.run([sys.executable, "-m", "scripts.local.readme"], cwd=root, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/new", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("name", metavar="NAME", help="in small letters, such as set_minimum_stock")
    chosen = parser.parse_args()
    page = KINDS[chosen.kind][2]
    try:
        files, left = add(chosen.kind, chosen.name)
    except BadName as error:
        parser.error(str(error))
    except CannotEdit as error:
        print(f"{error}. Nothing was written; {page} has the same steps by hand.", file=sys.stderr)
        return 1
    tidy(ROOT, files)
    print(
        "Written:", *(f"  {file}" for file in files), "", "Left to decide:", *(f"  - {one}" for one in left), sep="\n"
    )
    print(f"\n{page} explains each step. Now: scripts/test {' '.join(file for file in files if 'test_' in file)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
