"""The rules of each step of an order's fulfilment, its compensation and its end."""

from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from shared.domain.commands import (
    ArrangeShipping,
    CancelShipping,
    ConfirmOrder,
    FailOrder,
    NotifyCustomer,
    ProcessPayment,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
)
from shared.domain.events import (
    CustomerNotified,
    Event,
    FulfilmentStopped,
    InventoryReleased,
    InventoryReservationFailed,
    InventoryReserved,
    NotificationEvent,
    NotificationFailed,
    OrderCancelled,
    OrderConfirmed,
    OrderEvent,
    OrderFailed,
    PaymentFailed,
    PaymentProcessed,
    PaymentRefunded,
    ProductDeleted,
    ProductEvent,
    ShippingArranged,
    ShippingCancelled,
    ShippingFailed,
    StockReleased,
    StockReserved,
    StockShipped,
)
from shared.domain.fulfilment import (
    confirm,
    fail,
    record_notification,
    record_notification_failure,
    record_payment,
    record_payment_failure,
    record_refund,
    record_shipping,
    record_shipping_cancellation,
    record_shipping_failure,
    release_inventory,
    reserve_inventory,
    stop,
    wants_payment,
    wants_shipping,
    wants_undoing,
)
from shared.domain.order import ORDER, Order, OrderStatus, Outcome
from shared.domain.product import PRODUCT, Product
from tests.specification import (
    CANCELLATION,
    CREATED,
    CUP_ID,
    DECLINED,
    ORDER_ID,
    ORDER_THAT_IS,
    OTHER_ORDER_ID,
    PAID,
    POT_ID,
    RELEASED,
    RESERVED,
    SHIPPED,
    Given,
    cup_created,
    given,
    pot_created,
    yen,
)

Decision = Callable[[Order, Sequence[Product]], Sequence[Event]]

CUP, POT = cup_created(on_hand=5), pot_created(on_hand=5)
WITHOUT_RESERVATIONS = [given(CUP).state, given(POT).state]
CUPS_RESERVED, POTS_RESERVED = StockReserved(CUP_ID, ORDER_ID, 2), StockReserved(POT_ID, ORDER_ID, 1)
WITH_RESERVATIONS = [given(CUP, CUPS_RESERVED).state, given(POT, POTS_RESERVED).state]
REFUNDED, RECALLED = PaymentRefunded(ORDER_ID), ShippingCancelled(ORDER_ID)
STOPPED, CONFIRMED = FulfilmentStopped(ORDER_ID), OrderConfirmed(ORDER_ID)

RESERVE, RELEASE = ReserveInventory(ORDER_ID), ReleaseInventory(ORDER_ID)
CHARGE, REFUND = ProcessPayment(ORDER_ID), RefundPayment(ORDER_ID)
SEND, RECALL = ArrangeShipping(ORDER_ID), CancelShipping(ORDER_ID)
CONFIRM, FAIL = ConfirmOrder(ORDER_ID), FailOrder(ORDER_ID, "no PaymentProcessed in time")

DECISIONS: dict[str, Decision] = {
    "reserve": lambda order, products: reserve_inventory(RESERVE, order, products),
    "release": lambda order, products: release_inventory(RELEASE, order, products),
    "charge": lambda order, _: record_payment("payment-1", CHARGE, order),
    "decline": lambda order, _: record_payment_failure("declined", CHARGE, order),
    "refund": lambda order, _: record_refund(REFUND, order),
    "send": lambda order, _: record_shipping("parcel-1", SEND, order),
    "refuse": lambda order, _: record_shipping_failure("too far", SEND, order),
    "recall": lambda order, _: record_shipping_cancellation(RECALL, order),
    "stop for refund": lambda order, _: stop(REFUND, order),
    "stop for recall": lambda order, _: stop(RECALL, order),
    "confirm": lambda order, products: confirm(CONFIRM, order, products),
    "tell": lambda order, _: record_notification("mail-1", NotifyCustomer(ORDER_ID), order),
    "bounce": lambda order, _: record_notification_failure("bounced", NotifyCustomer(ORDER_ID), order),
    "fail": lambda order, _: fail(FAIL, order),
}

