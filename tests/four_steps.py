"""The order's saga with its first four steps only: tests of the machinery stay as they are when the
saga gets another step."""

from dataclasses import replace

from shared.domain.commands import ArrangeShipping, ConfirmOrder, ProcessPayment, ReserveInventory
from tests.first_version import FIRST_VERSION

_SENT = (ReserveInventory, ProcessPayment, ArrangeShipping, ConfirmOrder)

FOUR_STEPS = replace(FIRST_VERSION, steps=tuple(step for step in FIRST_VERSION.steps if step.send in _SENT))
