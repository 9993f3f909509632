"""Find the pages of the repository, quote code in them, and write the glossary."""

import ast
import json
import os
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.local.files import files_below
from shared.config.manifest import ROOT

FOLDERS = ("functions", "scripts", "shared", "terraform", "tests")
GLOSSARY = ROOT / "functions" / "graphql" / "console" / "src" / "glossary.json"
"""The glossary's words, which the console shows too."""


def pages() -> list[Path]:
    """Return every Markdown page, that of the repository first."""
    return [*sorted(ROOT.glob("*.md")), *(page for folder in FOLDERS for page in files_below(ROOT / folder, ".md"))]


def translation(page: Path) -> Path:
    """Return where the Japanese page that belongs to an English one is."""
    return page.with_suffix(".ja.md")


def is_translation(page: Path) -> bool:
    return page.name.endswith(".ja.md")


def language(page: Path) -> str:
    return "ja" if is_translation(page) else "en"


def quoted(place: str) -> str:
    """Return a block with the definition that `place` names: "file.py name" or "file.py
    Class.method"; of another file, "file name" is the part from its line with "begin of name" to
    the line before "end of name". Raise LookupError when there is none."""
    file, _, name = place.partition(" ")
    text = (ROOT / file).read_text()
    lines = text.splitlines()
    if file.endswith(".py"):
        found = [node for path, node in _definitions(ast.parse(text)) if path == name]
        if not found:
            raise LookupError(f"{file} does not define {name}; name a function, class, method or constant of it")
        node = found[0]
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        lines = lines[first - 1 : node.end_lineno]
    return "\n".join([f"```{_LANGUAGES.get(Path(file).suffix, '')}", *_dedented(lines), "```"]) + "\n"


_LANGUAGES = {".py": "python", ".sql": "sql", ".yaml": "yaml", ".graphql": "graphql"}


def _definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.stmt]]:
    """Yield each definition with its dotted name, those inside classes and functions too."""
    for node in ast.iter_child_nodes(tree):
        names: Sequence[str] = ()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
            yield from _definitions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        yield from ((prefix + name, node) for name in names if isinstance(node, ast.stmt))


def _dedented(lines: Sequence[str]) -> list[str]:
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return [line[margin:] for line in lines]


def glossary(page: Path) -> str:
    """Return the glossary in the language of the page, with a heading for each word."""
    parts = []
    for word in json.loads(GLOSSARY.read_text()):
        file = Path(word["code"])
        link = f"[{file.name}]({os.path.relpath(ROOT / file, page.parent)})"
        english = "" if language(page) == "en" else f"{word['name']['en']}. "
        parts.append(
            f"## {word['name'][language(page)]}\n\n{_wrapped(word['text'][language(page)])}\n{english}{link}\n"
        )
    return "\n".join(parts)


def _wrapped(text: str) -> str:
    """Break lines between words or, in Japanese, between sentences."""
    return "\n".join(part for line in re.sub("。(?=.)", "。\n", text).splitlines() for part in textwrap.wrap(line, 100))
