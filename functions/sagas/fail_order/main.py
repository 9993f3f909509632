"""The end of an order whose steps have been undone."""

from shared.domain import fulfilment
from shared.domain.commands import FailOrder
from shared.domain.order import ORDER
from shared.runtime.engines import Engines
from shared.runtime.execute import execute
from shared.runtime.push_functions import saga_step


@saga_step(FailOrder)
def fail_order(request: FailOrder, engines: Engines) -> None:
    execute(engines.event_store, fulfilment.fail, request, ORDER.ref(request.order_id))
