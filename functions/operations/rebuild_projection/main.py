"""Start to rebuild a read model, cancel that, or compare, switch or drop its generations; stop and
start the projection."""

from collections.abc import Callable
from functools import partial

from shared.config.manifest import projection
from shared.read_models.generations import Generations, change_generations
from shared.read_models.rebuild import RebuildProjection
from shared.read_models.transitions import cancelled, compared, dropped, rebuilt, started, stopped, switched
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
            change = partial(stopped, by=call.actor.name, minutes=command.minutes)
        case "START":
            change = started
    return {"live": change_generations(models, read_model, change).live}
