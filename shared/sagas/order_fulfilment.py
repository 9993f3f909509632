"""The order's saga: reserve, charge, ship, confirm; then tell the customer, if that works.

A step has seven and a half minutes, retries included. A message that was left to relay_outbox takes
a minute and a lease, so a broker that is down for a while does not fail the orders under way.
"""

from datetime import timedelta

from shared.domain import commands, events
from shared.sagas.definition import Retries, Saga, Step

ORDER_FULFILMENT = Saga(
    name="OrderSaga",
    starts_on=events.OrderCreated,
    steps=(
        Step(
            send=commands.ReserveInventory,
            until=events.InventoryReserved,
            unless=events.InventoryReservationFailed,
            undo=commands.ReleaseInventory,
            undone=events.InventoryReleased,
            within=timedelta(seconds=30),
            retries=Retries(3),
        ),
        Step(
            send=commands.ProcessPayment,
            until=events.PaymentProcessed,
            unless=events.PaymentFailed,
            undo=commands.RefundPayment,
            undone=events.PaymentRefunded,
            within=timedelta(seconds=30),
            retries=Retries(3),
        ),
        Step(
            send=commands.ArrangeShipping,
            until=events.ShippingArranged,
            unless=events.ShippingFailed,
            undo=commands.CancelShipping,
            undone=events.ShippingCancelled,
            within=timedelta(seconds=30),
            retries=Retries(3),
        ),
        Step(
            send=commands.ConfirmOrder,
            until=events.OrderConfirmed,
            within=timedelta(seconds=30),
            retries=Retries(5),
            no_return=True,
        ),
        Step(
            send=commands.NotifyCustomer,
            until=events.CustomerNotified,
            unless=events.NotificationFailed,
            within=timedelta(seconds=30),
            retries=Retries(3),
            best_effort=True,
        ),
    ),
    # FulfilmentStopped: a compensation had begun before the saga was lost or restored to an earlier
    # state.
    turned_back_by=(events.OrderCancellationRequested, events.FulfilmentStopped),
    gives_up_with=commands.FailOrder,
    ended_by=(events.OrderCancelled, events.OrderFailed),
    undo_within=timedelta(seconds=30),
    undo_retries=Retries(8),
)
