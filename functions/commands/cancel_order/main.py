"""Cancel an order that has not been shipped. Only the order's owner or an admin may cancel it."""

from collections.abc import Sequence

from shared.auth.permissions import Permission, require_self
from shared.domain.commands import CancelOrder
from shared.domain.events import OrderEvent
from shared.domain.order import ORDER, Order, cancel
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import Answer, Call, execute


@command(CancelOrder, permission=Permission.WRITE)
def cancel_order(command: CancelOrder, store: EventStore, call: Call) -> Answer:
    def cancel_own(command: CancelOrder, order: Order) -> Sequence[OrderEvent]:
        if order.user_id:  # an order that does not exist has no owner, and `cancel` refuses it
            require_self(order.user_id, call.actor)
        return cancel(command, order)

    return execute(store, cancel_own, command, ORDER.ref(command.order_id), call=call)
