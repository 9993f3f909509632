"""Compensation: call the parcel back."""

from shared.domain import fulfilment
from shared.domain.commands import CancelShipping
from shared.domain.order import ORDER
from shared.runtime.engines import Engines
from shared.runtime.execute import execute
from shared.runtime.push_functions import saga_step


@saga_step(CancelShipping)
def cancel_shipping(request: CancelShipping, engines: Engines) -> None:
    store, ref = engines.event_store, ORDER.ref(request.order_id)
    order = execute(store, fulfilment.stop, request, ref).state
    if fulfilment.wants_undoing(order, order.shipping):
        engines.shipping.cancel(str(request.order_id))
        execute(store, fulfilment.record_shipping_cancellation, request, ref)
