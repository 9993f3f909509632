"""Fourth step of an order, the point of no return: confirm it and take its units off the shelf."""

from shared.domain import fulfilment
from shared.domain.commands import ConfirmOrder
from shared.domain.order import ORDER
from shared.domain.product import PRODUCT
from shared.event_store.aggregates import load
from shared.runtime.engines import Engines
from shared.runtime.execute import execute_step
from shared.runtime.push_functions import saga_step


@saga_step(ConfirmOrder)
def confirm_order(command: ConfirmOrder, engines: Engines) -> None:
    order = ORDER.ref(command.order_id)
    products = [PRODUCT.ref(item.product_id) for item in load(engines.event_store, [order])[0].state.items]
    execute_step(engines.event_store, fulfilment.confirm, command, order, products)
