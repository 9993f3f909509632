"""Know which shops run on this machine. While a shop runs, it holds a lock on its file in
.dev/running; the operating system releases it with the process, however that ends."""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".dev" / "running"
DETOURS = "DETOURS"
"""The environment variable with the folder of the functions that run in processes of their own."""
_BYTES = 16_384  # a file's fixed size: a new text replaces the old one in one write


class NotFound(Exception):
    """No shop or more than one fits; the message says what to do."""


@dataclass(frozen=True)
class Running:
    """One running shop. `mode`: its options on the screen. `environment`: of its functions.
    `is_open`: it answers requests. `data`: its folder."""

    port: int
    pid: int
    mode: str
    data: str
    admin_email: str
    started_at: float
    is_open: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/graphql"


def detours(port: int) -> Path:
    """Return the folder of the functions of the shop that run in processes of their own."""
    return FOLDER / f"{port}.only"


class Announcement:
    """The file of a running shop. `tell` replaces what it says."""

    def __init__(self, descriptor: int, shop: Running) -> None:
        self._descriptor, self.shop = descriptor, shop

    def tell(self, **changes: object) -> None:
        self.shop = replace(self.shop, **changes)  # type: ignore[arg-type]
        os.pwrite(self._descriptor, json.dumps(asdict(self.shop)).encode().ljust(_BYTES), 0)


@contextmanager
def announced(shop: Running, folder: Path = FOLDER) -> Iterator[Announcement]:
    """Announce the shop inside the block."""
    with locked(folder / f"{shop.port}.json") as descriptor:
        announcement = Announcement(descriptor, shop)
        announcement.tell()
        yield announcement


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock of a file, made if missing, inside the block; yield its descriptor. Only its
    owner may read it: it can hold settings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def content(path: Path) -> bytes | None:
    """Return what a locked file holds; None when it is missing or stale, which is when no process
    holds its lock."""
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read()
    except FileNotFoundError:
        pass
    return None


def shops(folder: Path = FOLDER) -> list[Running]:
    """Return the running shops, ordered by port."""
    found = [content(path) for path in sorted(folder.glob("*.json"))]
    return sorted((Running(**json.loads(text)) for text in found if text and text.strip()), key=lambda one: one.port)


def find(port: int | None = None, folder: Path = FOLDER) -> Running:
    """Return the running shop, of several the one on `port`. Raise NotFound, which says what to
    do."""
    running = shops(folder)
    fitting = [shop for shop in running if port in (None, shop.port)]
    ports = ", ".join(str(shop.port) for shop in running)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise NotFound(f"several shops run here, on the ports {ports}; choose one with --port N")
    if running:
        raise NotFound(f"no shop runs on port {port}; running: {ports}")
    raise NotFound("no shop runs from this folder; start it with scripts/dev --memory")


def found(port: int | None = None) -> Running:
    """Return the running shop as `find` does; end the process with its message when none fits."""
    try:
        return find(port)
    except NotFound as error:
        sys.exit(f"{error}.")
