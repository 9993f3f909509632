"""Tell an entity that does not exist from one whose read model is late."""

from typing import Any, TypeVar
from uuid import UUID

from shared.api.context import Info
from shared.api.limits import from_stores
from shared.api.resolvers.common import existing
from shared.domain.aggregate import Aggregate
from shared.domain.errors import Unavailable

T = TypeVar("T")


async def visible(info: Info, found: T | None, aggregate: Aggregate[Any], id: str) -> T:
    """Return what a read model has. Raise Unavailable for what was accepted and is not there yet,
    else NotFound."""
    if found is None:
        stream = aggregate.stream(UUID(id))
        if await from_stores(info.context.engines.event_store.read_stream, stream, 0, 1):
            raise Unavailable(
                f"{aggregate.name} {id} was accepted and is not visible yet; try again in a moment", ("id",)
            )
    return existing(found, aggregate.name, id)
