"""Create a product in a category, with its price and first stock."""

from shared.auth.permissions import Permission
from shared.domain.category import CATEGORY
from shared.domain.commands import CreateProduct
from shared.domain.product import PRODUCT, create
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import Answer, Call, execute


@command(CreateProduct, permission=Permission.ADMIN, new="productId")
def create_product(command: CreateProduct, store: EventStore, call: Call) -> Answer:
    return execute(
        store, create, command, PRODUCT.ref(command.product_id), [CATEGORY.ref(command.category_id)], call=call
    )