Records = dict[str, type[OrderEvent]]

UNDOING: Records = {"release": InventoryReleased, "refund": PaymentRefunded, "recall": ShippingCancelled}
STOPPING: Records = {"stop for refund": FulfilmentStopped, "stop for recall": FulfilmentStopped}
CHARGING: Records = {"charge": PaymentProcessed, "decline": PaymentFailed}
SENDING: Records = {"send": ShippingArranged, "refuse": ShippingFailed}

RECORDED: dict[OrderStatus, Records] = {
    OrderStatus.PENDING: UNDOING | STOPPING | {"reserve": InventoryReserved, "fail": OrderFailed},
    OrderStatus.INVENTORY_RESERVED: CHARGING | UNDOING | STOPPING | {"fail": OrderFailed},
    OrderStatus.PAYMENT_PROCESSED: SENDING | UNDOING | STOPPING | {"fail": OrderFailed},
    OrderStatus.SHIPPED: UNDOING | STOPPING | {"confirm": OrderConfirmed, "fail": OrderFailed},
    OrderStatus.CONFIRMED: {"tell": CustomerNotified, "bounce": NotificationFailed},
    OrderStatus.CANCELLED: {"refund": PaymentRefunded, "recall": ShippingCancelled},
    OrderStatus.FAILED: {"refund": PaymentRefunded, "recall": ShippingCancelled},
}
"""The event of each decision on the order's stream, by status; other decisions record nothing."""

CLOSING: dict[str, list[OrderEvent]] = {
    "cancelled at once": [CREATED, CANCELLATION],
    "cancelled when reserved": [CREATED, RESERVED, CANCELLATION],
    "cancelled when paid": [CREATED, RESERVED, PAID, CANCELLATION],
    "cancelled, then sent": [CREATED, RESERVED, PAID, CANCELLATION, SHIPPED],
    "sold out": [CREATED, InventoryReservationFailed(ORDER_ID, "sold out")],
    "declined": [CREATED, RESERVED, DECLINED],
    "too far": [CREATED, RESERVED, PAID, ShippingFailed(ORDER_ID, "too far")],
    "stopped": [CREATED, RESERVED, PAID, SHIPPED, STOPPED],
    "recalled": [CREATED, RESERVED, PAID, SHIPPED, STOPPED, RECALLED],
    "refunded": [CREATED, RESERVED, PAID, SHIPPED, STOPPED, RECALLED, REFUNDED],
    "released": [CREATED, RESERVED, PAID, SHIPPED, STOPPED, RECALLED, REFUNDED, RELEASED],
}
ENDED = {
    status.value: ORDER_THAT_IS[status] for status in (OrderStatus.CONFIRMED, OrderStatus.CANCELLED, OrderStatus.FAILED)
}
HISTORIES = {status.value: ORDER_THAT_IS[status] for status in RECORDED} | CLOSING

closing = pytest.mark.parametrize("history", CLOSING.values(), ids=CLOSING)
every_history = pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
every_decision = pytest.mark.parametrize("decide", DECISIONS.values(), ids=DECISIONS)


def products_of(order: Order) -> Sequence[Product]:
    return WITH_RESERVATIONS if order.inventory is Outcome.DONE else WITHOUT_RESERVATIONS


def after(events: Sequence[Event], order: Order, products: Sequence[Product]) -> tuple[Order, list[Product]]:
    """Return the states after the events of one append."""
    of_order = [event for event in events if isinstance(event, OrderEvent)]
    of_products = [event for event in events if isinstance(event, ProductEvent)]
    moved = [PRODUCT.fold([e for e in of_products if e.product_id == one.product_id], one) for one in products]
    return ORDER.fold(of_order, order), moved


