"""A stop: an admin stops a projection for a while, to show what depends on it.

It is kept beside the generations of the read model, which every process reads again after
`Pace.known_seconds`. While it lasts, each message for the projection waits in the saga outbox and
is published again, by `relay_outbox` within a minute, which uses up no attempt: nothing is lost,
and no dead letter is made. A rebuild waits too. A stop ends by itself, so a forgotten one does no
harm.
"""

from dataclasses import dataclass
from datetime import datetime

from shared.resilience import clock
from shared.resilience.calls import NotCalled

MOST_MINUTES = 60
_AGAIN_SECONDS = 4.0


@dataclass(frozen=True)
class Stop:
    """`by`: the admin. `since`, `until`: UTC; it ends before `until` when an admin ends it."""

    by: str
    since: datetime
    until: datetime

    @property
    def lasts(self) -> bool:
        return clock.now() < self.until

    def __str__(self) -> str:
        return f"{self.by} stopped it at {self.since:%H:%M:%S} UTC; it goes on by {self.until:%H:%M:%S} UTC"


class Stopped(NotCalled):
    """The projection is stopped: its message waits."""

    def __init__(self, projection: str) -> None:
        super().__init__(projection, "is stopped by an admin", _AGAIN_SECONDS)
