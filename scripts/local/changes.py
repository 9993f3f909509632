"""Notice changes of the source, with watchfiles: it is told by the operating system and gathers
what an editor or git changes together."""

import time
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread

from watchfiles import DefaultFilter, watch

_FLAT = (".", "functions", "functions/graphql", "functions/graphql/console")  # not below: node_modules is huge
_GROUPS = ("functions/commands", "functions/projections", "functions/sagas", "functions/operations")
_DEEP = ("shared", *_GROUPS, "functions/graphql/console/src")
_SUFFIXES = (".py", ".yaml", ".graphql", ".sql", ".ts", ".tsx", ".css", ".html", ".mjs", ".json", ".svg")


class Changes:
    """The changed files of the repository in the folder `root`, relative to it."""

    def __init__(self, root: Path) -> None:
        self._root, self._found, self._stopping = root, SimpleQueue[set[Path]](), Event()
        self._threads = [
            Thread(target=self._follow, args=(folders, recursive), daemon=True)
            for folders, recursive in ((_FLAT, False), (_DEEP, True))
        ]
        for thread in self._threads:
            thread.start()

    def next(self, seconds: float) -> set[Path]:
        """Return the files that have changed since the last call, after at most so long."""
        time.sleep(0 if self._found.qsize() else seconds)
        changed: set[Path] = set()
        while True:
            try:
                changed |= self._found.get_nowait()
            except Empty:
                return changed

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(5)

    def _follow(self, folders: tuple[str, ...], recursive: bool) -> None:
        watched = [self._root / folder for folder in folders if (self._root / folder).is_dir()]
        wanted = DefaultFilter()
        for changes in watch(
            *watched,
            watch_filter=lambda change, path: path.endswith(_SUFFIXES) and wanted(change, path),
            stop_event=self._stopping,
            rust_timeout=1000,
            debounce=400,
            recursive=recursive,
            raise_interrupt=False,
        ):
            self._found.put({Path(path).relative_to(self._root) for _, path in changes})