@pytest.mark.parametrize("status", RECORDED)
@pytest.mark.parametrize("decision", DECISIONS)
def test_each_decision_records_its_event_only_in_the_right_status(decision: str, status: OrderStatus) -> None:
    order = ORDER.fold(ORDER_THAT_IS[status])
    recorded = [event for event in DECISIONS[decision](order, products_of(order)) if isinstance(event, OrderEvent)]
    expected = RECORDED[status].get(decision)
    assert [type(event) for event in recorded] == ([expected] if expected else [])


@pytest.mark.parametrize("decision", ["reserve", "confirm", "fail", *UNDOING, *STOPPING])
def test_nothing_is_recorded_for_an_order_that_was_never_placed(decision: str) -> None:
    assert list(DECISIONS[decision](ORDER.initial, [])) == []


def test_an_order_that_was_never_placed_needs_neither_payment_nor_shipping() -> None:
    assert not wants_payment(ORDER.initial)
    assert not wants_shipping(ORDER.initial)


@every_history
@every_decision
def test_every_step_is_taken_once(decide: Decision, history: list[OrderEvent]) -> None:
    order = ORDER.fold(history)
    products = products_of(order)
    assert list(decide(*after(decide(order, products), order, products))) == []


@every_decision
def test_nothing_happens_after_a_confirmed_order_but_that_its_customer_is_told_once(decide: Decision) -> None:
    order = ORDER.fold(ORDER_THAT_IS[OrderStatus.CONFIRMED])
    told = list(decide(order, WITHOUT_RESERVATIONS))
    assert all(isinstance(event, NotificationEvent) for event in told)
    assert list(decide(ORDER.fold(told, order), WITHOUT_RESERVATIONS)) == []
    assert not any(wants_undoing(order, step) for step in Outcome)


@closing
def test_no_step_begins_once_an_order_is_closing(history: list[OrderEvent]) -> None:
    order = ORDER.fold(history)
    assert not wants_payment(order)
    assert not wants_shipping(order)
    assert reserve_inventory(RESERVE, order, WITHOUT_RESERVATIONS) == []
    assert confirm(CONFIRM, order, WITH_RESERVATIONS) == []
    assert stop(REFUND, order) == []


@pytest.mark.parametrize("history", ENDED.values(), ids=ENDED)
def test_no_step_begins_once_an_order_has_ended(history: list[OrderEvent]) -> None:
    order = ORDER.fold(history)
    assert not wants_payment(order)
    assert not wants_shipping(order)
    assert reserve_inventory(RESERVE, order, WITHOUT_RESERVATIONS) == []


def test_an_open_order_is_paid_once_and_then_shipped_once() -> None:
    assert not wants_payment(given(CREATED).state)
    assert wants_payment(given(CREATED, RESERVED).state)
    assert not wants_shipping(given(CREATED, RESERVED).state)
    assert not wants_payment(given(CREATED, RESERVED, PAID).state)
    assert wants_shipping(given(CREATED, RESERVED, PAID).state)
    assert not wants_shipping(given(CREATED, RESERVED, PAID, SHIPPED).state)


def test_all_lines_are_reserved() -> None:
    given(CREATED).when(reserve_inventory, RESERVE, WITHOUT_RESERVATIONS).then(RESERVED, CUPS_RESERVED, POTS_RESERVED)


def test_one_line_without_enough_stock_fails_the_reservation_of_all_lines() -> None:
    products = [given(CUP).state, given(pot_created(on_hand=0)).state]
    failed = InventoryReservationFailed(ORDER_ID, "急須: 1 ordered, 0 available")
    given(CREATED).when(reserve_inventory, RESERVE, products).then(failed)


