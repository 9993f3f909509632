"""Charge the customer."""

from functools import partial

from shared.domain import fulfilment
from shared.domain.commands import ProcessPayment
from shared.domain.order import ORDER
from shared.event_store.aggregates import load
from shared.gateways.providers import Accepted, Declined
from shared.runtime.engines import Engines
from shared.runtime.execute import execute
from shared.runtime.push_functions import saga_step


@saga_step(ProcessPayment)
def process_payment(request: ProcessPayment, engines: Engines) -> None:
    store, ref = engines.event_store, ORDER.ref(request.order_id)
    order = load(store, [ref])[0].state
    if order.total is None or not fulfilment.wants_payment(order):
        return
    match engines.payments.charge(str(request.order_id), order.total, order.payment_method):
        case Accepted(reference):
            execute(store, partial(fulfilment.record_payment, reference), request, ref)
        case Declined(reason):
            execute(store, partial(fulfilment.record_payment_failure, reason), request, ref)
