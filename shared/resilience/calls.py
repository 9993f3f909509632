"""Calls to other processes and stores: deadlines, tasks that fail independently, and answers made once for all callers.

A deadline covers everything that is done for one request: each call gets what is left of it, not a new limit.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar
from functools import cached_property, lru_cache
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from shared.domain.errors import TimedOut
from shared.resilience import clock

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_log = structlog.get_logger()

_CACHE_WAIT = 15.0
"""Seconds that a caller without an earlier deadline waits for a cached answer."""

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class OutOfTime(TimedOut):
    """The request's own time is up, before or during a call. This says nothing about what was called."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Limit everything inside the block to `seconds`, or to less where an earlier deadline is set already."""
    ends, earlier = clock.monotonic() + seconds, _deadline.get()
    token = _deadline.set(ends if earlier is None else min(ends, earlier))
    try:
        yield
    finally:
        _deadline.reset(token)


def time_left(at_most: float) -> float:
    """Return the seconds that the next call may take, above 0 and at most `at_most`. Raises OutOfTime."""
    ends = _deadline.get()
    left = at_most if ends is None else min(at_most, ends - clock.monotonic())
    if left <= 0:
        raise OutOfTime("the time for this request is up; try again")
    return left


def attempt_all(what: str, tasks: Mapping[str, Callable[[], int]]) -> int:
    """Run every task, by name, even when others fail; return the sum of the results.

    Logs each failure. When every task has run, raises an ExceptionGroup of the failures that names the first.
    """
    total, failures = 0, dict[str, Exception]()
    for name, task in tasks.items():
        try:
            total += task()
        except Exception as error:
            _log.warning("one task failed, the others go on", what=what, task=name, reason=repr(error))
            failures[name] = error
    if failures:
        count = f"{len(failures)} of {len(tasks)} failed"
        raise ExceptionGroup(f"{what}: {count}, the first is {next(iter(failures))}", [*failures.values()])
    return total


class SingleFlightCache:
    """Answers that are computed once for all callers of the same key.

    Callers that arrive while an answer is being computed wait for it together. The computation belongs to no request:
    it has neither the deadline nor the trace of the first caller. A failure is raised to the callers that wait for it,
    logged once and not cached, so the next caller starts again.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[float, asyncio.Task[Any]]] = {}

    async def get(self, key: str, seconds: float, compute: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the answer for `key`, at most `seconds` old. Raises TimedOut when it takes longer than the caller can
        wait, and what `compute` raises."""
        began, task = self._tasks.get(key, (0.0, None))
        if task is None or (task.done() and (_failed(task) or clock.monotonic() - began >= seconds)):
            task = asyncio.get_running_loop().create_task(compute(), name=key, context=Context())
            task.add_done_callback(_log_failure)
            self._tasks[key] = clock.monotonic(), task
        try:
            async with asyncio.timeout(time_left(_CACHE_WAIT)):
                answer: T = await asyncio.shield(task)
                return answer
        except TimeoutError as error:
            raise TimedOut(f"{key}: no answer in time") from error


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.warning("a cached answer could not be computed", key=task.get_name(), reason=repr(error))


_making = RLock()


class once(cached_property[T_co]):  # noqa: N801
    """A cached property that is made only once, even when several threads ask for it at the same moment."""

    if not TYPE_CHECKING:

        def __get__(self, instance: object, owner: type | None = None) -> object:
            with _making:
                return super().__get__(instance, owner)


def awaited(coroutine: Coroutine[Any, Any, T], at_most: float) -> T:
    """Return what the coroutine returns, to a thread that runs no event loop. Raises TimeoutError and OutOfTime.

    All coroutines run in one loop, because an asynchronous client is bound to the loop of its first use. Not anyio's
    BlockingPortal: it starts a thread of its own where ours comes from the clock, and is no shorter.
    """
    with _making:
        loop = _loop()
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(time_left(at_most))


@lru_cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    clock.thread(loop.run_forever, "coroutines of threads")
    return loop