def test_a_failed_reservation_names_every_shortage() -> None:
    products = [given(cup_created(on_hand=1)).state, given(POT, ProductDeleted(POT_ID)).state]
    failed = InventoryReservationFailed(ORDER_ID, "湯呑み: 2 ordered, 1 available; 急須 is no longer sold")
    given(CREATED).when(reserve_inventory, RESERVE, products).then(failed)


def test_units_reserved_for_another_order_are_not_available() -> None:
    products = [given(cup_created(on_hand=5), StockReserved(CUP_ID, OTHER_ORDER_ID, 4)).state, given(POT).state]
    failed = InventoryReservationFailed(ORDER_ID, "湯呑み: 2 ordered, 1 available")
    given(CREATED).when(reserve_inventory, RESERVE, products).then(failed)


def test_a_reservation_that_failed_is_not_tried_again() -> None:
    history = given(CREATED, InventoryReservationFailed(ORDER_ID, "sold out"))
    history.when(reserve_inventory, RESERVE, WITHOUT_RESERVATIONS).then_nothing()


def test_a_release_returns_all_reserved_units() -> None:
    given(CREATED, RESERVED).when(release_inventory, RELEASE, WITH_RESERVATIONS).then(
        RELEASED, StockReleased(CUP_ID, ORDER_ID, 2), StockReleased(POT_ID, ORDER_ID, 1)
    )


def test_a_release_leaves_the_reservations_of_other_orders() -> None:
    others = [given(CUP, StockReserved(CUP_ID, OTHER_ORDER_ID, 2)).state, given(POT).state]
    given(CREATED).when(release_inventory, RELEASE, others).then(RELEASED)


def test_units_of_a_product_that_is_no_longer_sold_are_released() -> None:
    products = [given(CUP, CUPS_RESERVED, ProductDeleted(CUP_ID)).state, WITH_RESERVATIONS[1]]
    given(CREATED, RESERVED).when(release_inventory, RELEASE, products).then(
        RELEASED, StockReleased(CUP_ID, ORDER_ID, 2), StockReleased(POT_ID, ORDER_ID, 1)
    )


def test_a_compensation_leaves_its_mark_when_there_was_nothing_to_undo() -> None:
    given(CREATED).when(release_inventory, RELEASE, WITHOUT_RESERVATIONS).then(RELEASED)
    given(CREATED).when(record_refund, REFUND).then(REFUNDED)
    given(CREATED).when(record_shipping_cancellation, RECALL).then(RECALLED)


def test_a_compensation_leaves_its_mark_after_a_failure() -> None:
    given(CREATED, DECLINED).when(record_refund, REFUND).then(REFUNDED)
    given(CREATED, ShippingFailed(ORDER_ID, "far")).when(record_shipping_cancellation, RECALL).then(RECALLED)


def test_a_reservation_after_its_compensation_has_no_effect() -> None:
    given(CREATED, RELEASED).when(reserve_inventory, RESERVE, WITHOUT_RESERVATIONS).then_nothing()


def test_a_payment_after_its_compensation_has_no_effect() -> None:
    history = given(CREATED, RESERVED, REFUNDED)
    assert not wants_payment(history.state)
    history.when(partial(record_payment, "payment-1"), CHARGE).then_nothing()
    history.when(partial(record_payment_failure, "declined"), CHARGE).then_nothing()


def test_a_shipment_after_its_compensation_has_no_effect() -> None:
    history = given(CREATED, RESERVED, PAID, RECALLED)
    assert not wants_shipping(history.state)
    history.when(partial(record_shipping, "parcel-1"), SEND).then_nothing()
    history.when(partial(record_shipping_failure, "too far"), SEND).then_nothing()


def test_money_that_was_taken_is_recorded_even_when_the_order_is_closing() -> None:
    paid = PaymentProcessed(ORDER_ID, "payment-2", yen(4800))
    given(CREATED, RESERVED, CANCELLATION).when(partial(record_payment, "payment-2"), CHARGE).then(paid)


