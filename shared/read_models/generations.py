"""Generations: a read model is rebuilt beside the one that clients read, then replaces it.

Each generation has its own collections. For each read model one document, `Generations`, names the
live generation and the other one; every process reads it again after `Pace.known_seconds`.
Projections write both, so switching between two complete generations takes one write of that
document.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from shared.domain.values import adapter
from shared.event_store.protocol import Checkpoint
from shared.read_models.comparison import Comparison
from shared.read_models.protocol import Change, Fields, ReadModels
from shared.read_models.stop import Stop
from shared.resilience import clock

GENERATIONS = "generations"
"""The collection of the Generations documents, by read model."""

FAILURES = "_failures"
"""The end of the name of a collection that says why deliveries to a generation failed."""

PARTITIONS = "_partitions"
"""The end of the name of a collection with the partitions of a rebuild and its comparisons."""

MAX_RATE = 10_000
"""The highest limit of a rebuild, documents per second: what one Firestore database takes."""


@dataclass(frozen=True)
class Pace:
    """The pace of rebuilds, which must be the same in all processes.

    `known_seconds`: how long a process uses the generations that it has read. `settled_seconds`:
    after so long a message has been written or will be delivered again. `page`: streams to check,
    or documents to delete, at once; Firestore deletes 500 at most.
    """

    known_seconds: float = 2.0
    settled_seconds: float = 10.0
    page: int = 500


@dataclass(frozen=True)
class IncompleteStream:
    """A stream with events that the new generation lacks. `error`: why a delivery failed last."""

    stream: str
    error: str | None = None


State = Literal["BUILDING", "KEPT", "CANCELLED", "DROPPED"]


@dataclass(frozen=True)
class Generations:
    """The generations of one read model, under the names that existing installations have stored.

    - `live`: the generation that clients read. `newest`: the highest number so far.
    - `other`: BUILDING, being filled, then compared; KEPT, complete and written; CANCELLED, partial
      and no longer written; DROPPED, not written and being deleted. `unread`: it has never been
      live.
    - `limit`: the most documents per second that all workers of the rebuild write together.
      `switch`: whether it goes live by itself when the comparison finds no difference.
    - `partitions`: how many the first pass has made. `filling_since`, `filled_at`: when it began
      and ended.
    - `comparison`: the last one of these two generations.
    - `last_stop`: the last stop of the projection, which may have ended.
    - `since`: when this state or the present pass over the streams began, UTC. For pace only: the
      clocks of two processes may differ, so no decision about completeness compares times.
    - `until`: the place in the log to which a rebuild fills the new generation; deliveries do the
      rest. `events`: how many events the read model must have applied by then.
    - `wanted`: the streams that the pass checks; empty for all. `places`: the position of the last
      checked event, by aggregate. `passes`: finished passes that found missing events.
    - `checked`: how many streams the pass has checked. `behind`: how many of them lacked events.
      `late`: these, while they are few. `incomplete`: the first of these, with their errors.
      `missing_events`: how many events a pass lacked that found no incomplete stream.
    """

    live: int = 1
    other: int | None = None
    state: State | None = None
    newest: int = 1
    since: datetime | None = None
    wanted: tuple[str, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)
    checked: int = 0
    behind: int = 0
    late: tuple[str, ...] = ()
    passes: int = 0
    until: Checkpoint | None = None
    events: int = 0
    incomplete: tuple[IncompleteStream, ...] = ()
    missing_events: int = 0
    unread: bool = False
    limit: int | None = None
    switch: bool = True
    partitions: int = 0
    filling_since: datetime | None = None
    filled_at: datetime | None = None
    comparison: Comparison | None = None
    last_stop: Stop | None = None

    @property
    def stop(self) -> Stop | None:
        """Return the stop that lasts now."""
        return self.last_stop if self.last_stop and self.last_stop.lasts else None

    def beside(self, other: int | None = None, state: State | None = None) -> "Generations":
        """Keep the live generation and the stop, and replace the other generation by one that
        begins now, or by none."""
        since = clock.now() if other else None
        return Generations(self.live, other, state, max(self.newest, other or 0), since, last_stop=self.last_stop)

    @property
    def is_comparing(self) -> bool:
        return self.comparison is not None and self.comparison.ended is None

    @property
    def written(self) -> list[int]:
        """Return the generations that projections write, the live one first."""
        return [self.live, self.other] if self.other and self.state in ("BUILDING", "KEPT") else [self.live]

    def is_due(self, pace: Pace) -> bool:
        """Return whether it is time for the pass or deletion to go on. After some passes in vain
        the next ones come less often, up to 64 times. Nothing is filled or compared while the
        projection is stopped: it would refuse every message."""
        if self.stop and self.state != "DROPPED":
            return False
        if self.is_comparing:
            return True
        if self.since is None or self.state not in ("BUILDING", "DROPPED"):
            return False
        wait = (pace.known_seconds + pace.settled_seconds) * 2 ** min(6, max(0, self.passes - 4))
        return not 0 <= (clock.now() - self.since).total_seconds() < wait  # below 0: clocks differ


def stored_in(collection: str, generation: int) -> str:
    """Return a generation's path of a collection; its last part, which indexes go by, is the
    same."""
    return collection if generation == 1 else f"{GENERATIONS}/{generation}/{collection}"


FIRST = Generations()


def change_generations(
    models: ReadModels, read_model: str, step: Callable[[Generations], Generations | None]
) -> Generations:
    """Change a read model's generations atomically and return them; None changes nothing."""
    after = FIRST

    def change(stored: Fields | None) -> Change | None:
        nonlocal after
        before = adapter(Generations).validate_python(stored) if stored else FIRST
        after = step(before) or before
        return None if after == before else Change(adapter(Generations).dump_python(after, mode="json"))

    models.update(GENERATIONS, read_model, change)
    return after


def generations_of(models: ReadModels, read_model: str) -> Generations:
    return change_generations(models, read_model, lambda _: None)
