"""Compensation: cancel the shipment with the shipping provider."""

from shared.domain import fulfilment
from shared.domain.commands import CancelShipping
from shared.domain.order import ORDER
from shared.runtime.engines import Engines
from shared.runtime.execute import execute_step
from shared.runtime.push_functions import saga_step


@saga_step(CancelShipping)
def cancel_shipping(command: CancelShipping, engines: Engines) -> None:
    store, ref = engines.event_store, ORDER.ref(command.order_id)
    order = execute_step(store, fulfilment.stop, command, ref).state
    if fulfilment.wants_undoing(order, order.shipping):
        engines.shipping.cancel(str(command.order_id))
        execute_step(store, fulfilment.record_shipping_cancellation, command, ref)
