"""Write scripts/help.txt: what each command prints for --help, so that a fresh checkout can print
it before anything is installed."""

import io
import os
import re
import runpy
import sys
import warnings
from contextlib import redirect_stdout
from unittest.mock import patch

from shared.config.manifest import ROOT

FILE = ROOT / "scripts" / "help.txt"
MARK = "===== "
_WIDTH = "100"
_SUBCOMMANDS = re.compile(r"^    ([a-z][a-z-]*)(?=  |$)", re.MULTILINE)


def written() -> str:
    """Return the text of the file."""
    parts = ["Written by scripts/readme: what the commands print for --help.\n"]
    for name, module in sorted(_modules().items()):
        text = _printed(module, "--help")
        parts.append(f"{MARK}scripts/{name}\n{text}")
        below = text.partition("\ncommands:\n")[2] or text.partition("\nmeasurements:\n")[2]
        below = below or (text.partition("\npositional arguments:\n")[2] if "COMMAND" in text else "")
        for command in _SUBCOMMANDS.findall(below.partition("\n\n")[0]):
            parts.append(f"{MARK}scripts/{name} {command}\n{_printed(module, command, '--help')}")
    return "\n".join(parts)


def _modules() -> dict[str, str]:
    """Return the module of each command that needs packages."""
    found: dict[str, str] = {}
    for script in (ROOT / "scripts").iterdir():
        if script.is_file() and not script.suffix:
            module = re.search(r'bootstrap\.run_module\("(.+?)"', script.read_text())
            found |= {script.name: module[1]} if module else {}
    return found


def _printed(module: str, *arguments: str) -> str:
    output = io.StringIO()
    with patch.object(sys, "argv", [module, *arguments]), patch.dict(os.environ, COLUMNS=_WIDTH):
        try:
            with redirect_stdout(output), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # the module may be imported already
                runpy.run_module(module, run_name="__main__")
        except SystemExit:
            pass
    return output.getvalue()
