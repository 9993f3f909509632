"""Generations: a read model is rebuilt beside the one that clients read, then replaces it.

Each generation has its own collections. For each read model one document, `Generations`, names the
live generation and the other one; every process reads it again after `Pace.known_seconds`.
Projections write both, so switching between two complete generations takes one write of that
document.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from shared.domain.values import adapter
from shared.event_store.protocol import Checkpoint
from shared.read_models.comparison import Comparison
from shared.read_models.documents import COLLECTIONS, READ_MODELS
from shared.read_models.protocol import Change, Extent, Fields, Find, MakeChange, Queries, ReadModels, Where
from shared.resilience import clock

GENERATIONS = "generations"
"""The collection of the Generations documents, by read model."""

FAILURES = "_failures"
"""The end of the name of a collection that says why deliveries to a generation failed."""

PARTITIONS = "_partitions"
"""The end of the name of a collection with the partitions of a rebuild and its comparisons."""

MAX_RATE = 10_000
"""The highest limit of a rebuild, documents per second: what one Firestore database takes."""

_MAX_ERROR = 1000  # characters


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
    state: Literal["BUILDING", "KEPT", "CANCELLED", "DROPPED"] | None = None
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

    @property
    def is_comparing(self) -> bool:
        return self.comparison is not None and self.comparison.ended is None

    @property
    def written(self) -> list[int]:
        """Return the generations that projections write, the live one first."""
        return [self.live, self.other] if self.other and self.state in ("BUILDING", "KEPT") else [self.live]

    def is_due(self, pace: Pace) -> bool:
        """Return whether it is time for the pass or deletion to go on. After some passes in vain
        the next ones come less often, up to 64 times."""
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


_FIRST = Generations()
_READ_MODEL_OF = {name: one.read_model for one in COLLECTIONS for name in (one.name, one.read_model)}


def change_generations(
    models: ReadModels, read_model: str, step: Callable[[Generations], Generations | None]
) -> Generations:
    """Change a read model's generations atomically and return them; None changes nothing."""
    after = _FIRST

    def change(stored: Fields | None) -> Change | None:
        nonlocal after
        before = adapter(Generations).validate_python(stored) if stored else _FIRST
        after = step(before) or before
        return None if after == before else Change(adapter(Generations).dump_python(after, mode="json"))

    models.update(GENERATIONS, read_model, change)
    return after


def generations_of(models: ReadModels, read_model: str) -> Generations:
    return change_generations(models, read_model, lambda _: None)


class EveryGeneration:
    """The side of the projections: writes every generation that is kept up to date."""

    def __init__(self, models: ReadModels, known_seconds: float = Pace.known_seconds) -> None:
        self.models = models
        self._known_seconds = known_seconds
        self._known: dict[str, tuple[float, Generations]] = {}

    def update(self, collection: str, key: str, change: MakeChange, version: int | None = None) -> None:
        """Update all generations, even if one fails; then raise the first error."""
        now, errors = self._known_generations(collection), dict[int, Exception]()
        for generation in now.written:
            try:
                self.models.update(stored_in(collection, generation), key, _within(generation, change), version)
            except Exception as error:  # a faulty document must not prevent its repair
                errors[generation] = error
        if now.state == "BUILDING" and now.other in errors:
            why = f"{type(errors[now.other]).__name__}: {errors[now.other]}"[:_MAX_ERROR]
            self.models.update(stored_in(collection + FAILURES, now.other), key, lambda _: Change({"error": why}))
        if errors:
            raise next(iter(errors.values()))

    def create(self, collection: str, changes: Mapping[str, Change]) -> int:
        return self.models.create(collection, changes)

    def delete(self, collection: str, limit: int) -> int:
        return self.models.delete(collection, limit)

    def _known_generations(self, collection: str) -> Generations:
        read_model = _READ_MODEL_OF.get(collection)
        if read_model is None:
            return _FIRST
        known = self._known.get(read_model)
        if known is None or clock.monotonic() - known[0] >= self._known_seconds:
            known = self._known[read_model] = clock.monotonic(), generations_of(self.models, read_model)
        return known[1]


def _within(generation: int, change: MakeChange) -> MakeChange:
    """Return the same change with its increments in the same generation."""

    def changed(stored: Fields | None) -> Change | None:
        made = change(stored)
        return None if made is None else in_generation(made, generation)

    return changed


def in_generation(made: Change, generation: int) -> Change:
    """Return the change with its increments in this generation."""
    increments = [replace(one, collection=stored_in(one.collection, generation)) for one in made.increments]
    return replace(made, increments=increments)


class LiveGeneration:
    """The side of the clients, for the live generation of each read model."""

    def __init__(self, queries: Queries, known_seconds: float = Pace.known_seconds) -> None:
        self.queries = queries
        self._known_seconds = known_seconds
        self._known: tuple[float, Mapping[str, Generations]] | None = None

    async def get_many(self, collection: str, keys: Sequence[str], only: Sequence[str] = ()) -> Mapping[str, Fields]:
        return await self.queries.get_many(await self._live(collection), keys, only)

    async def find(self, find: Find) -> Sequence[Fields]:
        return await self.queries.find(replace(find, collection=await self._live(find.collection)))

    async def count(self, collection: str, where: Sequence[Where]) -> int:
        return await self.queries.count(await self._live(collection), where)

    async def extent(self, collection: str) -> Extent:
        return await self.queries.extent(await self._live(collection))

    async def generations(self) -> Mapping[str, Generations]:
        """Read the generations of each read model now."""
        asked_at = clock.monotonic()
        stored = await self.queries.get_many(GENERATIONS, READ_MODELS)
        generations = {
            name: adapter(Generations).validate_python(stored[name]) if name in stored else _FIRST
            for name in READ_MODELS
        }
        self._known = asked_at, generations
        return generations

    async def _live(self, collection: str) -> str:
        """Return where the live generation has a collection."""
        known = self._known
        if known is None or clock.monotonic() - known[0] >= self._known_seconds:
            known = clock.monotonic(), await self.generations()
        read_model = _READ_MODEL_OF.get(collection)
        return stored_in(collection, known[1][read_model].live if read_model else 1)
