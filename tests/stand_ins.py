"""Stand-ins: parts of the shop that fail or hang on purpose."""

from collections.abc import Callable
from typing import Any, NoReturn


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
