"""An answer is computed once for all callers, belongs to none of them, and is not cached when it
failed."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from shared.domain.errors import TimedOut, Unavailable
from shared.resilience.calls import SingleFlightCache, deadline, time_left

Test = Callable[..., Coroutine[Any, Any, None]]


def concurrent(test: Test) -> Callable[..., None]:
    @wraps(test)
    def run(*given: Any, **named: Any) -> None:
        asyncio.run(test(*given, **named))

    return run


class Question:
    """An answer that takes a moment. `asked`: how often it was computed."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds
        self.asked = 0
        self.fails = False

    async def answer(self) -> int:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        if self.fails:
            raise Unavailable("down")
        return self.asked


@concurrent
async def test_concurrent_and_later_callers_get_the_same_answer() -> None:
    cache, question = SingleFlightCache(), Question()
    assert await asyncio.gather(*(cache.get("it", 0.3, question.answer) for _ in range(50))) == [1] * 50
    assert await cache.get("it", 0.3, question.answer) == 1
    await asyncio.sleep(0.35)
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
    cache, question = SingleFlightCache(), Question(0.4)
    other = asyncio.create_task(cache.get("it", 9, question.answer))
    with deadline(0.1), pytest.raises(TimedOut):
        await cache.get("it", 9, question.answer)
    assert not other.done()
    assert await other == question.asked == 1


@concurrent
async def test_the_first_caller_may_be_cancelled() -> None:
    cache, question = SingleFlightCache(), Question(0.2)
    first = asyncio.create_task(cache.get("it", 9, question.answer))
    await asyncio.sleep(0.05)
    first.cancel()
    assert await cache.get("it", 9, question.answer) == question.asked == 1


@concurrent
async def test_an_answer_is_computed_without_the_deadline_of_its_first_caller() -> None:
    async def left() -> float:
        return time_left(60)

    with deadline(1):
        assert await SingleFlightCache().get("it", 9, left) == 60


def test_an_answer_that_ended_with_its_loop_is_computed_again() -> None:
    cache, question = SingleFlightCache(), Question(5)

    async def impatient() -> None:
        with deadline(0.05), pytest.raises(TimedOut):
            await cache.get("it", 60, question.answer)

    asyncio.run(impatient())
    question.seconds = 0.0
    assert asyncio.run(cache.get("it", 60, question.answer)) == 2
