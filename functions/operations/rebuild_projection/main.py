"""Start to rebuild a projection's read model, switch to another generation of it, or drop one."""

from functools import partial

from shared.config.manifest import projection
from shared.read_models.generations import change_generations, dropped, rebuilt, switched
from shared.read_models.rebuild import RebuildProjection
from shared.runtime.command import admin_command
from shared.runtime.engines import Engines
from shared.runtime.execute import Call


@admin_command(RebuildProjection)
def rebuild_projection(command: RebuildProjection, engines: Engines, _: Call) -> dict[str, int]:
    match command.action:
        case "REBUILD":
            change = rebuilt
        case "SWITCH":
            assert command.to is not None
            change = partial(switched, to=command.to, force=command.force)
        case "DROP":
            change = dropped
    return {"live": change_generations(engines.read_models, projection(command.name).read_model, change).live}
