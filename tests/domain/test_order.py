"""The client's two decisions on an order, and the state after each event."""

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from shared.domain.commands import CancelOrder, CreateOrder, OrderLine
from shared.domain.errors import Invalid, NotFound, Path, Rejected
from shared.domain.events import (
    FulfilmentStopped,
    InventoryReservationFailed,
    OrderCancellationRequested,
    OrderCancelled,
    OrderCreated,
    OrderEvent,
    OrderFailed,
    OrderItem,
    PaymentRefunded,
    ProductCreated,
    ProductDeleted,
    ShippingCancelled,
    ShippingFailed,
)
from shared.domain.order import ORDER, Order, OrderStatus, Outcome, cancel, create
from shared.domain.product import PRODUCT, Product
from shared.domain.values import MAX_AMOUNT, MAX_QUANTITY, Money
from tests.specification import (
    CANCELLATION,
    CREATED,
    CUP_ID,
    DECLINED,
    KITCHEN_ID,
    ORDER_ID,
    ORDER_THAT_IS,
    PAID,
    POT_ID,
    RELEASED,
    RESERVED,
    SHIPPED,
    Given,
    cup_created,
    given,
    given_no,
    order_created,
    pot_created,
    yen,
)

CUP, POT = given(cup_created()).state, given(pot_created()).state
TWO_CUPS = OrderLine(CUP_ID, "湯呑み", 2, Decimal(800))
ONE_POT = OrderLine(POT_ID, "急須", 1, Decimal(3200))
CANCEL = CancelOrder(ORDER_ID, "changed my mind")


def order_of(*lines: OrderLine) -> CreateOrder:
    return CreateOrder(ORDER_ID, "taro", lines)


def dollar_product(price: str) -> Product:
    return given(ProductCreated(CUP_ID, "cup", None, KITCHEN_ID, Money(Decimal(price), "USD"), 1)).state


def order_that_is(status: OrderStatus) -> Given[Order]:
    return Given(ORDER.fold(ORDER_THAT_IS[status]))


def test_there_is_a_sample_of_every_status() -> None:
    assert {status: order_that_is(status).state.status for status in OrderStatus} == {
        status: status for status in OrderStatus
    }


def test_an_order_is_created_with_the_fields_of_the_command() -> None:
    given_no(ORDER).when(create, order_of(TWO_CUPS, ONE_POT), [CUP, POT]).then(order_created())


def test_a_total_is_exact_and_in_the_currency_of_the_products() -> None:
    product = dollar_product("0.10")
    line = OrderLine(CUP_ID, "cup", 3, Decimal("0.10"))
    item = OrderItem(CUP_ID, "cup", 3, Decimal("0.10"))
    total = Money(Decimal("0.30"), "USD")
    created = OrderCreated(ORDER_ID, "taro", (item,), total, "approve", "standard")
    given_no(ORDER).when(create, order_of(line), [product]).then(created)


def test_the_largest_total_is_exact() -> None:
    ids = [UUID(int=1000 + n) for n in range(100)]
    products = [replace(CUP, product_id=one, price=Money(MAX_AMOUNT)) for one in ids]
    lines = [OrderLine(one, "湯呑み", MAX_QUANTITY, MAX_AMOUNT) for one in ids]
    (created,) = create(order_of(*lines), ORDER.initial, products)
    assert isinstance(created, OrderCreated)
    assert created.total.amount == 100 * MAX_QUANTITY * int(MAX_AMOUNT)


def test_an_order_stores_the_price_as_the_product_has_it() -> None:
    line = OrderLine(CUP_ID, "湯呑み", 1, Decimal("800.00"))
    (created,) = create(order_of(line), ORDER.initial, [CUP])
    assert isinstance(created, OrderCreated)
    assert (str(created.items[0].unit_price), str(created.total.amount)) == ("800", "800")


def test_an_order_may_cost_nothing() -> None:
    free = replace(CUP, price=yen(0))
    (created,) = create(order_of(replace(TWO_CUPS, unit_price=Decimal(0))), ORDER.initial, [free])
    assert isinstance(created, OrderCreated)
    assert created.total == yen(0)


