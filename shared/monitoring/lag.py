"""How far a read model is behind the event store, or ahead of one that was restored to an earlier
moment."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.domain.order import AGGREGATES
from shared.event_store.protocol import EventCounts, EventLog, PositionedEvent
from shared.read_models.documents import COLLECTIONS, READ_MODELS, Collection, sources_of
from shared.read_models.project import not_yet_in
from shared.read_models.protocol import Queries
from shared.resilience import clock


@dataclass(frozen=True)
class Lag:
    """How far a read model has come.

    `applied`: events that it has applied. `events`: events that it lacks. `since`: when the oldest
    of these was recorded, among the LOOKED_AT newest, UTC. `position`: it has applied all its
    events up to this position of the log; None when that is older than the LOOKED_AT newest events.
    `ahead`: events that it has applied and the event store does not have.
    """

    applied: int
    events: int = 0
    since: datetime | None = None
    position: int | None = None
    ahead: int = 0

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

MostEvents = Callable[[], Coroutine[Any, Any, EventCounts]]
"""Return `at_most` of the event log."""

_HELD_BACK_COUNTED = 100_000  # the log counts what is held back up to this number; then it may be any number


def at_most(log: EventLog) -> EventCounts:
    """Count the events, and for each aggregate all that are held back, which `counts` leaves out. A
    read model that had applied more before this call is ahead of the event store. Raise Unavailable
    and TimedOut."""
    held_back = log.held_back().events  # first: an event may be in both numbers, but not in neither
    counts = log.counts()
    more = held_back if held_back < _HELD_BACK_COUNTED else 10**12
    return replace(counts, events={**counts.events, **{("held back", name): more for name in AGGREGATES}})


async def applied_events(queries: Queries) -> Sequence[int]:
    """Return how many events each of COLLECTIONS has applied."""
    extents = await asyncio.gather(*(queries.extent(collection.name) for collection in COLLECTIONS))
    return [extent.events for extent in extents]


def ahead(applied: Sequence[int], most: EventCounts) -> Mapping[str, int]:
    """Return by read model how many of these events the event store does not have."""
    found = dict.fromkeys(READ_MODELS, 0)
    for collection, events in zip(COLLECTIONS, applied, strict=True):
        found[collection.read_model] += max(0, events - most.of(collection.aggregate.name))
    return found


async def lag(queries: Queries, read_model: str, counts: EventCounts, newest: Newest, most: MostEvents) -> Lag:
    """Return how far a read model is behind the counted events.

    A document's version grows by one with each applied event. So the number of events minus the sum
    of all versions is the exact backlog, however old. Count the events before calling: then events
    that are recorded and applied meanwhile do not look like a backlog.
    """
    sources = sources_of(read_model)
    lags = await asyncio.gather(*(_lag_of(queries, source, counts, newest, most) for source in sources))
    positions = [lag.position for lag in lags if lag.position is not None]
    return Lag(
        sum(lag.applied for lag in lags),
        sum(lag.events for lag in lags),
        min((lag.since for lag in lags if lag.since), default=None),
        min(positions) if len(positions) == len(sources) else None,
        sum(lag.ahead for lag in lags),
    )


async def _lag_of(
    queries: Queries, source: Collection[Any], counts: EventCounts, newest: Newest, most: MostEvents
) -> Lag:
    applied = (await queries.extent(source.name)).events
    missing = counts.of(source.aggregate.name) - applied
    if missing <= 0:
        ahead = max(0, applied - (await most()).of(source.aggregate.name)) if missing else 0
        return Lag(applied, position=counts.counted_to, ahead=ahead)
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
