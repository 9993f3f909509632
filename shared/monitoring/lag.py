"""How far a read model is behind the event store."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.event_store.protocol import EventCounts, PositionedEvent
from shared.read_models.project import FED_BY, not_yet_in
from shared.read_models.protocol import Queries
from shared.resilience import clock


@dataclass(frozen=True)
class Lag:
    """How far a read model has got. `applied`: events; `events`: those it lacks. `since`: when the oldest of these was
    recorded, of those that were looked at, UTC. `position`: the number of an event up to which, in the log's order, it has
    applied all that concern it; None when that is further back than was looked."""

    applied: int
    events: int = 0
    since: datetime | None = None
    position: int | None = None

    @property
    def seconds(self) -> float | None:
        if not self.events:
            return 0.0
        return max(0.0, (clock.now() - self.since).total_seconds()) if self.since else None


LOOKED_AT = 500
"""The newest events of each kind that are looked at when a read model is behind."""


Newest = Callable[[str], Coroutine[Any, Any, Sequence[PositionedEvent]]]
"""The newest events of one kind of stream, so many or all that there are, the newest first."""


async def lag(queries: Queries, read_model: str, counts: EventCounts, newest: Newest) -> Lag:
    """`counts`: made before, so that what is recorded and applied meanwhile is not taken for a backlog.

    Each event adds one to the version that its stream's document has when it is applied. So what the sum of all versions
    lacks is the number of events that have not been applied, however many they are and however long ago they happened."""
    sources = FED_BY[read_model]
    found = await asyncio.gather(*(_lag_of(queries, one, counts, newest) for one in sources))
    positions = [one.position for one in found if one.position is not None]
    return Lag(
        sum(one.applied for one in found),
        sum(one.events for one in found),
        min((one.since for one in found if one.since), default=None),
        min(positions) if len(positions) == len(sources) else None,
    )


async def _lag_of(queries: Queries, source: tuple[str, str], counts: EventCounts, newest: Newest) -> Lag:
    kind, collection = source
    applied = (await queries.extent(collection)).events
    missing = max(0, counts.of(kind) - applied)
    if not missing:
        return Lag(applied, position=counts.counted_to)
    looked_at = await newest(kind)
    late = {event.id for event in await not_yet_in(queries, collection, [seen.event for seen in looked_at])}
    since = min((seen.event.recorded_at for seen in looked_at if seen.event.id in late), default=None)
    return Lag(applied, missing, since, _before(looked_at, late) if len(late) >= missing else None)


def _before(newest: Sequence[PositionedEvent], late: set[UUID]) -> int | None:
    """The number of the event before the first that is late, 0 when that is the first of all."""
    first = max(index for index, seen in enumerate(newest) if seen.event.id in late)
    if first + 1 < len(newest):
        return newest[first + 1].position
    return None if len(newest) == LOOKED_AT else 0
