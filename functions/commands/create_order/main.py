"""Take an order; its saga reserves, charges and ships afterwards."""

from shared.auth.permissions import Permission, for_oneself
from shared.domain.commands import CreateOrder
from shared.domain.order import ORDER, Order, create
from shared.domain.product import PRODUCT
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import execute


@command(CreateOrder, permission=Permission.WRITE, new="orderId")
def create_order(request: CreateOrder, store: EventStore) -> Loaded[Order]:
    for_oneself(request.user_id)
    products = [PRODUCT.ref(item.product_id) for item in request.items]
    return execute(store, create, request, ORDER.ref(request.order_id), products)
