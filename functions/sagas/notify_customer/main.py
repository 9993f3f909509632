"""Last step of an order, a best effort: tell the customer, through the notification provider."""

from functools import partial

from shared.domain import fulfilment
from shared.domain.commands import NotifyCustomer
from shared.domain.order import ORDER
from shared.event_store.aggregates import load
from shared.gateways.protocol import Accepted, Declined, Unreadable
from shared.runtime.engines import Engines
from shared.runtime.execute import execute_step
from shared.runtime.push_functions import saga_step


@saga_step(NotifyCustomer)
def notify_customer(command: NotifyCustomer, engines: Engines) -> None:
    store, ref = engines.event_store, ORDER.ref(command.order_id)
    order = load(store, [ref])[0].state
    if not fulfilment.wants_notification(order):
        return
    match engines.notifications.notify(str(command.order_id), order.user_id):
        case Accepted(reference):
            execute_step(store, partial(fulfilment.record_notification, reference), command, ref)
        case Declined(reason):
            execute_step(store, partial(fulfilment.record_notification_failure, reason), command, ref)
        case Unreadable():  # the saga sends the command again after its deadline, and at last gives it up
            return
