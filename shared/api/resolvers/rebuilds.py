"""How far a rebuild and its comparison are, partition by partition."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

from pydantic import StringConstraints

from shared.api.connections import Connection, Listing, connect
from shared.api.context import Info, Resolvers
from shared.api.resolvers import listings
from shared.api.resolvers.common import require_admin
from shared.api.resolvers.listings import Order
from shared.config.manifest import projection
from shared.read_models.compare import without_personal_values
from shared.read_models.documents import sources_of
from shared.read_models.generations import PARTITIONS, Generations, stored_in
from shared.read_models.partitions import FILLING, OPEN, Partition, partition_of, state_of, within
from shared.read_models.protocol import Fields, Queries
from shared.resilience import clock

_NO_RUN = 9_998
"""A run that never is."""

_KEY = Annotated[str, StringConstraints(pattern="^[0-9]{4}-[0-9]{7}$")]
_BY_ID = Order("PARTITION", "id", tuple[_KEY, _KEY])
_DIFFERING = Order("DIFFERING", "differing", tuple[_KEY, _KEY])


class Size(NamedTuple):
    """`documents`: in the generation that is being filled. `unfinished`: its open partitions."""

    documents: int
    unfinished: int


async def sizes(queries: Queries, generations: Mapping[str, Generations]) -> Mapping[str, Size]:
    """Return the sizes of the generations that are being built or were cancelled, by read model."""
    partial = {name: now.other for name, now in generations.items() if now.state in ("BUILDING", "CANCELLED")}
    found = await asyncio.gather(*(_size(queries, name, other) for name, other in partial.items() if other))
    return dict(zip(partial, found, strict=True))


async def _size(queries: Queries, read_model: str, generation: int) -> Size:
    extents = [queries.extent(stored_in(source.name, generation)) for source in sources_of(read_model)]
    found, unfinished = await asyncio.gather(
        asyncio.gather(*extents), queries.count(stored_in(read_model + PARTITIONS, generation), [OPEN])
    )
    return Size(sum(one.documents for one in found), unfinished)


def shown(now: Generations, streams: int, size: Size | None) -> Fields:
    """Return what clients see of the generations."""
    found = vars(now) | {"streams": streams, "documents_per_second": now.limit, "switch_when_equal": now.switch}
    return found | {"progress": _progress(now, streams, size) if size else None}


def _progress(now: Generations, streams: int, size: Size) -> Fields:
    seconds = _seconds(now.filling_since, now.filled_at)
    rate = size.documents / seconds if seconds else None
    left = max(0, streams - size.documents)
    is_filling = now.state == "BUILDING" and now.filled_at is None
    return {
        "documents": size.documents,
        "documents_per_second": rate,
        "seconds_left": left / rate if is_filling and rate else None,
        "partitions": now.partitions,
        "unfinished_partitions": size.unfinished if now.state == "CANCELLED" or not now.is_comparing else 0,
    }


def _seconds(began: Any, ended: Any) -> float | None:
    return max(0.001, ((ended or clock.now()) - began).total_seconds()) if began else None


async def rebuild_partitions_connection(
    _: Any, info: Info, name: str, compared: bool = False, differing: bool = False, **page: Any
) -> Connection[Fields]:
    require_admin(info)
    read_model = projection(name).read_model
    now = (await info.context.engines.queries.generations())[read_model]
    run = (now.comparison.run if now.comparison else _NO_RUN) if compared or differing else FILLING
    order = _DIFFERING if differing else _BY_ID
    collection = stored_in(read_model + PARTITIONS, now.other or 0)
    plain: Listing[Fields] = listings.documents(info, collection, within(run, order.field), order, page)

    async def show(found: Sequence[Fields]) -> Sequence[Fields]:
        return [_partition(partition_of(one)) for one in found]

    return await connect(info, replace(plain, show=show), page)


def _partition(one: Partition) -> Fields:
    seconds = _seconds(one.began, one.ended)
    rate = one.done / seconds if seconds and one.done else None
    left = len(one.streams) - one.done
    return {
        "id": one.id,
        "state": state_of(one),
        "streams": len(one.streams),
        "done": one.done,
        "documents_per_second": rate,
        "seconds_left": 0.0 if one.ended else left / rate if rate else None,
        "began": one.began,
        "ended": one.ended,
        **{side: _side(one.result.get(side)) for side in ("fold", "live", "other")},
        "differences": [
            {"error": None, **without_personal_values(difference), "generation": difference["side"].upper()}
            for difference in one.result.get("differences", ())
        ],
    }


def _side(found: Fields | None) -> Fields | None:
    blank = {"documents": 0, "events": 0, "digest": None, "different": 0, "unknown": 0}
    return blank | found if found is not None else None


RESOLVERS: Resolvers = {"Query": {"rebuildPartitionsConnection": rebuild_partitions_connection}}
