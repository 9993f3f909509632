"""An event loop in virtual time, for the shop's asynchronous code."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tests.simulation.world import SimulatedWorld

T = TypeVar("T")


class _Selector:
    """Stands for the selector that an event loop waits with: lets other tasks run meanwhile."""

    def __init__(self, world: "SimulatedWorld") -> None:
        self._world = world
        self.wake: Callable[[], object] = int

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None or timeout > 0:
            self.wake = self._world.waker()
            if timeout is not None:
                self._world.at(timeout, self.wake)
            self._world.wait()
            self.wake = int
        return []


class Loop(asyncio.BaseEventLoop):
    """An event loop in virtual time. It belongs to one task of the simulation."""

    def __init__(self, world: "SimulatedWorld") -> None:
        super().__init__()
        self._world, self._selector = world, _Selector(world)

    def time(self) -> float:
        return self._world.time

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Call at once: what the shop leaves to the default executor does not wait."""
        done: asyncio.Future[T] = self.create_future()
        done.set_result(func(*args))
        return done

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Say nothing of tasks that were left when their request was answered or their process
        killed."""

    def abandon(self) -> None:
        """End the tasks that were left, without waiting for anything."""
        while tasks := asyncio.all_tasks(self):
            for task in tasks:
                task.cancel()
            self.call_soon(self.stop)
            with suppress(SystemExit):  # a task of a killed process that would call a port again
                self.run_forever()

    def _process_events(self, _: list[Any]) -> None: ...

    def _write_to_self(self) -> None:
        self._world.at(0, self._selector.wake)
