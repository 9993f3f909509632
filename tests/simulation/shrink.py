"""Make a broken history small, and tell it in plain words."""

import re
from collections.abc import Callable, Iterator

from tests.simulation.history import Outcome, play
from tests.simulation.tape import Choices, smaller

Play = Callable[[Choices], Outcome]


def shrink(outcome: Outcome, attempts: int = 400, play: Play = lambda choices: play(None, choices)) -> Outcome:
    """Return a history with fewer choices that breaks the same promise, after at most so many
    attempts."""
    kind, left = kind_of(outcome), attempts
    progress = True
    while progress and left > 0:
        progress = False
        for choices in smaller(outcome.choices):
            if left <= 0:
                break
            if len(choices) == len(outcome.choices) and choices == outcome.choices:
                continue
            left -= 1
            tried = play(choices)
            if tried.broken and kind_of(tried) == kind and _size(tried.choices) < _size(outcome.choices):
                outcome, progress = tried, True
                break
    return outcome


def _size(choices: Choices) -> tuple[int, int]:
    return len(choices), sum(choices.values())


def kind_of(outcome: Outcome) -> str:
    """Return the first broken promise without its ids and numbers."""
    return re.sub(r"[0-9a-f]{4,}(-[0-9a-f]{4,})*|\d+", "N", outcome.broken[0])[:60]


def story(outcome: Outcome) -> Iterator[str]:
    """Yield who did what, and when; then what was lost."""
    for at, who, what in outcome.story:
        yield f"{_moment(at):>14}  {who}: {what}"
    for sentence in outcome.broken:
        yield f"BROKEN: {sentence}"


def _moment(seconds: float) -> str:
    days, rest = divmod(seconds, 86400)
    hours, minutes = divmod(rest, 3600)
    return f"{f'{days:.0f}d ' if days else ''}{hours:.0f}:{minutes // 60:02.0f}:{minutes % 60:06.3f}"
