"""Generations: a read model is rebuilt beside the one that clients read, then replaces it.

Each generation has its own collections. For each read model one document, `Generations`, names the
live generation and the other one; every process reads it again after `Pace.known_seconds`. Projections
write both, so switching between two complete generations takes one write of that document.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Strict

from shared.domain.commands import wire_command
from shared.domain.errors import Invalid, Rejected
from shared.domain.values import Token, adapter
from shared.read_models.documents import COLLECTIONS, READ_MODELS
from shared.read_models.protocol import Change, Extent, Fields, Find, MakeChange, Queries, ReadModels
from shared.resilience import clock

GENERATIONS = "generations"
"""The collection of the Generations documents, by read model."""

State = Literal["BUILDING", "KEPT", "DROPPED"]


@dataclass(frozen=True)
class Pace:
    """The pace of rebuilds, which must be the same in all processes.

    `known_seconds`: how long a process uses the generations that it has read. `settled_seconds`: after
    so long a message has been written or will be delivered again. `page`: streams to check, or
    documents to delete, at once; Firestore deletes 500 at most.
    """

    known_seconds: float = 2.0
    settled_seconds: float = 10.0
    page: int = 500


@dataclass(frozen=True)
class Generations:
    """The generations of one read model, under the names that existing installations have stored.

    - `live`: the generation that clients read. `newest`: the highest number so far.
    - `other`: BUILDING, being filled; KEPT, complete and written; DROPPED, not written and being deleted.
    - `since`: when this state or the present pass over the streams began, UTC.
    - `wanted`: the streams that the pass checks; empty for all. `checked`: how many it has checked.
    - `places`: the position of the last checked event, by aggregate.
    - `behind`: how many documents were incomplete; `late`: their streams, while they are few.
    - `passes`: finished passes that found incomplete documents.
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

    @property
    def written(self) -> list[int]:
        """Return the generations that projections write, the live one first."""
        return [self.live] if self.other is None or self.state == "DROPPED" else [self.live, self.other]

    def is_due(self, pace: Pace) -> bool:
        """Return whether the pass or deletion may go on: all processes know the generations, and all
        earlier writes have settled."""
        if self.since is None or self.state not in ("BUILDING", "DROPPED"):
            return False
        return clock.now() - self.since >= timedelta(seconds=pace.known_seconds + pace.settled_seconds)


def rebuilt(now: Generations) -> Generations:
    """Begin to fill a new generation. Does nothing while one is being filled."""
    match now.state:
        case "BUILDING":
            return now
        case "KEPT":
            raise Rejected(f"generation {now.other} is still kept and written; drop it first", ("name",))
        case "DROPPED":
            raise Rejected(f"generation {now.other} is still being deleted; try again in a minute", ("name",))
        case None:
            return Generations(now.live, now.newest + 1, "BUILDING", now.newest + 1, clock.now())


def switched(now: Generations, to: int) -> Generations:
    """Make another complete generation the live one. Does nothing when it is live already."""
    if to == now.live:
        return now
    if to != now.other or now.state == "DROPPED":
        raise Rejected(f"there is no generation {to} to switch to", ("to",))
    if now.state == "BUILDING":
        raise Rejected(f"generation {to} is still being built; it goes live by itself when it is complete", ("to",))
    return Generations(to, now.live, "KEPT", now.newest, clock.now())


def dropped(now: Generations) -> Generations:
    """Begin to delete the other generation, complete or not. Does nothing when there is none."""
    if now.other is None or now.state == "DROPPED":
        return now
    return Generations(now.live, now.other, "DROPPED", now.newest, clock.now())


def stored_in(collection: str, generation: int) -> str:
    """Return a generation's path of a collection; its last part, which indexes go by, is the same."""
    return collection if generation == 1 else f"{GENERATIONS}/{generation}/{collection}"


_READ_MODEL_OF = {collection.name: collection.read_model for collection in COLLECTIONS}


