"""Start to rebuild a read model, cancel that, or compare, switch or drop its generations; stop and
start the projection."""

from collections.abc import Callable
from functools import partial

from shared.config.manifest import projection
from shared.read_models.generations import Generations, change_generations, generations_of
from shared.read_models.rebuild import RebuildProjection
from shared.read_models.stops import start, stop
from shared.read_models.transitions import cancelled, compared, dropped, rebuilt, switched
from shared.runtime.command import admin_command
from shared.runtime.engines import Engines
from shared.runtime.execute import Call


@admin_command(RebuildProjection)
def rebuild_projection(command: RebuildProjection, engines: Engines, call: Call) -> dict[str, int]:
    read_model, models = projection(command.name).read_model, engines.read_models
    change: Callable[[Generations], Generations]
    match command.action:
        case "REBUILD":
            change = partial(rebuilt, limit=command.documents_per_second, switch=command.switch_when_equal)
        case "CANCEL":
            change = cancelled
        case "COMPARE":
            change = compared
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
