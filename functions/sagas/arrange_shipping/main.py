"""Have the parcel picked up."""

from functools import partial

from shared.domain import fulfilment
from shared.domain.commands import ArrangeShipping
from shared.domain.order import ORDER
from shared.event_store.aggregates import load
from shared.gateways.providers import Accepted, Declined
from shared.runtime.engines import Engines
from shared.runtime.execute import execute
from shared.runtime.push_functions import saga_step


@saga_step(ArrangeShipping)
def arrange_shipping(request: ArrangeShipping, engines: Engines) -> None:
    store, ref = engines.event_store, ORDER.ref(request.order_id)
    order = load(store, [ref])[0].state
    if not fulfilment.wants_shipping(order):
        return
    match engines.shipping.arrange(str(request.order_id), order.shipping_method):
        case Accepted(reference):
            execute(store, partial(fulfilment.record_shipping, reference), request, ref)
        case Declined(reason):
            execute(store, partial(fulfilment.record_shipping_failure, reason), request, ref)
