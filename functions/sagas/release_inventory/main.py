"""Compensation: release the units that were reserved for an order."""

from shared.domain import fulfilment
from shared.domain.commands import ReleaseInventory
from shared.domain.order import ORDER
from shared.domain.product import PRODUCT
from shared.event_store.aggregates import load
from shared.runtime.engines import Engines
from shared.runtime.execute import execute_step
from shared.runtime.push_functions import saga_step


@saga_step(ReleaseInventory)
def release_inventory(command: ReleaseInventory, engines: Engines) -> None:
    order = ORDER.ref(command.order_id)
    products = [PRODUCT.ref(item.product_id) for item in load(engines.event_store, [order])[0].state.items]
    execute_step(engines.event_store, fulfilment.release_inventory, command, order, products)
