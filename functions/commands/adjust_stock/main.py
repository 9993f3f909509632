"""Change the number of units on hand by a difference, for example after a delivery or a
stocktake."""

from shared.auth.permissions import Permission
from shared.domain import product
from shared.domain.commands import AdjustStock
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import Answer, Call, execute


@command(AdjustStock, permission=Permission.ADMIN)
def adjust_stock(command: AdjustStock, store: EventStore, call: Call) -> Answer:
    return execute(store, product.adjust_stock, command, product.PRODUCT.ref(command.product_id), call=call)
