"""Ports that fail: each call of an engine yields before and after, and may be late, fail, or be its
process's last."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

from shared.domain.errors import Unavailable
from shared.resilience.calls import time_left
from tests.simulation.tape import Tape
from tests.simulation.world import Crashed, SimulatedWorld, driven, this_task

T = TypeVar("T")

RATES = (0.0, 0.0, 0.002, 0.01, 0.05, 0.2)
"""How often a fault may happen in one history: rare faults find what frequent ones drown, and the
reverse."""
MOMENTS = (0.001, 0.05, 0.4, 2.0, 8.0, 35.0)
"""Seconds that a late call takes."""


def rate(tape: Tape, fault: str, most: float = 1.0) -> float:
    """Return how often the fault happens in this history."""
    return RATES[tape.choose(f"rate of {fault}", len(RATES))] * most


class _Names(NamedTuple):
    """The names of a call: in the story, on the tape, and in the table of hits. To make them takes
    longer than to find them."""

    what: str
    label: str
    takes: str
    before: tuple[str, str]
    after: tuple[str, str]


@dataclass
class Faults:
    """What may happen at a call of a port, and how often it did.

    `hits`: by port and what happened. `marks`: rare things that a long run must have seen.
    `functions`: how often each was called.
    """

    world: SimulatedWorld
    tape: Tape
    rates: Sequence[float]
    on: bool = True
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)
    _names: dict[tuple[str, str, str], _Names] = field(default_factory=dict)

    @classmethod
    def drawn(cls, world: SimulatedWorld, tape: Tape) -> "Faults":
        kinds = {"lateness": 1.0, "failure": 1.0, "unknown outcome": 1.0, "crash before": 0.2, "crash after": 0.2}
        return cls(world, tape, [rate(tape, kind, most) for kind, most in kinds.items()])

    def call(self, port: str, method: str, run: Callable[[], T], in_engine: bool = False) -> T:
        """Make one call; `in_engine`: it runs code of a database, by the database's clock.

        Raise Unavailable where the engine would, TimedOut when the request's time is up, or
        Crashed.
        """
        task = this_task()
        process = task.process
        if not process.alive:
            raise Crashed
        names = self._names.get((process.name, port, method)) or self._named(process.name, port, method)
        what = names.what
        fault = self.tape.pick(names.label, self.rates) if self.on else 0
        seconds = MOMENTS[self.tape.choose(names.takes, len(MOMENTS))] if fault == 1 else 0.001
        self.hits[names.before] += 1
        self.world.steps.append((self.world.time, process.name, what))
        self.world.sleep(seconds)
        if fault == 4:
            self._crash(f"is killed before {what}")
        time_left(1)
        if fault == 2:
            self._raise(port, f"{what} fails")
        task.in_engine = in_engine
        try:
            answer = run()
        except Exception as error:
            self.hits[port, "raised"] += 1
            self.marks[type(error).__name__] += 1
            raise
        finally:
            task.in_engine = False
        self.hits[names.after] += 1
        if fault == 5:
            self._crash(f"is killed after {what}")
        if fault == 3:
            self.hits[port, "unknown outcome"] += 1
            self._raise(port, f"{what} happens, and its answer is lost")
        return answer

    def _named(self, process: str, port: str, method: str) -> _Names:
        what = f"{port}.{method}"
        label = f"{process} {what}"
        made = _Names(what, label, f"{label} takes", (port, "before"), (port, "after"))
        self._names[process, port, method] = made
        return made

    def _crash(self, text: str) -> None:
        self.world.tell(text)
        this_task().process.alive = False
        raise Crashed

    def _raise(self, port: str, text: str) -> None:
        self.world.tell(text)
        self.hits[port, "raised"] += 1
        raise Unavailable(f"{port} does not answer")


class Port:
    """Stands for an engine in all processes. `engine`: returns the present one, because a restore
    replaces it."""

    def __init__(self, faults: Faults, name: str, engine: Callable[[], Any]) -> None:
        self._faults, self._name, self._engine = faults, name, engine

    def __getattr__(self, method: str) -> Callable[..., Any]:
        """Return the method, which has a name as an engine's has, and keep it for the next call."""
        call = partial(self.call, method)
        vars(call)["__qualname__"] = f"{self._name}.{method}"
        vars(self)[method] = call
        return call

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        run = partial(getattr(self._engine(), method), *arguments, **named)
        return self._faults.call(self._name, method, run, in_engine=True)


class AsyncPort(Port):
    """A port whose methods are awaited."""

    def __getattr__(self, method: str) -> Callable[..., Any]:
        async def call(*arguments: Any, **named: Any) -> Any:
            ask = getattr(self._engine(), method)
            return self._faults.call(self._name, method, lambda: driven(ask(*arguments, **named)))

        return call
