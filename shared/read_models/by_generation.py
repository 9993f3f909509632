"""Write every generation of a read model that is kept up to date, and read the live one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared.domain.values import adapter
from shared.read_models.documents import COLLECTIONS, READ_MODELS
from shared.read_models.generations import (
    FAILURES,
    FIRST,
    GENERATIONS,
    Generations,
    Pace,
    generations_of,
    stored_in,
)
from shared.read_models.protocol import Change, Extent, Fields, Find, MakeChange, Queries, ReadModels, Where
from shared.read_models.stop import Stop, Stopped
from shared.resilience import clock

_MAX_ERROR = 1000  # characters
_READ_MODEL_OF = {name: one.read_model for one in COLLECTIONS for name in (one.name, one.read_model)}


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

    def refuse_stopped(self, read_model: str) -> None:
        """Raise Stopped while the read model's projection is stopped."""
        if self._known_generations(read_model).stop:
            raise Stopped(f"project_{read_model}")

    def create(self, collection: str, changes: Mapping[str, Change]) -> int:
        return self.models.create(collection, changes)

    def delete(self, collection: str, limit: int) -> int:
        return self.models.delete(collection, limit)

    def _known_generations(self, collection: str) -> Generations:
        read_model = _READ_MODEL_OF.get(collection)
        if read_model is None:
            return FIRST
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
            name: adapter(Generations).validate_python(stored[name]) if name in stored else FIRST
            for name in READ_MODELS
        }
        self._known = asked_at, generations
        return generations

    async def stops(self) -> Mapping[str, Stop]:
        """Return the stops that last now, by read model."""
        found = {name: one.stop for name, one in (await self.generations()).items()}
        return {name: one for name, one in found.items() if one}

    async def _live(self, collection: str) -> str:
        """Return where the live generation has a collection."""
        known = self._known
        if known is None or clock.monotonic() - known[0] >= self._known_seconds:
            known = clock.monotonic(), await self.generations()
        read_model = _READ_MODEL_OF.get(collection)
        return stored_in(collection, known[1][read_model].live if read_model else 1)
