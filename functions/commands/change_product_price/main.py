"""Change a product's price."""

from shared.auth.permissions import Permission
from shared.domain.commands import ChangeProductPrice
from shared.domain.product import PRODUCT, change_price
from shared.event_store.protocol import EventStore
from shared.runtime.command import command
from shared.runtime.execute import Answer, Call, execute


@command(ChangeProductPrice, permission=Permission.ADMIN)
def change_product_price(command: ChangeProductPrice, store: EventStore, call: Call) -> Answer:
    return execute(store, change_price, command, PRODUCT.ref(command.product_id), call=call)
