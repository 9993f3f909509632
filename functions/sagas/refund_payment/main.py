"""Compensation: give the customer's money back."""

from shared.domain import fulfilment
from shared.domain.commands import RefundPayment
from shared.domain.order import ORDER
from shared.runtime.engines import Engines
from shared.runtime.execute import execute
from shared.runtime.push_functions import saga_step


@saga_step(RefundPayment)
def refund_payment(request: RefundPayment, engines: Engines) -> None:
    store, ref = engines.event_store, ORDER.ref(request.order_id)
    order = execute(store, fulfilment.stop, request, ref).state
    if fulfilment.wants_undoing(order, order.payment):
        engines.payments.refund(str(request.order_id))
        execute(store, fulfilment.record_refund, request, ref)
