"""Mark an order as failed or cancelled, after its finished steps have been undone."""

from shared.domain import fulfilment
from shared.domain.commands import FailOrder
from shared.domain.order import ORDER
from shared.runtime.engines import Engines
from shared.runtime.execute import execute_step
from shared.runtime.push_functions import saga_step


@saga_step(FailOrder)
def fail_order(command: FailOrder, engines: Engines) -> None:
    execute_step(engines.event_store, fulfilment.fail, command, ORDER.ref(command.order_id))
