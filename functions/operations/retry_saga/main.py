"""Resume a stuck saga, or start the saga of an order that has none."""

from shared.domain.order import ORDER
from shared.observability.context import annotate
from shared.runtime.command import admin_command
from shared.runtime.engines import Engines
from shared.runtime.execute import Call
from shared.sagas.store import RetrySaga


@admin_command(RetrySaga)
def retry_saga(command: RetrySaga, engines: Engines, call: Call) -> dict[str, int]:
    annotate(subject=ORDER.stream(command.id))
    engines.order_saga.retry(command.id, call.actor.name)
    return {"retried": 1}
