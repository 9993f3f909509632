"""Write the README's function table from the manifest and the functions' docstrings."""

import ast
import sys

from shared.runtime.manifest import ROOT, Function, manifest

README = ROOT / "README.md"
_BEGIN, _END = "<!-- functions: written by scripts/readme -->\n", "<!-- end of functions -->\n"


def table() -> str:
    rows = [_row(function) for function in manifest().functions.values()]
    return "\n".join(["| function | service | trigger | what it does |", "|---|---|---|---|", *rows]) + "\n"


def _row(function: Function) -> str:
    link = f"[{function.name}]({function.source.relative_to(ROOT).as_posix()})"
    return f"| {link} | {function.service} | {function.trigger} | {purpose(function)} |"


def purpose(function: Function) -> str:
    """The docstring of the function's file. Raises ValueError when there is none."""
    docstring = ast.get_docstring(ast.parse(function.source.read_text()))
    if not docstring:
        raise ValueError(f"{function.source} has no docstring to say what it does")
    return docstring


def with_table(readme: str) -> str:
    """The README with the table as it should be."""
    before, _, rest = readme.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + table() + _END + after


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
    sys.stdout.write("README.md is up to date\n")
