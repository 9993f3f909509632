"""The checker of linearizability: histories that have an order, and some that have none."""

from math import inf

import pytest

from tests.simulation.linearizable import ONE_ANSWER, Operation, Written, linearizable, register


def write(value: str, called: float, returned: float = inf) -> Operation:
    return Operation(called, returned, Written(value, value, returned != inf))


def read(value: str, called: float, returned: float) -> Operation:
    return Operation(called, returned, Written(None, value))


@pytest.mark.parametrize(
    "operations",
    [
        [],
        [write("b", 0, 1), read("b", 2, 3)],
        [write("b", 0, 5), read("a", 1, 2), read("b", 3, 4)],
        [write("b", 0), read("a", 1, 2), read("b", 3, 4)],
        [write("b", 0), read("a", 1, 2)],
        [write("b", 0, 5), write("c", 0, 5), read("c", 6, 7)],
    ],
)
def test_concurrent_operations_may_happen_in_any_order(operations: list[Operation]) -> None:
    assert linearizable(register("a"), operations)


@pytest.mark.parametrize(
    "operations",
    [
        [read("b", 0, 1)],
        [write("b", 0, 1), read("a", 2, 3)],
        [write("b", 0, 5), read("b", 1, 2), read("a", 3, 4)],
        [write("b", 0, 1), write("c", 2, 3), read("b", 4, 5)],
        [write("b", 3), read("b", 1, 2)],
    ],
)
def test_an_answer_from_the_past_or_the_future_is_found(operations: list[Operation]) -> None:
    assert not linearizable(register("a"), operations)


def test_a_key_has_one_answer() -> None:
    assert linearizable(ONE_ANSWER, [read("x", 0, 1), read("x", 0.5, 3), Operation(2, inf, Written(None, "", False))])
    assert not linearizable(ONE_ANSWER, [read("x", 0, 1), read("y", 2, 3)])
