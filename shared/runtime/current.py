"""This process's engines."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from shared.config.settings import settings
from shared.observability import logs
from shared.runtime.engines import Engines


def _of_the_settings() -> Engines:
    logs.configure(settings().project_id)
    return Engines(settings())


_engines: Engines | Callable[[], Engines] = _of_the_settings
_lock = Lock()


def engines() -> Engines:
    """Return this process's engines, which the first request makes from the settings."""
    with _lock:  # the first requests may arrive together
        return _engines if isinstance(_engines, Engines) else use(_engines())


def use(chosen: Engines) -> Engines:
    global _engines
    _engines = chosen
    return chosen


@contextmanager
def using(chosen: Engines | Callable[[], Engines]) -> Iterator[None]:
    """Replace the process's engines inside the block. A function makes them at the first use."""
    global _engines
    before, _engines = _engines, chosen
    try:
        yield
    finally:
        _engines = before
