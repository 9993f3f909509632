"""Change a product's price."""

from shared.auth.permissions import Permission
from shared.domain.commands import ChangeProductPrice
from shared.domain.product import PRODUCT, Product, change_price
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import execute


@command(ChangeProductPrice, permission=Permission.ADMIN)
def change_product_price(request: ChangeProductPrice, store: EventStore) -> Loaded[Product]:
    return execute(store, change_price, request, PRODUCT.ref(request.product_id))
