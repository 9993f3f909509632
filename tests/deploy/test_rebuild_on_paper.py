"""What a rebuild of a million orders takes on paper."""

import pytest

from scripts.local.bench_rebuild_paper import ORDERS, on_paper, seconds_under_ramp


def test_a_slow_rebuild_takes_its_own_time() -> None:
    assert seconds_under_ramp(1000, 100) == 10
    assert seconds_under_ramp(600_000, 400) == 1500


def test_firestores_ramp_bounds_a_fast_one() -> None:
    """500 a second for five minutes, then 750, then 1,125."""
    assert seconds_under_ramp(150_000, 10_000) == 300
    assert seconds_under_ramp(375_000, 10_000) == 600
    assert seconds_under_ramp(712_500, 700) == pytest.approx(300 + (712_500 - 150_000) / 700)


def test_the_database_bounds_the_fastest() -> None:
    later = seconds_under_ramp(200_000_000, 50_000) - seconds_under_ramp(100_000_000, 50_000)
    assert later == 100_000_000 / 10_000


def test_more_instances_are_faster_until_firestore_is_the_bound() -> None:
    one, ten, hundred = on_paper(400.0)
    assert one.seconds == ORDERS / 400
    assert one.seconds > ten.seconds >= hundred.seconds
    assert (one.bound, hundred.bound) == ("instances", "Firestore's ramp")
    assert hundred.dollars > ten.dollars > ORDERS * 0.0000009