def change_generations(
    models: ReadModels, read_model: str, step: Callable[[Generations], Generations | None]
) -> Generations:
    """Change a read model's generations atomically and return them; None changes nothing."""
    after = Generations()

    def change(stored: Fields | None) -> Change | None:
        nonlocal after
        before = _decode(stored)
        after = step(before) or before
        return None if after == before else Change(adapter(Generations).dump_python(after, mode="json"))

    models.update(GENERATIONS, read_model, change)
    return after


def generations_of(models: ReadModels, read_model: str) -> Generations:
    return change_generations(models, read_model, lambda _: None)


def _decode(stored: Fields | None) -> Generations:
    generations: Generations = adapter(Generations).validate_python(stored or {})
    return generations


class EveryGeneration:
    """The side of the projections: writes every generation that is kept up to date."""

    def __init__(self, models: ReadModels, known_seconds: float = Pace.known_seconds) -> None:
        self.models = models
        self._known_seconds = known_seconds
        self._known: dict[str, tuple[float, Generations]] = {}

    def update(self, collection: str, key: str, change: MakeChange) -> None:
        """Update all generations, even if one fails; then raise the first error."""
        errors: list[Exception] = []
        for generation in self._written(collection):
            try:
                self.models.update(stored_in(collection, generation), key, _within(generation, change))
            except Exception as error:  # a faulty document must not prevent its repair
                errors.append(error)
        if errors:
            raise errors[0]

    def delete(self, collection: str, limit: int) -> int:
        return self.models.delete(collection, limit)

    def _written(self, collection: str) -> list[int]:
        read_model = _READ_MODEL_OF.get(collection)
        if read_model is None:
            return [1]
        known = self._known.get(read_model)
        if known is None or clock.monotonic() - known[0] >= self._known_seconds:
            known = self._known[read_model] = clock.monotonic(), generations_of(self.models, read_model)
        return known[1].written


def _within(generation: int, change: MakeChange) -> MakeChange:
    """Return the same change with its increments in the same generation."""

    def changed(stored: Fields | None) -> Change | None:
        made = change(stored)
        return made and Change(
            made.fields, [replace(one, collection=stored_in(one.collection, generation)) for one in made.increments]
        )

    return changed


class LiveGeneration:
    """The side of the clients, for the live generation of each read model."""

    def __init__(self, queries: Queries, known_seconds: float = Pace.known_seconds) -> None:
        self.queries = queries
        self._known_seconds = known_seconds
        self._known: tuple[float, Mapping[str, Generations]] | None = None

    async def get_many(self, collection: str, keys: Sequence[str]) -> Mapping[str, Fields]:
        return await self.queries.get_many(await self._live(collection), keys)

    async def find(self, find: Find) -> Sequence[Fields]:
        return await self.queries.find(replace(find, collection=await self._live(find.collection)))

    async def extent(self, collection: str) -> Extent:
        return await self.queries.extent(await self._live(collection))

    async def generations(self) -> Mapping[str, Generations]:
        """Read the generations of each read model now."""
        asked_at = clock.monotonic()
        stored = await self.queries.get_many(GENERATIONS, READ_MODELS)
        generations = {name: _decode(stored.get(name)) for name in READ_MODELS}
        self._known = asked_at, generations
        return generations

    async def _live(self, collection: str) -> str:
        """Return where the live generation has a collection."""
        known = self._known
        if known is None or clock.monotonic() - known[0] >= self._known_seconds:
            known = clock.monotonic(), await self.generations()
        read_model = _READ_MODEL_OF.get(collection)
        return stored_in(collection, known[1][read_model].live if read_model else 1)


@wire_command
class RebuildProjection:
    """Change the generations of the projection function `name`'s read model.

    REBUILD begins a new one, SWITCH makes generation `to` the live one, DROP deletes the other one.
    """

    name: Token
    action: Literal["REBUILD", "SWITCH", "DROP"]
    to: Annotated[int, Strict()] | None = None

    def __post_init__(self) -> None:
        if (self.action == "SWITCH") != (self.to is not None):
            raise Invalid("SWITCH needs the field to, and no other action takes it", ("to",))
