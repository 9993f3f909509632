"""Start to rebuild a projection's read model, switch to another generation of it, or drop one; stop
and start the projection."""

from functools import partial

from shared.config.manifest import projection
from shared.read_models.generations import change_generations, dropped, generations_of, rebuilt, switched
from shared.read_models.rebuild import RebuildProjection
from shared.read_models.stops import start, stop
from shared.runtime.command import admin_command
from shared.runtime.engines import Engines
from shared.runtime.execute import Call


@admin_command(RebuildProjection)
def rebuild_projection(command: RebuildProjection, engines: Engines, call: Call) -> dict[str, int]:
    read_model, models = projection(command.name).read_model, engines.read_models
    match command.action:
        case "REBUILD":
            change = rebuilt
        case "SWITCH":
            assert command.to is not None
            change = partial(switched, to=command.to, force=command.force)
        case "DROP":
            change = dropped
        case "STOP":
            assert command.minutes is not None
            stop(models, read_model, call.actor.name, command.minutes)
            return {"live": generations_of(models, read_model).live}
        case "START":
            start(models, read_model)
            return {"live": generations_of(models, read_model).live}
    return {"live": change_generations(models, read_model, change).live}
