"""Stand-ins: parts of the shop that fail or hang on purpose, and engines used for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

from shared.runtime import engines as process
from shared.runtime.engines import Engines


class _StandIn:
    def __init__(self, inner: object, methods: dict[str, Callable[..., Any]]) -> None:
        self._inner = inner
        vars(self).update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def with_methods(inner: Any, **methods: Callable[..., Any]) -> Any:
    """Return an object that behaves like `inner`, except for these methods."""
    return _StandIn(inner, methods)


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


@contextmanager
def using(chosen: Engines | Callable[[], Engines]) -> Iterator[None]:
    """Replace the process's engines inside the block, by `chosen` or by what it makes when asked."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(chosen, Engines):
            patch.setattr(process, "_engines", chosen)
        else:
            patch.setattr(process, "_engines", None)
            patch.setattr(process, "_chosen", chosen)
        yield


def close(engines: Engines) -> None:
    """Close the connections to PostgreSQL that were opened."""
    for pool in {"_event_store_pool", "_command_pool"} & vars(engines).keys():
        getattr(engines, pool).close()
