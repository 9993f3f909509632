"""How far a read model is behind the event store."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.event_store.protocol import EventCounts, PositionedEvent
from shared.read_models.documents import Collection, sources_of
from shared.read_models.project import not_yet_in
from shared.read_models.protocol import Queries
from shared.resilience import clock


@dataclass(frozen=True)
class Lag:
    """How far a read model has come.

    `applied`: events that it has applied. `events`: events that it lacks. `since`: when the oldest of
    these was recorded, among the LOOKED_AT newest, UTC. `position`: it has applied all its events up to
    this position of the log; None when that is older than the LOOKED_AT newest events.
    """

    applied: int
    events: int = 0
    since: datetime | None = None
    position: int | None = None

    @property
    def seconds(self) -> float | None:
        """Return the age of the oldest lacking event, None when it is unknown."""
        if not self.events:
            return 0.0
        return max(0.0, (clock.now() - self.since).total_seconds()) if self.since else None


LOOKED_AT = 500
"""How many of the newest events of each aggregate are looked at when a read model is behind."""

Newest = Callable[[str], Coroutine[Any, Any, Sequence[PositionedEvent]]]
"""Return the LOOKED_AT newest events of one aggregate, the newest first."""


async def lag(queries: Queries, read_model: str, counts: EventCounts, newest: Newest) -> Lag:
    """Return how far a read model is behind the counted events.

    A document's version grows by one with each applied event. So the number of events minus the sum
    of all versions is the exact backlog, however old. Count the events before calling: then events
    that are recorded and applied meanwhile do not look like a backlog.
    """
    sources = sources_of(read_model)
    lags = await asyncio.gather(*(_lag_of(queries, source, counts, newest) for source in sources))
    positions = [lag.position for lag in lags if lag.position is not None]
    return Lag(
        sum(lag.applied for lag in lags),
        sum(lag.events for lag in lags),
        min((lag.since for lag in lags if lag.since), default=None),
        min(positions) if len(positions) == len(sources) else None,
    )


async def _lag_of(queries: Queries, source: Collection[Any], counts: EventCounts, newest: Newest) -> Lag:
    applied = (await queries.extent(source.name)).events
    missing = max(0, counts.of(source.aggregate.name) - applied)
    if not missing:
        return Lag(applied, position=counts.counted_to)
    looked_at = await newest(source.aggregate.name)
    late = {event.id for event in await not_yet_in(queries, source.name, [seen.event for seen in looked_at])}
    since = min((seen.event.recorded_at for seen in looked_at if seen.event.id in late), default=None)
    return Lag(applied, missing, since, _before(looked_at, late) if len(late) >= missing else None)


def _before(newest: Sequence[PositionedEvent], late: set[UUID]) -> int | None:
    """Return the position before the first late event, 0 at the beginning, None if unknown."""
    first = max(index for index, seen in enumerate(newest) if seen.event.id in late)
    if first + 1 < len(newest):
        return newest[first + 1].position
    return None if len(newest) == LOOKED_AT else 0
