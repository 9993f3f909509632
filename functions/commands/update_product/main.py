"""Change a product's name, description, category, price or stock."""

from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY
from shared.domain.commands import UpdateProduct
from shared.domain.product import PRODUCT, update
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import Answer, Call, execute


@command(UpdateProduct, permission=Permission.ADMIN)
def update_product(command: UpdateProduct, store: EventStore, call: Call) -> Answer:
    categories = [CATEGORY.ref(command.category_id.value)] if command.category_id else []
    return execute(store, update, command, PRODUCT.ref(command.product_id), categories, call=call)
