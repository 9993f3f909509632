"""Generations: a read model is rebuilt beside the one that is read, and takes its place once it holds as much.

Each generation has collections of its own. One document for each read model says which generation is read and which other
one is written as well; every process looks at it again after KNOWN_SECONDS. While there are two, whatever is delivered goes
into both, so either can be read at any moment: going back is a matter of one document.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Strict

from shared.domain.commands import wire_command
from shared.domain.errors import Invalid, Rejected
from shared.domain.values import Token, adapter
from shared.read_models.project import FED_BY
from shared.read_models.protocol import Change, Extent, Fields, Find, Queries, ReadModels
from shared.resilience import clock

GENERATIONS = "generations"
"""The collection of those documents, by read model."""

KNOWN_SECONDS = 2.0
SETTLED = timedelta(seconds=10)
"""After so long every process knows of a change, and what it was delivered before has been written or will come again."""

State = Literal["BUILDING", "KEPT", "DROPPED"]


@dataclass(frozen=True)
class Generations:
    """`live`: the one that is read. `other`, BUILDING: being filled; KEPT: holds as much as the live one; DROPPED: no longer
    written, and being deleted. `since`: when that began, or the present pass over all streams did, UTC.

    Of that pass, `wanted`: the streams it looks at, empty: all; `places`: how far it has come for each kind of stream, as
    the number of an event; `checked`: streams so far; `behind`: how many of these had not come as far as they should, and
    `late`: which, while they are few. `passes`: how many there have been that found any."""

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

    @property
    def written(self) -> list[int]:
        return [self.live] if self.other is None or self.state == "DROPPED" else [self.live, self.other]

    @property
    def is_due(self) -> bool:
        """To be gone on with: what was recorded until everybody knew is SETTLED old by now, and so is looked at."""
        if self.since is None or self.state not in ("BUILDING", "DROPPED"):
            return False
        return clock.now() - self.since >= SETTLED + timedelta(seconds=KNOWN_SECONDS)


def rebuilt(now: Generations) -> Generations:
    """With a new generation that is being filled. Asking twice is asking once."""
    if now.state == "BUILDING":
        return now
    if now.state == "KEPT":
        raise Rejected(f"generation {now.other} is still kept and written; drop it first", ("name",))
    if now.state == "DROPPED":
        raise Rejected(f"generation {now.other} is still being deleted; try again in a minute", ("name",))
    return Generations(now.live, now.newest + 1, "BUILDING", now.newest + 1, clock.now())


def switched(now: Generations, to: int) -> Generations:
    """With that generation live: forward once it is built, and back, and forward again. Asking twice is asking once."""
    if to == now.live:
        return now
    if to != now.other or now.state == "DROPPED":
        raise Rejected(f"there is no generation {to} to switch to", ("to",))
    if now.state == "BUILDING":
        raise Rejected(f"generation {to} is still being built; it is switched to when it is complete", ("to",))
    return Generations(to, now.live, "KEPT", now.newest, clock.now())


def dropped(now: Generations) -> Generations:
    """Without the other generation, whether it was complete or not."""
    if now.other is None or now.state == "DROPPED":
        return now
    return Generations(now.live, now.other, "DROPPED", now.newest, clock.now())


def place(collection: str, generation: int) -> str:
    """Where a generation has a collection. The last part is the same in all, and so are Firestore's indexes."""
    return collection if generation == 1 else f"{GENERATIONS}/{generation}/{collection}"


_READ_MODELS = {collection: name for name, sources in FED_BY.items() for _, collection in sources}


def change_generations(
    models: ReadModels, read_model: str, step: Callable[[Generations], Generations | None]
) -> Generations:
    """As they are after one step, taken all or not at all; None changes nothing."""
    after = Generations()

    def change(stored: Fields | None) -> Change | None:
        nonlocal after
        before = _from(stored)
        made = step(before)
        after = made or before
        return None if made in (None, before) else Change(adapter(Generations).dump_python(made, mode="json"))

    models.update(GENERATIONS, read_model, change)
    return after


