"""given / when / then: the events before, the command, the events that it records.

    given(order_created())
        .when(cancel, CancelOrder(ORDER_ID))
        .then(OrderCancellationRequested(ORDER_ID, "..."))

Below are sample events: an order of two cups and one pot in every status.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload
from uuid import UUID

from shared.domain.aggregate import Aggregate
from shared.domain.category import Category
from shared.domain.errors import Path, Rejected, ShopError
from shared.domain.events import (
    CategoryCreated,
    CategoryEvent,
    InventoryReleased,
    InventoryReserved,
    OrderCancellationRequested,
    OrderCancelled,
    OrderConfirmed,
    OrderCreated,
    OrderEvent,
    OrderFailed,
    OrderItem,
    PaymentFailed,
    PaymentProcessed,
    ProductCreated,
    ProductEvent,
    ShippingArranged,
)
from shared.domain.order import AGGREGATE_OF, Order, OrderStatus
from shared.domain.product import Product
from shared.domain.values import Money

State = TypeVar("State")
Command = TypeVar("Command")
Others = ParamSpec("Others")


@dataclass(frozen=True)
class Given(Generic[State]):
    state: State

    def when(
        self,
        decide: Callable[Concatenate[Command, State, Others], Sequence[object]],
        command: Command,
        *others: Others.args,
        **named: Others.kwargs,
    ) -> "When":
        """`others`: further arguments of the decision, e.g. the states of other aggregates."""
        try:
            return When(decide(command, self.state, *others, **named))
        except ShopError as error:
            return When(error)


@dataclass(frozen=True)
class When:
    outcome: Sequence[object] | ShopError

    def then(self, *expected: object) -> None:
        """Assert exactly these events, in this order."""
        assert not isinstance(self.outcome, ShopError), f"refused with {self.outcome!r}\nexpected {list(expected)}"
        assert list(self.outcome) == list(expected), f"recorded {self.outcome}\nexpected {list(expected)}"

    def then_nothing(self) -> None:
        self.then()

    def then_rejected(self, error: type[ShopError] = Rejected, *, match: str = "", field: Path | None = None) -> None:
        """Assert exactly this error, at `field` of the command, with `match` in its message."""
        assert isinstance(self.outcome, ShopError), f"recorded {self.outcome}\nexpected {error.__name__}"
        assert type(self.outcome) is error, f"refused with {self.outcome!r}, expected {error.__name__}"
        assert re.search(match, self.outcome.message), f"{self.outcome.message!r} does not say {match!r}"
        assert field is None or self.outcome.field == tuple(field), f"blames {self.outcome.field}, expected {field}"


@overload
def given(first: CategoryEvent, *more: CategoryEvent) -> Given[Category]: ...
@overload
def given(first: ProductEvent, *more: ProductEvent) -> Given[Product]: ...
@overload
def given(first: OrderEvent, *more: OrderEvent) -> Given[Order]: ...
def given(first: object, *more: object) -> Given[Any]:
    """Start from the history of one aggregate."""
    return Given(AGGREGATE_OF[type(first)].fold([first, *more]))


def given_no(aggregate: Aggregate[State]) -> Given[State]:
    """Start from an aggregate without history."""
    return Given(aggregate.initial)


ORDER_ID, OTHER_ORDER_ID, CUP_ID, POT_ID, DRINKS_ID, KITCHEN_ID = (UUID(int=n) for n in range(1, 7))


def yen(amount: int) -> Money:
    return Money(Decimal(amount))


def category_created(category_id: UUID = DRINKS_ID, parent_id: UUID | None = None) -> CategoryCreated:
    return CategoryCreated(category_id, "飲み物", "お茶とコーヒー", parent_id)


def cup_created(on_hand: int = 10) -> ProductCreated:
    return ProductCreated(CUP_ID, "湯呑み", "手作り", KITCHEN_ID, yen(800), on_hand)


def pot_created(on_hand: int = 10) -> ProductCreated:
    return ProductCreated(POT_ID, "急須", None, KITCHEN_ID, yen(3200), on_hand)


def order_created(order_id: UUID = ORDER_ID) -> OrderCreated:
    items = (OrderItem(CUP_ID, "湯呑み", 2, Decimal(800)), OrderItem(POT_ID, "急須", 1, Decimal(3200)))
    return OrderCreated(order_id, "taro", items, yen(4800), "approve", "standard")


CREATED = order_created()
RESERVED = InventoryReserved(ORDER_ID)
PAID = PaymentProcessed(ORDER_ID, "payment-1", yen(4800))
SHIPPED = ShippingArranged(ORDER_ID, "parcel-1")
DECLINED = PaymentFailed(ORDER_ID, "declined")
RELEASED = InventoryReleased(ORDER_ID)
CANCELLATION = OrderCancellationRequested(ORDER_ID, "changed my mind")

ORDER_THAT_IS: dict[OrderStatus, list[OrderEvent]] = {
    OrderStatus.ABSENT: [],
    OrderStatus.PENDING: [CREATED],
    OrderStatus.INVENTORY_RESERVED: [CREATED, RESERVED],
    OrderStatus.PAYMENT_PROCESSED: [CREATED, RESERVED, PAID],
    OrderStatus.SHIPPED: [CREATED, RESERVED, PAID, SHIPPED],
    OrderStatus.CONFIRMED: [CREATED, RESERVED, PAID, SHIPPED, OrderConfirmed(ORDER_ID)],
    OrderStatus.CANCELLED: [CREATED, CANCELLATION, RELEASED, OrderCancelled(ORDER_ID, "changed my mind")],
    OrderStatus.FAILED: [CREATED, RESERVED, DECLINED, RELEASED, OrderFailed(ORDER_ID, "declined")],
}
