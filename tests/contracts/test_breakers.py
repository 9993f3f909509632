"""What keeps failing is left alone for a while; what answers, even with a refusal, is not."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from uuid_utils.compat import uuid7

from shared.domain.errors import Rejected, Unavailable
from shared.resilience import breakers
from shared.resilience.breakers import FAIL_MAX, guarded, states


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> str:
    """A dependency of its own, whose breaker opens for a moment only."""
    monkeypatch.setattr(breakers, "RESET_TIMEOUT", 0.2)
    return f"dependency {uuid7()}"


def fail(name: str) -> None:
    with pytest.raises(Unavailable, match="down"), guarded(name):
        raise Unavailable("down")


def test_it_opens_after_failures_in_a_row_and_then_refuses_at_once(name: str) -> None:
    for _ in range(FAIL_MAX):
        assert states().get(name, "closed") == "closed"
        fail(name)
    assert states()[name] == "open"
    with pytest.raises(Unavailable, match="keeps failing") as refused, guarded(name):
        pytest.fail("was called although the breaker is open")
    assert refused.value.retry_after > 0


def test_a_success_in_between_starts_the_count_anew(name: str) -> None:
    for _ in range(3):
        for _ in range(FAIL_MAX - 1):
            fail(name)
        with guarded(name):
            pass
    assert states()[name] == "closed"


def test_a_refusal_is_no_failure(name: str) -> None:
    for _ in range(2 * FAIL_MAX):
        with pytest.raises(Rejected), guarded(name):
            raise Rejected("no")
    assert states()[name] == "closed"


def test_after_a_while_one_call_tries_and_closes_it(name: str) -> None:
    for _ in range(FAIL_MAX):
        fail(name)
    time.sleep(0.25)
    with guarded(name):
        pass
    assert states()[name] == "closed"


def test_a_trial_that_fails_opens_it_again(name: str) -> None:
    for _ in range(FAIL_MAX):
        fail(name)
    time.sleep(0.25)
    fail(name)
    assert states()[name] == "open"


def test_calls_run_at_the_same_time(name: str) -> None:
    together = Barrier(4)

    def call(_: int) -> int:
        with guarded(name):
            return together.wait(5)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(call, range(4))) == [0, 1, 2, 3]
