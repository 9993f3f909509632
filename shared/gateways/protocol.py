"""Payment and shipping, as the shop needs them from whoever provides them.

Every call carries a key, the order's id. Asking again under the same key gives the first answer again; undoing a key
that was never used forbids it for ever. A provider that can't do the latter needs an adapter that can.
"""

from dataclasses import dataclass
from typing import Protocol

from shared.domain.values import Money


@dataclass(frozen=True)
class Accepted:
    """`reference`: the provider's own id for what was done."""

    reference: str


@dataclass(frozen=True)
class Refused:
    """A business answer that asking again will not change."""

    reason: str


class PaymentGateway(Protocol):
    def charge(self, key: str, amount: Money, method: str) -> Accepted | Refused:
        """Raises Unavailable when the outcome is unknown."""

    def refund(self, key: str) -> None:
        """Once it returns, nothing is charged under the key, nor ever will be. Raises Unavailable."""


class ShippingGateway(Protocol):
    def arrange(self, key: str, method: str) -> Accepted | Refused:
        """Raises Unavailable when the outcome is unknown."""

    def cancel(self, key: str) -> None:
        """Once it returns, nothing is shipped under the key, nor ever will be. Raises Unavailable."""
