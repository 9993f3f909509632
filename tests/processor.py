"""Limit the time that a call takes, whatever machine runs the tests."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_WORK_SECONDS = 0.05
"""What `_work` takes on the machine that the limits are meant for."""
_ATTEMPTS = 3


def costs_at_most(seconds: float, call: Callable[[], T]) -> T:
    """Return the call's result. Raise AssertionError when it takes more of the processor, in all
    threads, than so many seconds of the reference machine.

    It is called again when it took longer: another thread, or another process, may have been busy.
    """
    spent = []
    for _ in range(_ATTEMPTS):
        speed = _WORK_SECONDS / _spent(_work)[0]
        taken, result = _spent(call)
        spent.append(taken * speed)
        if spent[-1] <= seconds:
            return result
    raise AssertionError(f"took {', '.join(f'{one:.2f}' for one in spent)} seconds of the processor")


def slowness() -> float:
    """Return how many times as long as on the reference machine, idle, work takes here and now."""
    began = time.monotonic()
    _work()
    return max(1, (time.monotonic() - began) / _WORK_SECONDS)


def _spent(call: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    result = call()
    return time.process_time() - began, result


def _work() -> int:
    """Do what resolvers do: call functions, build texts and dictionaries, sort."""
    texts = {str(number): f"{number}-{number % 7}" for number in range(60_000)}
    return len(sorted(texts.values(), key=lambda text: text[::-1]))
