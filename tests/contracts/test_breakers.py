"""A dependency that keeps failing is not called for a while; one that answers, even with a refusal,
is."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from inspect import CORO_CLOSED, getcoroutinestate
from threading import Barrier, Event

import pytest
from structlog.testing import capture_logs

from shared.domain.errors import Rejected, TimedOut, Unavailable
from shared.resilience import clock
from shared.resilience.breakers import Breaker, BreakerOpen, Breakers
from shared.resilience.calls import OutOfTime, awaited, deadline, time_left

FAIL_MAX, RESET = 5, 60.0
PATIENCE = 60
"""Seconds in which a thread of a test does its part; the machine may be busy."""


class Stopwatch(clock.World):
    """A machine whose monotonic clock the test moves, and whose wall clock is of no use."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def world() -> Iterator[Stopwatch]:
    world = Stopwatch()
    with clock.use(world):
        yield world


@pytest.fixture
def breaker(world: Stopwatch) -> Breaker:
    """A breaker whose time passes only when the test moves the clock."""
    return Breaker("the provider", FAIL_MAX, RESET)


def fail(breaker: Breaker, caller: object = None) -> None:
    with pytest.raises(Unavailable, match="down"), breaker.guard(caller):
        raise Unavailable("down")


def opened(breaker: Breaker) -> Breaker:
    for _ in range(FAIL_MAX):
        fail(breaker)
    return breaker


def test_a_breaker_opens_after_failures_in_a_row_and_then_refuses_at_once(breaker: Breaker) -> None:
    for _ in range(FAIL_MAX):
        assert breaker.state == "closed"
        fail(breaker)
    assert breaker.state == "open"
    with pytest.raises(Unavailable, match="the provider keeps failing") as refused, breaker.guard():
        pytest.fail("was called although the breaker is open")
    assert refused.value.retry_after > 0


def test_a_success_resets_the_count_of_failures(breaker: Breaker) -> None:
    for _ in range(3):
        for _ in range(FAIL_MAX - 1):
            fail(breaker)
        with breaker.guard():
            pass
    assert breaker.state == "closed"


def test_a_caller_that_fails_again_and_again_does_not_open_the_breaker(breaker: Breaker) -> None:
    for attempt in range(3 * FAIL_MAX):
        fail(breaker, f"order {attempt % (FAIL_MAX - 1)}")
    assert breaker.state == "closed"


def test_failures_of_different_callers_open_the_breaker_for_all(breaker: Breaker) -> None:
    for attempt in range(FAIL_MAX):
        assert breaker.state == "closed"
        fail(breaker, f"order {attempt}")
    with pytest.raises(BreakerOpen), breaker.guard("another order"):
        pytest.fail("was called although the breaker is open")


def test_a_success_of_any_caller_resets_the_failures_of_all(breaker: Breaker) -> None:
    for attempt in range(3 * FAIL_MAX):
        fail(breaker, f"order {attempt}")
        if attempt % 2:
            with breaker.guard("a healthy order"):
                pass
    assert breaker.state == "closed"


def test_a_call_that_had_begun_before_the_breaker_opened_closes_it_with_its_success(breaker: Breaker) -> None:
    with breaker.guard():
        opened(breaker)
    assert breaker.state == "closed"


def test_a_success_lets_all_calls_through_although_a_trial_call_is_still_under_way(
    breaker: Breaker, world: Stopwatch
) -> None:
    with breaker.guard():
        opened(breaker)
        world.seconds += RESET + 0.05
        trial = breaker.guard()
        trial.__enter__()
    assert breaker.state == "closed"
    with breaker.guard():
        pass
    trial.__exit__(None, None, None)
    assert breaker.state == "closed"


def test_a_trial_call_that_is_given_up_lets_the_next_one_through(breaker: Breaker, world: Stopwatch) -> None:
    opened(breaker)
    world.seconds += RESET + 0.05
    with pytest.raises(KeyboardInterrupt), breaker.guard():
        raise KeyboardInterrupt
    assert breaker.state == "half-open"
    with breaker.guard():
        pass
    assert breaker.state == "closed"


def test_a_call_without_time_for_its_next_part_neither_opens_nor_closes_the_breaker(breaker: Breaker) -> None:
    for _ in range(FAIL_MAX - 1):
        fail(breaker)
    with pytest.raises(TimedOut), breaker.guard():
        raise OutOfTime("the time for this request is up")
    assert breaker.state == "closed"
    fail(breaker)
    assert breaker.state == "open"


def test_a_refusal_is_not_a_failure(breaker: Breaker) -> None:
    for _ in range(2 * FAIL_MAX):
        with pytest.raises(Rejected), breaker.guard():
            raise Rejected("no")
    assert breaker.state == "closed"


