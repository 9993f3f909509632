"""Calls to other processes and stores: deadlines, tasks, shared answers.

A deadline covers all of one request: each call gets what is left of it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar, cast

import structlog

from shared.domain.errors import TimedOut, Unavailable
from shared.resilience import clock

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_log = structlog.get_logger()

_CACHE_WAIT = 15.0  # seconds that a caller without an earlier deadline waits for a cached answer

RECONNECT = ("grpc.max_reconnect_backoff_ms", 5_000)
"""The option of a gRPC channel that bounds the pause between attempts to connect (two minutes)."""

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class OutOfTime(TimedOut):
    """The request's own time is up, before or during a call. It says nothing about the called."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Limit everything inside the block to `seconds`, or to an earlier deadline."""
    ends, earlier = clock.monotonic() + seconds, _deadline.get()
    token = _deadline.set(ends if earlier is None else min(ends, earlier))
    try:
        yield
    finally:
        _deadline.reset(token)


def time_left(at_most: float) -> float:
    """Return the seconds that the next call may take, up to `at_most`. Raise OutOfTime."""
    ends = _deadline.get()
    left = at_most if ends is None else min(at_most, ends - clock.monotonic())
    if left <= 0:
        raise OutOfTime("the time for this request is up; try again")
    return left


class NotCalled(Unavailable):
    """`dependency` was not called, and may be in `wait` seconds."""

    def __init__(self, dependency: str, why: str, wait: float) -> None:
        super().__init__(f"{dependency} {why}; try again in {wait:.0f} seconds", retry_after=wait)
        self.dependency = dependency


class Postponed(Exception):
    """A delivery's message was not handled: it was stored, to be published again in its turn. This
    uses up no attempt, so it counts neither as a success nor as a failure."""


def attempt_all(what: str, tasks: Mapping[str, Callable[[], int]]) -> int:
    """Run every task, by name, even when others fail; return the sum of the results.

    Log each failure. At the end raise an ExceptionGroup of the failures that names the first.
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
    """Answers that are computed once for all callers of the same key, who wait for them together.

    The computation belongs to no request: it has neither the deadline nor the trace of the first
    caller. A failure is raised to the callers that wait for it, logged once and not cached.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[float, asyncio.Task[Any]]] = {}

    async def get(self, key: str, seconds: float, compute: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the answer for `key`, at most `seconds` old. Raise what `compute` raises, and
        TimedOut when it takes longer than the caller can wait."""
        began, task = self._tasks.get(key, (0.0, None))
        expired = clock.monotonic() - began >= seconds
        if task is None or (task.done() and (task.cancelled() or task.exception() or expired)):
            task = asyncio.get_running_loop().create_task(compute(), name=key, context=Context())
            task.add_done_callback(_log_failure)
            self._tasks[key] = clock.monotonic(), task
        try:
            async with asyncio.timeout(time_left(_CACHE_WAIT)):
                return cast(T, await asyncio.shield(task))
        except TimeoutError as error:
            raise TimedOut(f"{key}: no answer in time") from error


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.warning("a cached answer could not be computed", key=task.get_name(), reason=repr(error))


_making = RLock()


class once(cached_property[T_co]):  # noqa: N801
    """A cached property that is made only once, even when several threads read it together."""

    if not TYPE_CHECKING:

        def __get__(self, instance: object, owner: type | None = None) -> object:
            with _making:
                return super().__get__(instance, owner)


def awaited(coroutine: Coroutine[Any, Any, T], at_most: float, loop: asyncio.AbstractEventLoop | None = None) -> T:
    """Return the coroutine's result to a thread. Raise TimeoutError and OutOfTime. `loop`: where it
    runs; by default the background loop of this process."""
    try:
        seconds = time_left(at_most)
    except BaseException:
        coroutine.close()  # or Python warns that nobody has awaited it
        raise
    return clock.result_of(coroutine, seconds, loop)
