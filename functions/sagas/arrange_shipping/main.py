"""Third step of an order: ask the shipping provider to collect the parcel."""

from functools import partial

from shared.domain import fulfilment
from shared.domain.commands import ArrangeShipping
from shared.domain.order import ORDER
from shared.event_store.aggregates import load
from shared.gateways.protocol import Accepted, Declined, Unreadable
from shared.runtime.engines import Engines
from shared.runtime.execute import execute_step
from shared.runtime.push_functions import saga_step


@saga_step(ArrangeShipping)
def arrange_shipping(command: ArrangeShipping, engines: Engines) -> None:
    store, ref = engines.event_store, ORDER.ref(command.order_id)
    order = load(store, [ref])[0].state
    if not fulfilment.wants_shipping(order):
        return
    match engines.shipping.arrange(str(command.order_id), order.shipping_method):
        case Accepted(reference):
            execute_step(store, partial(fulfilment.record_shipping, reference), command, ref)
        case Declined(reason):
            execute_step(store, partial(fulfilment.record_shipping_failure, reason), command, ref)
        case Unreadable():  # the saga sends the command again after its deadline, and at last undoes it
            return
