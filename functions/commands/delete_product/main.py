"""Take a product off sale. Its history stays."""

from shared.auth.permissions import Permission
from shared.domain.commands import DeleteProduct
from shared.domain.product import PRODUCT, delete
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import Answer, Call, execute


@command(DeleteProduct, permission=Permission.ADMIN)
def delete_product(command: DeleteProduct, store: EventStore, call: Call) -> Answer:
    return execute(store, delete, command, PRODUCT.ref(command.product_id), call=call)
