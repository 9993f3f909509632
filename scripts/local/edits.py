"""Change several files of the source together: all of the changes are made, or none."""

import re
from pathlib import Path

_CASE_WIDTH = 105


class CannotEdit(Exception):
    """A file is not as the change expects it; the message names the file and what it lacks."""


class Edits:
    """Changes of the repository in the folder `root`, kept in memory until `write`."""

    def __init__(self, root: Path) -> None:
        self._root, self._texts, self._new = root, dict[str, str](), set[str]()

    @property
    def changed(self) -> list[str]:
        """The changed files, new ones first."""
        return sorted(self._texts, key=lambda name: (name not in self._new, name))

    def text(self, file: str) -> str:
        """Return the file with the changes so far."""
        if file not in self._texts:
            self._texts[file] = (self._root / file).read_text()
        return self._texts[file]

    def create(self, file: str, text: str) -> None:
        if (self._root / file).exists() or ((self._root / file).parent.exists() and file.endswith("/main.py")):
            raise CannotEdit(f"{file} exists already")
        self._texts[file] = text
        self._new.add(file)

    def sub(self, file: str, pattern: str, put: str) -> None:
        """Replace the only place that matches. In the pattern `.` matches no line break."""
        text, count = re.subn(pattern, put, self.text(file), flags=re.MULTILINE)
        if count != 1:
            raise CannotEdit(f"{file}: {count} places match {pattern!r}; one was expected")
        self._texts[file] = text

    def append(self, file: str, text: str) -> None:
        self._texts[file] = self.text(file) + text

    def before(self, file: str, anchor: str, text: str) -> None:
        """Insert text before the only place with this text."""
        self.sub(file, re.escape(anchor), (text + anchor).replace("\\", r"\\"))

    def after(self, file: str, anchor: str, text: str) -> None:
        self.sub(file, re.escape(anchor), (anchor + text).replace("\\", r"\\"))

    def add_argument(self, file: str, begin: str, argument: str) -> None:
        """Add an argument to the end of the only call that begins with this text."""
        text = self.text(file)
        if text.count(begin) != 1:
            raise CannotEdit(f"{file}: {text.count(begin)} places have {begin!r}; one was expected")
        start = text.index(begin) + len(begin)
        end = _closing(text, start)
        inside = text[start:end].rstrip().removesuffix(",")
        self._texts[file] = f"{text[:start]}{inside}, {argument}{text[end:]}"

    def add_to_case(self, file: str, result: str, pattern: str) -> None:
        """Let the case that ends in the line `result` match another pattern, too."""
        text, body = self.text(file), f"\n{result}\n"
        if text.count(body) != 1:
            raise CannotEdit(f"{file}: {text.count(body)} places have {result.strip()!r}; one was expected")
        end = text.index(body)
        begin = text.rindex("\n        case ", 0, end) + len("\n        case ")
        head, mark, comment = text[begin:end].partition("  # ")
        patterns = head.removesuffix(":")
        if patterns.startswith("("):
            patterns = patterns.removeprefix("(").removesuffix(")")
        one_line = f"{patterns} | {pattern}"
        if len(one_line) > _CASE_WIDTH or "\n" in patterns:
            one_line = f"(\n            {patterns.strip()}\n            | {pattern}\n        )"
        self._texts[file] = f"{text[:begin]}{one_line}:{mark}{comment}{text[end:]}"

    def write(self) -> None:
        """Write all changes. After an error the files are as before."""
        before = {name: (self._root / name).read_text() for name in self._texts if name not in self._new}
        try:
            for name, text in self._texts.items():
                (self._root / name).parent.mkdir(parents=True, exist_ok=True)
                (self._root / name).write_text(text)
        except OSError:
            for name, text in before.items():
                (self._root / name).write_text(text)
            for made in (self._root / name for name in self._new):
                if made.exists():
                    made.unlink()
            raise


def _closing(text: str, start: int) -> int:
    """Return the place of the bracket that closes the one before `start`."""
    depth = 1
    for place in range(start, len(text)):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise CannotEdit("a bracket is not closed")
