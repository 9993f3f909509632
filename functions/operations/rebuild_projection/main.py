"""Rebuild a projection's read model beside the one that is read, go back to the one before, or drop that."""

from shared.domain.commands import RebuildProjection
from shared.read_models.generations import change_generations, dropped, rebuilt, switched
from shared.runtime.commands import administrative
from shared.runtime.engines import Engines
from shared.runtime.manifest import projection

STEPS = {"REBUILD": rebuilt, "SWITCH": switched, "DROP": dropped}


@administrative(RebuildProjection)
def rebuild_projection(request: RebuildProjection, engines: Engines) -> dict[str, int]:
    after = change_generations(engines.read_models, projection(request.name).read_model, STEPS[request.action])
    return {"live": after.live}
