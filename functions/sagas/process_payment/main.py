"""Second step of an order: charge the customer through the payment provider."""

from functools import partial

from shared.domain import fulfilment
from shared.domain.commands import ProcessPayment
from shared.domain.order import ORDER
from shared.event_store.aggregates import load
from shared.gateways.protocol import Accepted, Declined, Unreadable
from shared.runtime.engines import Engines
from shared.runtime.execute import execute_step
from shared.runtime.push_functions import saga_step


@saga_step(ProcessPayment)
def process_payment(command: ProcessPayment, engines: Engines) -> None:
    store, ref = engines.event_store, ORDER.ref(command.order_id)
    order = load(store, [ref])[0].state
    if order.total is None or not fulfilment.wants_payment(order):
        return
    match engines.payments.charge(str(command.order_id), order.total, order.payment_method):
        case Accepted(reference):
            execute_step(store, partial(fulfilment.record_payment, reference), command, ref)
        case Declined(reason):
            execute_step(store, partial(fulfilment.record_payment_failure, reason), command, ref)
        case Unreadable():  # the saga sends the command again after its deadline, and at last undoes it
            return
