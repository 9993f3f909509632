"""Change what is said of a product, its category, price or stock."""

from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY
from shared.domain.commands import UpdateProduct
from shared.domain.product import PRODUCT, Product, update
from shared.event_store.aggregates import Loaded
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import execute


@command(UpdateProduct, permission=Permission.ADMIN)
def update_product(request: UpdateProduct, store: EventStore) -> Loaded[Product]:
    categories = [CATEGORY.ref(request.category_id.value)] if request.category_id else []
    return execute(store, update, request, PRODUCT.ref(request.product_id), categories)