def test_creating_an_order_does_not_check_the_stock() -> None:
    sold_out = given(cup_created(on_hand=0)).state
    assert len(create(order_of(TWO_CUPS), ORDER.initial, [sold_out])) == 1


@pytest.mark.parametrize("status", [status for status in OrderStatus if status is not OrderStatus.ABSENT])
def test_an_order_is_not_created_under_an_id_that_is_taken(status: OrderStatus) -> None:
    order_that_is(status).when(create, order_of(TWO_CUPS), [CUP]).then_rejected(Rejected, field=["order_id"])


def test_a_product_that_does_not_exist_is_not_ordered() -> None:
    products = [CUP, PRODUCT.initial]
    field: Path = ["items", 1, "product_id"]
    given_no(ORDER).when(create, order_of(TWO_CUPS, ONE_POT), products).then_rejected(NotFound, field=field)


def test_a_product_that_is_no_longer_sold_is_not_ordered() -> None:
    products = [CUP, given(pot_created(), ProductDeleted(POT_ID)).state]
    field: Path = ["items", 1, "product_id"]
    given_no(ORDER).when(create, order_of(TWO_CUPS, ONE_POT), products).then_rejected(Rejected, field=field)


def test_the_name_that_the_client_saw_is_not_trusted() -> None:
    line = replace(ONE_POT, product_name="金の急須")
    given_no(ORDER).when(create, order_of(TWO_CUPS, line), [CUP, POT]).then_rejected(
        Rejected, match="急須", field=["items", 1, "product_name"]
    )


@pytest.mark.parametrize("price", ["1", "3199", "3200.01", "3201"])
def test_the_price_that_the_client_saw_is_not_trusted(price: str) -> None:
    line = replace(ONE_POT, unit_price=Decimal(price))
    given_no(ORDER).when(create, order_of(TWO_CUPS, line), [CUP, POT]).then_rejected(
        Rejected, match="3200", field=["items", 1, "unit_price"]
    )


def test_a_product_has_only_one_line_in_an_order() -> None:
    command = order_of(TWO_CUPS, ONE_POT, TWO_CUPS)
    field: Path = ["items", 2, "product_id"]
    given_no(ORDER).when(create, command, [CUP, POT, CUP]).then_rejected(Invalid, field=field)


def test_an_order_has_only_one_currency() -> None:
    lines = order_of(replace(TWO_CUPS, product_name="cup", unit_price=Decimal("8.00")), ONE_POT)
    given_no(ORDER).when(create, lines, [dollar_product("8.00"), POT]).then_rejected(
        Rejected, match="JPY, USD", field=["items"]
    )


@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.INVENTORY_RESERVED, OrderStatus.PAYMENT_PROCESSED])
def test_an_order_can_be_cancelled_before_shipment(status: OrderStatus) -> None:
    order_that_is(status).when(cancel, CANCEL).then(CANCELLATION)


@pytest.mark.parametrize("status", [OrderStatus.SHIPPED, OrderStatus.CONFIRMED])
def test_a_shipped_order_cannot_be_cancelled(status: OrderStatus) -> None:
    order_that_is(status).when(cancel, CANCEL).then_rejected(Rejected, match=status.value, field=["id"])


@pytest.mark.parametrize("status", [OrderStatus.CANCELLED, OrderStatus.FAILED])
def test_cancelling_an_order_that_has_ended_records_nothing(status: OrderStatus) -> None:
    order_that_is(status).when(cancel, CANCEL).then_nothing()


def test_an_order_that_does_not_exist_cannot_be_cancelled() -> None:
    given_no(ORDER).when(cancel, CANCEL).then_rejected(NotFound, field=["id"])


@pytest.mark.parametrize("reason", [None, ""])
def test_a_cancellation_always_has_a_reason(reason: str | None) -> None:
    cancelled = OrderCancellationRequested(ORDER_ID, "cancelled by the customer")
    given(CREATED).when(cancel, CancelOrder(ORDER_ID, reason)).then(cancelled)


