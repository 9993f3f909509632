"""Restart a service when its code changes, with its data."""

import signal
from collections.abc import Iterable
from pathlib import Path
from threading import Thread

from scripts.local.changes import Changes
from scripts.local.console import SOURCES, build_console
from scripts.local.processes import CannotStart
from scripts.local.shop import CONSOLE, ONE, Shop
from shared.config.manifest import ROOT, manifest

_CONSOLE = SOURCES.relative_to(ROOT)
_SERVICES = {
    "graphql": {"client"},
    "commands": {"command"},
    "sagas": {"command"},
    "projections": {"query"},
    "operations": {"command", "query"},
}
_OF_ALL = ("shared/", "schema.graphql", "functions/manifest.yaml")


class Reload:
    def __init__(self, shop: Shop, root: Path = ROOT) -> None:
        self._shop, self._changes = shop, Changes(root)
        self._broken: set[str] = set()  # services that wait for their code to be mended

    def after(self, seconds: float) -> None:
        """Wait for so long, then start again what has changed meanwhile."""
        changed = self._changes.next(seconds)
        code = [path for path in changed if _CONSOLE not in path.parents]
        if len(code) < len(changed):
            Thread(target=build_console, args=(CONSOLE, self._shop.say), daemon=True).start()
        if code:
            self._reload(code)

    def stop(self) -> None:
        self._changes.stop()

    def _reload(self, changed: Iterable[Path]) -> None:
        services = services_of(changed) | self._broken
        if not services:
            return
        if self._shop.instances:
            self._shop.say(f"{_named(changed)} changed; every function starts again with its next request")
            self._shop.instances.stop_all()
            return
        if ONE in self._shop.processes.names:
            services = {ONE}
        self._shop.say(f"{_named(changed)} changed; starting again: {', '.join(sorted(services))}")
        self._broken |= services
        try:
            self._prepare(changed)
        except CannotStart as error:
            self._shop.say(f"{error}\n      The services go on with the old code until it is mended.")
            return
        self._shop.stop_clock()
        try:
            for service in sorted(services):
                self._shop.processes.replace(service, signal.SIGHUP if service == ONE else signal.SIGTERM)
            for service in sorted(services):
                self._shop.wait_for(service)
                self._broken.discard(service)
        except CannotStart as error:
            self._shop.processes.forget(self._broken)
            self._shop.say(f"{error}\n      It starts again when the code is mended.")
            return
        self._shop.start_clock()
        self._shop.say(self._ready())

    def _prepare(self, changed: Iterable[Path]) -> None:
        """Bring what the services need up to date. Raise CannotStart."""
        if any(path.suffix == ".sql" for path in changed) and not self._shop.memory:
            self._shop.migrate()
        if Path("functions/manifest.yaml") in changed:
            manifest.cache_clear()
            try:
                manifest()
            except Exception as error:  # a mistake in the file is of many classes
                raise CannotStart(f"functions/manifest.yaml is malformed: {error}") from error
            self._shop.use_manifest()

    def _ready(self) -> str:
        if self._shop.kept.exists():  # the new process has left it
            self._shop.kept.unlink()
            return f"ready, but empty: the new code cannot read the data; the reason is in {self._shop.log_of(ONE)}"
        return "ready"


def services_of(changed: Iterable[Path]) -> set[str]:
    """Return the services whose code is in the changed files. The manifest is not asked: it may be
    malformed just now."""
    found: set[str] = set()
    for path in changed:
        if path.as_posix().startswith(_OF_ALL):
            return {service for services in _SERVICES.values() for service in services}
        if path.name == "main.py" and path.parts[0] == "functions":
            found |= _SERVICES[path.parts[1]]
    return found


def _named(changed: Iterable[Path]) -> str:
    first, *others = sorted(map(str, changed))
    return f"{first} and {len(others)} more" if others else first
