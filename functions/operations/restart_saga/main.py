"""Send a stuck saga forward again from one of its steps."""

from shared.domain.order import ORDER
from shared.observability.context import annotate
from shared.runtime.command import admin_command
from shared.runtime.engines import Engines
from shared.runtime.execute import Call
from shared.sagas.store import RestartSaga


@admin_command(RestartSaga)
def restart_saga(command: RestartSaga, engines: Engines, call: Call) -> dict[str, int]:
    annotate(subject=ORDER.stream(command.id))
    engines.order_saga.restart(command.id, command.from_step, call.actor.name)
    return {"restarted": 1}
