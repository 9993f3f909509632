"""Rebuild a projection's read model beside the one that is read, go back to the one before, or drop that."""

from functools import partial

from shared.config.manifest import projection
from shared.read_models.generations import (
    Generations,
    RebuildProjection,
    change_generations,
    dropped,
    rebuilt,
    switched,
)
from shared.runtime.command import administrative
from shared.runtime.engines import Engines


@administrative(RebuildProjection)
def rebuild_projection(request: RebuildProjection, engines: Engines) -> dict[str, int]:
    after = change_generations(engines.read_models, projection(request.name).read_model, partial(_step, request))
    return {"live": after.live}


def _step(request: RebuildProjection, now: Generations) -> Generations:
    match request.action:
        case "REBUILD":
            return rebuilt(now)
        case "SWITCH":
            assert request.to is not None
            return switched(now, request.to)
        case "DROP":
            return dropped(now)