def test_a_shipment_that_was_arranged_is_recorded_even_when_the_order_is_closing() -> None:
    sent = ShippingArranged(ORDER_ID, "parcel-2")
    given(CREATED, RESERVED, PAID, CANCELLATION).when(partial(record_shipping, "parcel-2"), SEND).then(sent)


def test_confirming_takes_the_units_off_the_shelf() -> None:
    given(CREATED, RESERVED, PAID, SHIPPED).when(confirm, CONFIRM, WITH_RESERVATIONS).then(
        CONFIRMED, StockShipped(CUP_ID, ORDER_ID, 2), StockShipped(POT_ID, ORDER_ID, 1)
    )


def test_units_of_a_product_that_is_no_longer_sold_are_shipped() -> None:
    products = [given(CUP, CUPS_RESERVED, ProductDeleted(CUP_ID)).state, WITH_RESERVATIONS[1]]
    given(CREATED, RESERVED, PAID, SHIPPED).when(confirm, CONFIRM, products).then(
        CONFIRMED, StockShipped(CUP_ID, ORDER_ID, 2), StockShipped(POT_ID, ORDER_ID, 1)
    )


@pytest.mark.parametrize("command", [REFUND, RECALL])
def test_a_stopped_order_cannot_be_confirmed(command: RefundPayment | CancelShipping) -> None:
    shipped = given(CREATED, RESERVED, PAID, SHIPPED)
    shipped.when(stop, command).then(STOPPED)
    given(CREATED, RESERVED, PAID, SHIPPED, STOPPED).when(confirm, CONFIRM, WITH_RESERVATIONS).then_nothing()


def test_a_confirmed_order_cannot_be_stopped() -> None:
    confirmed = given(CREATED, RESERVED, PAID, SHIPPED, CONFIRMED)
    confirmed.when(stop, RECALL).then_nothing()
    confirmed.when(record_shipping_cancellation, RECALL).then_nothing()


def test_an_order_that_its_customer_cancelled_ends_cancelled_for_that_reason() -> None:
    history = given(CREATED, CANCELLATION, RELEASED)
    history.when(fail, FAIL).then(OrderCancelled(ORDER_ID, "changed my mind"))


def test_an_order_whose_step_failed_ends_failed_for_that_reason() -> None:
    history = given(CREATED, RESERVED, DECLINED, RELEASED)
    history.when(fail, FAIL).then(OrderFailed(ORDER_ID, "declined"))


def test_an_order_that_took_too_long_ends_failed_for_the_reason_of_its_saga() -> None:
    given(CREATED, RELEASED).when(fail, FAIL).then(OrderFailed(ORDER_ID, "no PaymentProcessed in time"))


def test_a_charge_declined_after_its_refund_is_not_the_reason_of_the_failure() -> None:
    stopped = given(CREATED, RESERVED, STOPPED)
    refusal = record_payment_failure("it has been undone already", CHARGE, stopped.state)
    end = Given(ORDER.fold([*refusal, REFUNDED, RELEASED], stopped.state))
    end.when(fail, FAIL).then(OrderFailed(ORDER_ID, "no PaymentProcessed in time"))


@for_all(st.lists(st.sampled_from(sorted(DECISIONS)), max_size=20))
@settings(max_examples=100, deadline=None)
def test_in_any_order_of_decisions_units_are_reserved_exactly_while_the_order_holds_them(
    names: list[str],
) -> None:
    order, products = after([], given(CREATED).state, WITHOUT_RESERVATIONS)
    for name in names:
        order, products = after(DECISIONS[name](order, products), order, products)
        sold = order.status is OrderStatus.CONFIRMED
        reserved = {ORDER_ID} if order.inventory is Outcome.DONE and not sold else set[UUID]()
        assert [set(product.reserved) for product in products] == [reserved, reserved]
        assert [product.on_hand for product in products] == ([3, 4] if sold else [5, 5])