@pytest.mark.parametrize("status", [OrderStatus.PENDING, OrderStatus.INVENTORY_RESERVED, OrderStatus.PAYMENT_PROCESSED])
def test_cancelling_twice_records_nothing(status: OrderStatus) -> None:
    Given(ORDER.fold([*ORDER_THAT_IS[status], CANCELLATION])).when(cancel, CANCEL).then_nothing()


def test_cancelling_again_after_the_shipment_was_arranged_records_nothing() -> None:
    given(CREATED, RESERVED, PAID, CANCELLATION, SHIPPED).when(cancel, CANCEL).then_nothing()


@pytest.mark.parametrize(
    "history",
    [
        [InventoryReservationFailed(ORDER_ID, "sold out")],
        [RESERVED, DECLINED],
        [RESERVED, PAID, ShippingFailed(ORDER_ID, "too far")],
        [RESERVED, FulfilmentStopped(ORDER_ID)],
        [RELEASED],
        [RESERVED, PAID, SHIPPED, FulfilmentStopped(ORDER_ID)],
        [RESERVED, PAID, SHIPPED, FulfilmentStopped(ORDER_ID), ShippingCancelled(ORDER_ID)],
    ],
    ids=lambda history: type(history[-1]).__name__,
)
def test_cancelling_a_failing_order_records_nothing(history: list[OrderEvent]) -> None:
    given(CREATED, *history).when(cancel, CANCEL).then_nothing()


def test_a_new_order_is_open() -> None:
    order = given(CREATED).state
    assert (order.status, order.inventory, order.payment, order.shipping, order.closing) == (
        OrderStatus.PENDING,
        *(Outcome.OPEN,) * 3,
        False,
    )


def test_a_fulfilled_order_has_its_payment_and_shipping_ids() -> None:
    order = order_that_is(OrderStatus.CONFIRMED).state
    assert (order.inventory, order.payment, order.shipping) == (Outcome.DONE,) * 3
    assert (order.payment_id, order.shipping_id, order.closing) == ("payment-1", "parcel-1", False)


@pytest.mark.parametrize(
    ("event", "step", "outcome"),
    [
        (InventoryReservationFailed(ORDER_ID, "sold out"), "inventory", Outcome.FAILED),
        (DECLINED, "payment", Outcome.FAILED),
        (ShippingFailed(ORDER_ID, "too far"), "shipping", Outcome.FAILED),
        (RELEASED, "inventory", Outcome.UNDONE),
        (PaymentRefunded(ORDER_ID), "payment", Outcome.UNDONE),
        (ShippingCancelled(ORDER_ID), "shipping", Outcome.UNDONE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_step_that_failed_or_was_undone_closes_the_order(event: OrderEvent, step: str, outcome: Outcome) -> None:
    order = given(CREATED, event).state
    steps = {"inventory": order.inventory, "payment": order.payment, "shipping": order.shipping}
    assert steps == dict.fromkeys(steps, Outcome.OPEN) | {step: outcome}
    assert (order.status, order.closing) == (OrderStatus.PENDING, True)


def test_the_first_reason_stays_until_the_last_event_gives_its_own() -> None:
    history = [CREATED, CANCELLATION, RESERVED, DECLINED]
    assert ORDER.fold(history).reason == "changed my mind"
    assert ORDER.fold([*history, OrderFailed(ORDER_ID, "because")]).reason == "because"


@pytest.mark.parametrize(
    ("end", "status"),
    [(OrderCancelled(ORDER_ID, "why"), OrderStatus.CANCELLED), (OrderFailed(ORDER_ID, "why"), OrderStatus.FAILED)],
    ids=["cancelled", "failed"],
)
def test_an_order_ends_closed_and_with_a_reason(end: OrderEvent, status: OrderStatus) -> None:
    order = given(CREATED, end).state
    assert (order.status, order.closing, order.reason) == (status, True, "why")
