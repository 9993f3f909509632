"""An answer is computed once for all callers, belongs to none of them, and is not cached when it
failed."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from typing import Any

import pytest

from shared.domain.errors import TimedOut, Unavailable
from shared.resilience import clock
from shared.resilience.calls import SingleFlightCache, deadline, time_left
from tests.fakes import MovableClock

Test = Callable[..., Coroutine[Any, Any, None]]


def concurrent(test: Test) -> Callable[..., None]:
    @wraps(test)
    def run(*given: Any, **named: Any) -> None:
        asyncio.run(test(*given, **named))

    return run


class Question:
    """An answer that takes a moment, or waits for `may_end`. `asked`: how often it was computed."""

    def __init__(self, may_end: asyncio.Event | None = None) -> None:
        self.may_end = may_end
        self.asked = 0
        self.fails = False

    async def answer(self) -> int:
        self.asked += 1
        await (self.may_end.wait() if self.may_end else asyncio.sleep(0.05))
        if self.fails:
            raise Unavailable("down")
        return self.asked


@pytest.fixture
def stopped_clock() -> Iterator[MovableClock]:
    """A clock that only the test moves: answers do not age while the machine is busy."""
    machine = MovableClock()
    machine.stop()
    with clock.use(machine):
        yield machine


@concurrent
async def test_concurrent_and_later_callers_get_the_same_answer(stopped_clock: MovableClock) -> None:
    cache, question = SingleFlightCache(), Question()
    assert await asyncio.gather(*(cache.get("it", 0.3, question.answer) for _ in range(50))) == [1] * 50
    assert await cache.get("it", 0.3, question.answer) == 1
    stopped_clock.move(0.35)
    assert await cache.get("it", 0.3, question.answer) == 2
    assert await cache.get("something else", 0.3, question.answer) == 3


@concurrent
async def test_a_failure_is_raised_to_waiting_callers_and_not_cached() -> None:
    cache, question = SingleFlightCache(), Question()
    question.fails = True
    failed = await asyncio.gather(*(cache.get("it", 9, question.answer) for _ in range(5)), return_exceptions=True)
    assert [type(error) for error in failed] == [Unavailable] * 5
    question.fails = False
    assert await cache.get("it", 9, question.answer) == question.asked == 2


@concurrent
async def test_a_caller_with_less_time_gives_up_without_stopping_the_others() -> None:
    may_end = asyncio.Event()
    cache, question = SingleFlightCache(), Question(may_end)
    other = asyncio.create_task(cache.get("it", 9, question.answer))
    with deadline(0.1), pytest.raises(TimedOut):
        await cache.get("it", 9, question.answer)
    assert not other.done()
    may_end.set()
    assert await other == question.asked == 1


@concurrent
async def test_the_first_caller_may_be_cancelled() -> None:
    may_end = asyncio.Event()
    cache, question = SingleFlightCache(), Question(may_end)
    first = asyncio.create_task(cache.get("it", 9, question.answer))
    while not question.asked:
        await asyncio.sleep(0)
    first.cancel()
    may_end.set()
    assert await cache.get("it", 9, question.answer) == question.asked == 1


@concurrent
async def test_an_answer_is_computed_without_the_deadline_of_its_first_caller() -> None:
    async def left() -> float:
        return time_left(60)

    with deadline(14):
        assert await SingleFlightCache().get("it", 9, left) == 60


def test_an_answer_that_ended_with_its_loop_is_computed_again() -> None:
    cache, question = SingleFlightCache(), Question()

    async def impatient() -> None:
        question.may_end = asyncio.Event()  # which is never set
        asking = asyncio.create_task(cache.get("it", 60, question.answer))
        while not question.asked:
            await asyncio.sleep(0)
        assert not asking.done()

    asyncio.run(impatient())
    question.may_end = None
    assert asyncio.run(cache.get("it", 60, question.answer)) == 2
