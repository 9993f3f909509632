"""Histories with even seeds; test_odd_seeds.py has the others, so that two test processes share
them."""

import pytest

from tests.simulation.run import LEAST, PARTS, play_part


@pytest.mark.parametrize("part", range(0, PARTS, 2))
def test_no_history_breaks_a_promise(part: int) -> None:
    done = play_part(part)
    assert done.broken == {}, "scripts/simulate --seed N tells the history"
    assert done.histories >= LEAST
