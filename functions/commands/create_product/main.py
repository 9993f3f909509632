"""Put a product on sale."""

from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY
from shared.domain.commands import CreateProduct
from shared.domain.product import PRODUCT, Product, create
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import execute


@command(CreateProduct, permission=Permission.ADMIN, new="productId")
def create_product(request: CreateProduct, store: EventStore) -> Loaded[Product]:
    return execute(store, create, request, PRODUCT.ref(request.product_id), [CATEGORY.ref(request.category_id)])