def generations_of(models: ReadModels, read_model: str) -> Generations:
    return change_generations(models, read_model, lambda _: None)


def _from(stored: Fields | None) -> Generations:
    found: Generations = adapter(Generations).validate_python(stored or {})
    return found


class EveryGeneration:
    """The projections' side: what is written goes into every generation that is kept up to date, the live one first."""

    def __init__(self, models: ReadModels) -> None:
        self.models = models
        self._known: dict[str, tuple[float, Generations]] = {}

    def update(self, collection: str, key: str, change: Callable[[Fields | None], Change | None]) -> None:
        failed: list[Exception] = []
        for generation in self._written(collection):
            try:
                self.models.update(place(collection, generation), key, _in_generation(generation, change))
            except Exception as error:  # a document that is wrong must not keep the next generation from being made
                failed.append(error)
        if failed:
            raise failed[0]

    def delete(self, collection: str, limit: int) -> int:
        return self.models.delete(collection, limit)

    def _written(self, collection: str) -> list[int]:
        read_model = _READ_MODELS.get(collection)
        if read_model is None:
            return [1]
        known = self._known.get(read_model)
        if known is None or clock.monotonic() - known[0] >= KNOWN_SECONDS:
            known = clock.monotonic(), generations_of(self.models, read_model)
            self._known[read_model] = known
        return known[1].written


def _in_generation(
    generation: int, change: Callable[[Fields | None], Change | None]
) -> Callable[[Fields | None], Change | None]:
    """The change, counting in its own generation."""

    def changed(stored: Fields | None) -> Change | None:
        made = change(stored)
        return made and Change(
            made.fields, [replace(step, collection=place(step.collection, generation)) for step in made.increments]
        )

    return changed


class OneGeneration:
    """The clients' side of one generation."""

    def __init__(self, queries: Queries, generation: int) -> None:
        self._queries = queries
        self._generation = generation

    async def get_many(self, collection: str, keys: Sequence[str]) -> Mapping[str, Fields]:
        return await self._queries.get_many(place(collection, self._generation), keys)

    async def find(self, find: Find) -> Sequence[Fields]:
        return await self._queries.find(replace(find, collection=place(find.collection, self._generation)))

    async def extent(self, collection: str) -> Extent:
        return await self._queries.extent(place(collection, self._generation))


class LiveGeneration:
    """The clients' side: of each read model the generation that is live."""

    def __init__(self, queries: Queries) -> None:
        self.queries = queries
        self._known: tuple[float, Mapping[str, Generations]] | None = None

    async def get_many(self, collection: str, keys: Sequence[str]) -> Mapping[str, Fields]:
        return await (await self._live(collection)).get_many(collection, keys)

    async def find(self, find: Find) -> Sequence[Fields]:
        return await (await self._live(find.collection)).find(find)

    async def extent(self, collection: str) -> Extent:
        return await (await self._live(collection)).extent(collection)

    async def generations(self) -> Mapping[str, Generations]:
        """Of each read model, as they are now."""
        asked_at = clock.monotonic()
        stored = await self.queries.get_many(GENERATIONS, list(FED_BY))
        known = {name: _from(stored.get(name)) for name in FED_BY}
        self._known = asked_at, known
        return known

    async def _live(self, collection: str) -> OneGeneration:
        known = self._known
        if known is None or clock.monotonic() - known[0] >= KNOWN_SECONDS:
            known = clock.monotonic(), await self.generations()
        read_model = _READ_MODELS.get(collection)
        return OneGeneration(self.queries, known[1][read_model].live if read_model else 1)


@wire_command
class RebuildProjection:
    """`name`: the function's. REBUILD: begin a new generation of its read model; SWITCH: read generation `to`,
    which goes with nothing else; DROP: delete the one that isn't read."""

    name: Token
    action: Literal["REBUILD", "SWITCH", "DROP"]
    to: Annotated[int, Strict()] | None = None

    def __post_init__(self) -> None:
        if (self.action == "SWITCH") != (self.to is not None):
            raise Invalid("to goes with SWITCH, and SWITCH with to", ("to",))
