"""The order's saga: reserve, charge, ship, confirm.

A step has seven and a half minutes, retries included. A message that was left to relay_outbox takes
a minute and a lease, so a broker that is down for a while does not fail the orders under way.
"""

from datetime import timedelta

from shared.domain.commands import (
    ArrangeShipping,
    CancelShipping,
    ConfirmOrder,
    FailOrder,
    ProcessPayment,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
)
from shared.domain.events import (
    InventoryReleased,
    InventoryReservationFailed,
    InventoryReserved,
    OrderCancellationRequested,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderFailed,
    PaymentFailed,
    PaymentProcessed,
    PaymentRefunded,
    ShippingArranged,
    ShippingCancelled,
    ShippingFailed,
)
from shared.sagas.definition import Retries, Saga, Step

ORDER_FULFILMENT = Saga(
    name="OrderSaga",
    starts_on=OrderCreated,
    steps=(
        Step(
            send=ReserveInventory,
            until=InventoryReserved,
            unless=InventoryReservationFailed,
            undo=ReleaseInventory,
            undone=InventoryReleased,
            within=timedelta(seconds=30),
            retries=Retries(3),
        ),
        Step(
            send=ProcessPayment,
            until=PaymentProcessed,
            unless=PaymentFailed,
            undo=RefundPayment,
            undone=PaymentRefunded,
            within=timedelta(seconds=30),
            retries=Retries(3),
        ),
        Step(
            send=ArrangeShipping,
            until=ShippingArranged,
            unless=ShippingFailed,
            undo=CancelShipping,
            undone=ShippingCancelled,
            within=timedelta(seconds=30),
            retries=Retries(3),
        ),
        Step(send=ConfirmOrder, until=OrderConfirmed, within=timedelta(seconds=30), retries=Retries(5)),
    ),
    cancelled_by=OrderCancellationRequested,
    gives_up_with=FailOrder,
    ended_by=(OrderCancelled, OrderFailed),
    undo_within=timedelta(seconds=30),
    undo_retries=Retries(8),
)
