"""Start to rebuild a projection's read model, switch to another generation of it, or drop one."""

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
from shared.runtime.command import admin_command
from shared.runtime.engines import Engines
from shared.runtime.execute import Call


@admin_command(RebuildProjection)
def rebuild_projection(command: RebuildProjection, engines: Engines, _: Call) -> dict[str, int]:
    after = change_generations(engines.read_models, projection(command.name).read_model, partial(_step, command))
    return {"live": after.live}


def _step(command: RebuildProjection, now: Generations) -> Generations:
    match command.action:
        case "REBUILD":
            return rebuilt(now)
        case "SWITCH":
            assert command.to is not None
            return switched(now, command.to)
        case "DROP":
            return dropped(now)
