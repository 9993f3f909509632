"""Record units that came in or went missing."""

from shared.auth.permissions import Permission
from shared.domain import product
from shared.domain.commands import AdjustStock
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import execute


@command(AdjustStock, permission=Permission.ADMIN)
def adjust_stock(request: AdjustStock, store: EventStore) -> Loaded[product.Product]:
    return execute(store, product.adjust_stock, request, product.PRODUCT.ref(request.product_id))
