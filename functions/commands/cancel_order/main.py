"""Cancel an order that has not been shipped."""

from shared.auth.permissions import Permission, by_its_owner
from shared.domain.commands import CancelOrder
from shared.domain.order import ORDER, Order, cancel
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import execute


@command(CancelOrder, permission=Permission.WRITE)
def cancel_order(request: CancelOrder, store: EventStore) -> Loaded[Order]:
    return execute(store, by_its_owner(cancel), request, ORDER.ref(request.order_id))
