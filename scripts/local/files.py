"""Find the repository's own files."""

import os
from collections.abc import Iterator
from pathlib import Path

NOT_OURS = frozenset({"node_modules", "__pycache__"})


def files_below(folder: Path, ending: str = "") -> Iterator[Path]:
    """Yield the files with this ending below a folder, in order, without those of other people's
    packages: a folder of npm has tens of thousands, which `rglob` reads."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted({*folders} - NOT_OURS)
        yield from (Path(parent, name) for name in sorted(names) if name.endswith(ending))
