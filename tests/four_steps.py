"""The order's saga with its first four steps only: tests of the machinery stay as they are when the
saga gets another step."""

from dataclasses import replace

from shared.domain.commands import ArrangeShipping, ConfirmOrder, ProcessPayment, ReserveInventory
from shared.sagas.order_fulfilment import ORDER_FULFILMENT

_SENT = (ReserveInventory, ProcessPayment, ArrangeShipping, ConfirmOrder)

FOUR_STEPS = replace(ORDER_FULFILMENT, steps=tuple(step for step in ORDER_FULFILMENT.steps if step.send in _SENT))
