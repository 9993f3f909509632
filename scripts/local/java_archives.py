"""Files with the classes that an emulator has loaded (application class-data sharing). Java maps
them into memory, and the emulator starts in half the time."""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.config.manifest import ROOT

_FOLDER = ROOT / ".dev" / "java"


def archive_of(jar: Path) -> Path:
    """Return the archive's path. Another version of the emulator or of Java has another one."""
    java = Path(shutil.which("java") or "").resolve()
    version = hashlib.sha256()
    for file in (jar, java):
        version.update(f"{file} {file.stat().st_mtime_ns} {file.stat().st_size}\n".encode())
    return _FOLDER / f"{jar.stem}-{version.hexdigest()[:12]}.jsa"


def reading(archive: Path) -> str:
    """Return the option with which Java uses the archive, if it is there."""
    return f'-XX:SharedArchiveFile="{archive}"' if archive.exists() else ""


@contextmanager
def written(archive: Path) -> Iterator[str | None]:
    """Yield the option with which Java writes the archive when it ends, which has to be inside the
    block; None when the archive is there. One process at a time writes it."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(".part")
    with (archive.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if archive.exists():
            yield None
            return
        yield f'-XX:ArchiveClassesAtExit="{part}"'
        if part.exists():  # a Java that cannot write it says so in its log, and stays slow
            part.replace(archive)
