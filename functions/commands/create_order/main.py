"""Create an order for the user who asks, or for any user if an admin asks. Its saga then reserves,
charges and ships."""

from shared.auth.permissions import Permission, require_self
from shared.domain.commands import CreateOrder
from shared.domain.order import ORDER, create
from shared.domain.product import PRODUCT
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import Answer, Call, execute


@command(CreateOrder, permission=Permission.WRITE, new="orderId")
def create_order(command: CreateOrder, store: EventStore, call: Call) -> Answer:
    require_self(command.user_id, call.actor)
    products = [PRODUCT.ref(item.product_id) for item in command.items]
    return execute(store, create, command, ORDER.ref(command.order_id), products, call=call)
