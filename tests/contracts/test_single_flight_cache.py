"""What is found out once for all who ask: never for one of them, and a failure never for long."""

import asyncio
import time
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
    """`asked`: how often. It takes a moment."""

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
async def test_who_asks_meanwhile_or_soon_gets_the_same_answer() -> None:
    kept, question = SingleFlightCache(), Question()
    assert await asyncio.gather(*(kept.get("it", 0.3, question.answer) for _ in range(50))) == [1] * 50
    assert await kept.get("it", 0.3, question.answer) == 1
    await asyncio.sleep(0.35)
    assert await kept.get("it", 0.3, question.answer) == 2
    assert await kept.get("something else", 0.3, question.answer) == 3


@concurrent
async def test_a_failure_is_told_to_those_who_wait_and_not_kept() -> None:
    kept, question = SingleFlightCache(), Question()
    question.fails = True
    failed = await asyncio.gather(*(kept.get("it", 9, question.answer) for _ in range(5)), return_exceptions=True)
    assert [type(error) for error in failed] == [Unavailable] * 5
    question.fails = False
    assert await kept.get("it", 9, question.answer) == question.asked == 2


@concurrent
async def test_who_has_less_time_waits_no_longer_and_takes_it_from_nobody() -> None:
    kept, question = SingleFlightCache(), Question(0.4)
    began = time.monotonic()
    with deadline(0.1), pytest.raises(TimedOut):
        await kept.get("it", 9, question.answer)
    assert time.monotonic() - began < 0.35
    assert await kept.get("it", 9, question.answer) == question.asked == 1


@concurrent
async def test_the_first_who_asks_may_go_away() -> None:
    kept, question = SingleFlightCache(), Question(0.2)
    first = asyncio.create_task(kept.get("it", 9, question.answer))
    await asyncio.sleep(0.05)
    first.cancel()
    assert await kept.get("it", 9, question.answer) == question.asked == 1


@concurrent
async def test_it_is_found_out_without_the_deadline_of_who_asks() -> None:
    async def left() -> float:
        return time_left(60)

    with deadline(1):
        assert await SingleFlightCache().get("it", 9, left) == 60


def test_what_was_cut_off_with_its_loop_is_asked_again() -> None:
    kept, question = SingleFlightCache(), Question(5)

    async def impatient() -> None:
        with deadline(0.05), pytest.raises(TimedOut):
            await kept.get("it", 60, question.answer)

    asyncio.run(impatient())
    question.seconds = 0.0
    assert asyncio.run(kept.get("it", 60, question.answer)) == 2
