"""Stops: an admin lets a projection rest for a while, to show what depends on it.

A stop is one document beside the read models, which every process reads again after
`Pace.known_seconds`. While it lasts, each message for the projection waits in the saga outbox and
is published again every few seconds, which uses up no attempt: nothing is lost, and no dead letter
is made. A stop ends by itself, so a forgotten one does no harm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.values import adapter
from shared.read_models.documents import READ_MODELS
from shared.read_models.generations import Pace
from shared.read_models.protocol import Change, Fields, Queries, ReadModels
from shared.resilience import clock
from shared.resilience.calls import NotCalled

STOPS = "stops"
"""The collection of the Stop documents, by read model."""

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


def stop(models: ReadModels, read_model: str, by: str, minutes: int) -> None:
    """Stop a read model's projection from now on, in every process within `Pace.known_seconds`."""
    now = clock.now()
    wanted = adapter(Stop).dump_python(Stop(by, now, now + timedelta(minutes=minutes)), mode="json")
    models.update(STOPS, read_model, lambda _: Change(wanted))


def start(models: ReadModels, read_model: str) -> None:
    """End a stop. Does nothing when there is none."""

    def ended(stored: Fields | None) -> Change | None:
        now = _lasting(stored)
        return Change({"until": clock.now().isoformat()}) if now else None

    models.update(STOPS, read_model, ended)


async def stops(queries: Queries) -> Mapping[str, Stop]:
    """Return the stops that last now, by read model."""
    stored = await queries.get_many(STOPS, READ_MODELS)
    found = {name: _lasting(stored.get(name)) for name in READ_MODELS}
    return {name: one for name, one in found.items() if one}


def _lasting(stored: Fields | None) -> Stop | None:
    found: Stop | None = adapter(Stop).validate_python(stored) if stored else None
    return found if found and found.lasts else None


class Stops:
    """The side of the projections: refuses what comes for a stopped one."""

    def __init__(self, known_seconds: float = Pace.known_seconds) -> None:
        self._known_seconds = known_seconds
        self._known: dict[str, tuple[float, Stop | None]] = {}

    def refuse_stopped(self, models: ReadModels, read_model: str) -> None:
        """Raise Stopped while the read model's projection is stopped."""
        known = self._known.get(read_model)
        if known is None or clock.monotonic() - known[0] >= self._known_seconds:
            known = self._known[read_model] = clock.monotonic(), _read(models, read_model)
        if known[1] and known[1].lasts:
            raise Stopped(f"project_{read_model}", "is stopped for a trial", _AGAIN_SECONDS)


def _read(models: ReadModels, read_model: str) -> Stop | None:
    found: Stop | None = None

    def look(stored: Fields | None) -> None:
        nonlocal found
        found = _lasting(stored)

    models.update(STOPS, read_model, look)
    return found
