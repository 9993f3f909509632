"""The payment, shipping and notification providers: what the shop needs from them.

Every call carries a key, the order's id. The same key always gets the first answer; undoing an
unused key forbids it for ever. A provider that cannot do the latter needs an adapter that can.
Every call raises Unavailable or TimedOut when the outcome is unknown and the same call may be
repeated soon.
"""

from dataclasses import dataclass
from typing import Protocol

from shared.domain.values import Money


@dataclass(frozen=True)
class Accepted:
    """`reference`: the provider's own id for what it has made."""

    reference: str


@dataclass(frozen=True)
class Declined:
    """A business answer that a retry will not change."""

    reason: str


@dataclass(frozen=True)
class Unreadable:
    """The provider answered, but not what was agreed. The outcome is unknown; repeat it much
    later."""


Outcome = Accepted | Declined | Unreadable


class PaymentGateway(Protocol):
    def charge(self, key: str, amount: Money, method: str) -> Outcome: ...

    def refund(self, key: str) -> None:
        """After it returns, nothing is charged under the key and never will be."""


class ShippingGateway(Protocol):
    def arrange(self, key: str, method: str) -> Outcome: ...

    def cancel(self, key: str) -> None:
        """After it returns, nothing is shipped under the key and never will be."""


class NotificationGateway(Protocol):
    """Knows how to reach the shop's users: the shop itself stores no addresses."""

    def notify(self, key: str, user: str) -> Outcome:
        """Tell the user, once per key, that the order is confirmed."""


class Gateway(PaymentGateway, ShippingGateway, NotificationGateway, Protocol):
    """All of them at once, as providers over HTTP have one form."""