def test_a_timeout_is_a_failure(breaker: Breaker) -> None:
    for _ in range(FAIL_MAX):
        with pytest.raises(TimedOut), breaker.guard():
            raise TimedOut("late")
    assert breaker.state == "open"


def test_a_successful_trial_call_closes_the_breaker(breaker: Breaker, world: Stopwatch) -> None:
    opened(breaker)
    world.seconds += RESET + 0.05
    with breaker.guard():
        assert breaker.state == "half-open"
    assert breaker.state == "closed"


def test_a_failed_trial_call_opens_the_breaker_again(breaker: Breaker, world: Stopwatch) -> None:
    opened(breaker)
    world.seconds += RESET + 0.05
    fail(breaker)
    assert breaker.state == "open"


def test_only_one_trial_call_runs_at_a_time(breaker: Breaker, world: Stopwatch) -> None:
    opened(breaker)
    world.seconds += RESET + 0.05
    trying, done = Event(), Event()

    def trial() -> None:
        with breaker.guard():
            trying.set()
            done.wait(PATIENCE)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(trial)
        assert trying.wait(PATIENCE)
        for _ in range(3):
            with pytest.raises(Unavailable, match="keeps failing"), breaker.guard():
                pytest.fail("a second call was let through")
        done.set()
        first.result(PATIENCE)
    assert breaker.state == "closed"


def test_calls_run_at_the_same_time(breaker: Breaker) -> None:
    together = Barrier(4)

    def call(_: int) -> int:
        with breaker.guard():
            return together.wait(PATIENCE)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(call, range(4))) == [0, 1, 2, 3]


def test_opening_is_logged_once_even_when_many_calls_fail_together(breaker: Breaker) -> None:
    together = Barrier(3 * FAIL_MAX)

    def call(_: int) -> None:
        with suppress(Unavailable), breaker.guard():
            together.wait(PATIENCE)
            raise Unavailable("down")

    with capture_logs() as lines, ThreadPoolExecutor(3 * FAIL_MAX) as pool:
        list(pool.map(call, range(3 * FAIL_MAX)))
    assert [(line["before"], line["now"]) for line in lines] == [("closed", "open")]


def test_each_dependency_has_its_own_breaker() -> None:
    breakers = Breakers(FAIL_MAX, RESET)
    opened(breakers["payments"])
    with breakers["shipping"].guard():
        pass
    assert breakers.states() == {"payments": "open", "shipping": "closed"}


def test_without_a_deadline_a_call_has_its_own_limit() -> None:
    assert time_left(3) == 3


def test_a_call_gets_at_most_the_time_that_is_left(world: Stopwatch) -> None:
    with deadline(0.2):
        assert time_left(3) == 0.2
        assert time_left(0.01) == 0.01


def test_a_deadline_inside_another_can_only_be_earlier(world: Stopwatch) -> None:
    with deadline(0.2), deadline(60):
        assert time_left(60) == 0.2


def test_when_the_time_is_up_no_further_call_is_made(world: Stopwatch) -> None:
    with deadline(0.01):
        world.seconds += 0.02
        with pytest.raises(TimedOut):
            time_left(3)


@pytest.mark.filterwarnings("error")
def test_when_the_time_is_up_a_coroutine_is_not_begun_and_not_forgotten() -> None:
    async def ask() -> None:
        raise AssertionError("it was begun")

    asking = ask()
    with deadline(0), pytest.raises(OutOfTime):
        awaited(asking, 1)
    assert getcoroutinestate(asking) == CORO_CLOSED, "Python would warn that nobody has awaited it"


def test_a_fault_in_our_code_does_not_open_the_breaker(breaker: Breaker) -> None:
    for _ in range(2 * FAIL_MAX):
        with pytest.raises(KeyError), breaker.guard():
            raise KeyError("what one client asked for")
    assert breaker.state == "closed"


def test_a_caller_without_time_makes_no_call_and_counts_as_no_failure(breaker: Breaker, world: Stopwatch) -> None:
    for _ in range(2 * FAIL_MAX):
        with deadline(0.001):
            world.seconds += 0.002
            with pytest.raises(TimedOut), breaker.guard():
                pytest.fail("was called although there is no time left")
    assert breaker.state == "closed"


def test_a_breaker_stays_open_by_the_clock_that_never_jumps(breaker: Breaker, world: Stopwatch) -> None:
    opened(breaker)
    world.seconds = RESET - 30  # pybreaker reads the real clock twice, between which a busy machine may stop
    with pytest.raises(BreakerOpen), breaker.guard():
        pytest.fail("was called although the breaker is open")
    world.seconds = RESET + 0.01
    with breaker.guard():
        assert breaker.state == "half-open"
