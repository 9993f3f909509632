"""Check that a history of concurrent operations could have happened one after the other.

The search is Wing and Gong's with Lowe's cache ("Testing for linearizability", 2017), as in
porcupine, which is in Go; PyPI has none. An operation without an answer may have happened at any
later time, or never.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

State = TypeVar("State")
Step = Callable[[State, Any], State | None]
"""Return the state after an operation, None when the operation could not have given its answer in
this state."""


@dataclass(frozen=True)
class Operation:
    """`called`, `returned`: seconds; without an answer `returned` is infinite. `what`: what `Step`
    understands."""

    called: float
    returned: float
    what: Any

    @property
    def answered(self) -> bool:
        return self.returned != inf


@dataclass(frozen=True)
class Model(Generic[State]):
    initial: State
    step: "Step[State]"


def linearizable(model: Model[Any], operations: Sequence[Operation]) -> bool:
    """Return whether some order explains all answers, with no operation before one that had ended
    when it began."""
    everything = frozenset(range(len(operations)))
    seen: set[tuple[frozenset[int], Any]] = set()
    waiting = [(everything, model.initial)]
    while waiting:
        left, state = waiting.pop()
        if not any(operations[one].answered for one in left):
            return True
        if (left, state) in seen:
            continue
        seen.add((left, state))
        first_return = min(operations[one].returned for one in left)
        for one in left:
            if operations[one].called <= first_return:
                after = model.step(state, operations[one].what)
                if after is not None:
                    waiting.append((left - {one}, after))
    return False


@dataclass(frozen=True)
class Written:
    """An operation on a register. `value`: what it wrote, None for a reader. `read`: what its
    answer showed after it; `answered` is False when there was no answer."""

    value: Any
    read: Any = None
    answered: bool = True


def _register(state: Any, what: Written) -> Any:
    after = state if what.value is None else what.value
    return after if not what.answered or what.read == after else None


def _first_answer(state: Any, what: Written) -> Any:
    after = state if state != "" else what.read
    return after if not what.answered or what.read == after else None


def register(initial: Any) -> Model[Any]:
    """Return the model of a value that operations write and read."""
    return Model(initial, _register)


ONE_ANSWER: Model[Any] = Model("", _first_answer)
"""The model of an idempotency key: every answer is the first one."""
