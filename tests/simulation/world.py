"""The simulated machine: virtual time, processes with clocks of their own, and tasks that take
turns.

A task is a greenlet, so the shop's synchronous code runs unchanged. Only one runs at a time, and it
goes on until it sleeps or waits: at every call of a port, in the clock's `sleep`, or for another
task's result.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from random import Random
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

from greenlet import getcurrent, greenlet

from shared.resilience.clock import Joinable, World
from shared.runtime.engines import Engines
from tests.simulation.loop import Loop

P = ParamSpec("P")
T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)
MOST_CALLS = 200_000
"""Calls of ports in one history. Of a thousand healthy ones the longest had a tenth of them."""


class Endless(Exception):
    """The history does not come to an end: what happens causes more and more to happen."""


class Crashed(SystemExit):
    """The process was killed: nothing of it runs any more, no `except Exception` and no further
    call of a port. An event loop ends with it, too, and not only the coroutine that raises it."""


@dataclass(eq=False)
class Process:
    """`offset`: seconds by which its wall clock is ahead."""

    name: str
    engines: Engines | None = None
    offset: float = 0.0
    alive: bool = True


class Task(greenlet):
    """`in_engine`: it runs code of a database, whose clock is right. `turn`: counts its waits, so
    that each ends once."""

    def __init__(self, process: Process, run: Callable[[], object], hub: greenlet) -> None:
        super().__init__(run, hub)
        self.process, self.in_engine, self.turn = process, False, 0


this_task = cast(Callable[[], Task], getcurrent)
"""Return the task that runs. Only tasks of the simulation may ask."""


class Promise(Future[T]):
    """The result of another task. `result` lets other tasks run meanwhile."""

    def __init__(self, world: "SimulatedWorld") -> None:
        super().__init__()
        self._world = world

    def result(self, timeout: float | None = None) -> T:
        if not self.done():
            wake = self._world.waker()
            self.add_done_callback(lambda _: self._world.at(0, wake))
            self._world.at(1e9 if timeout is None else timeout, wake)
            self._world.wait()
        return super().result(0)


class Tasks(Executor):
    """Starts a task for each call, in the caller's process."""

    def __init__(self, world: "SimulatedWorld") -> None:
        self._world = world

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Promise[T]:
        promise: Promise[T] = Promise(self._world)

        def run() -> None:
            if not promise.set_running_or_notify_cancel():
                return
            try:
                answer = fn(*args, **kwargs)
            except BaseException as error:
                promise.set_exception(error)
            else:
                promise.set_result(answer)

        self._world.start(this_task().process, run)
        return promise


class _Started:
    """A task that nothing joins."""

    def join(self, timeout: float | None = None) -> None: ...


class SimulatedWorld(World):
    """`time`: virtual seconds since the start. `story`: what happened, when, and in which process.
    `steps`: calls of ports.

    Two runs of one history have equal stories and steps.
    """

    def __init__(self) -> None:
        self.time = 0.0
        self.story: list[tuple[float, str, str]] = []
        self.steps: list[tuple[float, str, str]] = []
        self._hub = getcurrent()
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._order, self._ids, self._random = itertools.count(), itertools.count(1), Random(0)
        self._secrets = Random(1)
        self._until = 0.0
        self._now = 0.0, START

    def at(self, seconds: float, call: Callable[[], object]) -> None:
        """Call later, outside of every task. Calls of the same moment keep their order."""
        heappush(self._agenda, (self.time + seconds, next(self._order), call))

    def start(self, process: Process, run: Callable[[], object]) -> None:
        task = Task(process, run, self._hub)
        self.at(0, lambda: task.dead or task.switch())

    def run(self, seconds: float) -> None:
        """Let everything happen that is due within so many seconds."""
        agenda, until = self._agenda, self.time + seconds
        self._until = until
        while agenda and agenda[0][0] <= until:
            self.time, _, call = heappop(agenda)
            call()
            if len(self.steps) > MOST_CALLS:
                raise Endless(f"after {self.time:,.0f} s and {MOST_CALLS:,} calls there is no end in sight")
        self.time = until

    def waker(self) -> Callable[[], object]:
        """Return the function that ends the present task's next wait, unless something else has
        ended it."""
        task = this_task()
        task.turn += 1
        turn = task.turn
        return lambda: task.turn == turn and not task.dead and task.switch()

    def wait(self) -> None:
        """Let other tasks run until this one is woken. Raise Crashed when its process was killed
        meanwhile."""
        task, loop = this_task(), asyncio._get_running_loop()
        if loop is None:
            self._hub.switch()
        else:  # it is the thread's; every task has its own
            asyncio._set_running_loop(None)
            self._hub.switch()
            asyncio._set_running_loop(loop)
        task.turn += 1
        if not task.process.alive:
            raise Crashed

    def tell(self, text: str, actor: str | None = None) -> None:
        self.story.append((self.time, actor or this_task().process.name, text))

    def now(self) -> datetime:
        task = getcurrent()
        seconds = self.time
        if isinstance(task, Task) and not task.in_engine:
            seconds += task.process.offset
        if seconds != self._now[0]:
            self._now = seconds, START + timedelta(seconds=seconds)
        return self._now[1]

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        due = self.time + seconds
        if due > self._until or (self._agenda and self._agenda[0][0] <= due):
            task = this_task()
            task.turn += 1
            self.at(seconds, task.switch)  # nothing else can end this wait
            self.wait()
            return
        self.time = due  # nothing else happens until then, so this task goes on
        if not this_task().process.alive:
            raise Crashed

    def new_id(self) -> UUID:
        milliseconds, number = int(self.now().timestamp() * 1000), next(self._ids)
        return UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | number)

    def random(self) -> float:
        return self._random.random()

    def secret(self, length: int) -> bytes:
        return self._secrets.randbytes(length)

    def thread(self, target: Callable[[], object], name: str) -> Joinable:
        def run() -> None:
            with suppress(Crashed):
                target()

        self.start(this_task().process, run)
        return _Started()

    def future(self) -> Promise[Any]:
        return Promise(self)

    def executor(self, workers: int, name: str) -> Executor:
        return Tasks(self)

    def result_of(
        self, coroutine: Coroutine[Any, Any, T], seconds: float, loop: asyncio.AbstractEventLoop | None = None
    ) -> T:
        """Run the coroutine in a loop of its own; a client of the simulation is bound to none."""
        with closing(Loop(self)) as own:
            try:
                return own.run_until_complete(asyncio.wait_for(coroutine, seconds))
            finally:
                own.abandon()


def driven(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that waits only inside of ports, which let other tasks run
    by themselves."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        answer: T = done.value
        return answer
    raise AssertionError("a coroutine of the simulated shop waits for an event loop")
