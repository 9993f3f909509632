"""Stop selling a product; its history stays."""

from shared.auth.permissions import Permission
from shared.domain.commands import DeleteProduct
from shared.domain.product import PRODUCT, Product, delete
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import execute


@command(DeleteProduct, permission=Permission.ADMIN)
def delete_product(request: DeleteProduct, store: EventStore) -> Loaded[Product]:
    return execute(store, delete, request, PRODUCT.ref(request.product_id))
