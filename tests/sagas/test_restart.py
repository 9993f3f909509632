"""A stuck saga goes forward again from a step, and nothing happens twice."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from shared.domain import commands, events
from shared.domain.errors import Invalid, Rejected
from shared.domain.values import Money
from shared.sagas.definition import GivenUp, Progress
from shared.sagas.restart import restart
from shared.sagas.status import SagaStatus
from tests.first_version import FIRST_VERSION

NOW, ID, SAGA = datetime(2026, 1, 1, tzinfo=UTC), UUID(int=1), FIRST_VERSION
CREATED = events.OrderCreated(ID, "ann", (), Money(Decimal(1)), "card", "post")
RESERVED = events.InventoryReserved(ID)
PAID = events.PaymentProcessed(ID, "payment", Money(Decimal(1)))
SHIPPED = events.ShippingArranged(ID, "parcel")
STUCK = Progress(ID, SagaStatus.STUCK, attempts=9, reason="no PaymentProcessed in time", compensated=True)


@pytest.mark.parametrize(
    ("happened", "from_step", "sends"),
    [
        ([], "reserve_inventory", commands.ReserveInventory(ID)),
        ([RESERVED], "process_payment", commands.ProcessPayment(ID)),
        ([RESERVED], "reserve_inventory", commands.ProcessPayment(ID)),
        ([RESERVED, PAID], "process_payment", commands.ArrangeShipping(ID)),
        ([RESERVED, PAID, SHIPPED], "reserve_inventory", commands.ConfirmOrder(ID)),
    ],
)
@pytest.mark.parametrize("stuck_at", range(4))
def test_a_saga_goes_on_at_the_first_step_that_has_not_succeeded(
    happened: Sequence[object], from_step: str, sends: object, stuck_at: int
) -> None:
    progress, sent = restart(SAGA, replace(STUCK, step=stuck_at), [CREATED, *happened], from_step, NOW)
    assert sent == [sends]
    assert (progress.status, progress.attempts, progress.compensated) == (SagaStatus.STARTED, 1, False)
    assert (progress.reason, progress.deadline_at) == (None, NOW + SAGA.steps[progress.step].within)


def test_a_step_that_was_given_up_counts_as_done() -> None:
    steps = (replace(SAGA.steps[0], best_effort=True), *SAGA.steps[1:])
    given_up = replace(STUCK, step=1, given_up=(GivenUp(0, "late"),))
    assert restart(replace(SAGA, steps=steps), given_up, [CREATED], "process_payment", NOW)[0].step == 1


@pytest.mark.parametrize("step", ["", "ProcessPayment", "refund_payment", "x" * 999])
def test_an_unknown_step_is_refused_with_the_names_of_all(step: str) -> None:
    with pytest.raises(Invalid, match=r"has no step .*its steps are reserve_inventory, process_payment") as refused:
        restart(SAGA, STUCK, [CREATED], step, NOW)
    assert refused.value.field == ("from_step",)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (SagaStatus.STARTED, "the saga is STARTED; only a STUCK saga can be restarted: it goes on by itself"),
        (SagaStatus.COMPENSATING, "the saga is COMPENSATING; .* it goes on by itself"),
        (SagaStatus.COMPLETED, "the saga is COMPLETED; .* its effects stay as they are"),
        (SagaStatus.FAILED, "the saga is FAILED; .* its effects stay as they are"),
    ],
)
def test_only_a_stuck_saga_is_restarted(status: SagaStatus, why: str) -> None:
    with pytest.raises(Rejected, match=why):
        restart(SAGA, replace(STUCK, status=status), [CREATED], "reserve_inventory", NOW)


def test_a_saga_past_the_point_of_no_return_is_not_restarted() -> None:
    with pytest.raises(Rejected, match="past its point of no return, confirm_order; retrySaga sends its command"):
        restart(SAGA, replace(STUCK, step=4), [CREATED, RESERVED, PAID, SHIPPED], "process_payment", NOW)


def test_a_step_after_the_point_of_no_return_is_refused() -> None:
    with pytest.raises(Rejected, match="notify_customer comes after the point of no return; restart from reserve_inv"):
        restart(SAGA, STUCK, [CREATED, RESERVED, PAID, SHIPPED], "notify_customer", NOW)


def test_no_step_is_passed_over() -> None:
    with pytest.raises(Rejected, match="process_payment, a step before arrange_shipping, has not succeeded"):
        restart(SAGA, STUCK, [CREATED, RESERVED], "arrange_shipping", NOW)


@pytest.mark.parametrize(
    "closing",
    [
        events.OrderCancellationRequested(ID, "changed my mind"),
        events.FulfilmentStopped(ID),
        events.InventoryReservationFailed(ID, "sold out"),
        events.PaymentFailed(ID, "declined"),
        events.ShippingFailed(ID, "too far"),
        events.ShippingCancelled(ID),
        events.PaymentRefunded(ID),
        events.InventoryReleased(ID),
        events.OrderFailed(ID, "late"),
        events.OrderCancelled(ID, "late"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_no_step_begins_again_once_the_order_is_closing(closing: object) -> None:
    with pytest.raises(Rejected, match=f"{type(closing).__name__} is recorded, so no step begins again; retrySaga"):
        restart(SAGA, STUCK, [CREATED, RESERVED, closing], "process_payment", NOW)


def test_a_saga_whose_stream_is_lost_is_not_restarted() -> None:
    with pytest.raises(Rejected, match="stream is not in the event store; retrySaga ends"):
        restart(SAGA, STUCK, [], "reserve_inventory", NOW)
