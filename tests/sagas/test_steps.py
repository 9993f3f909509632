"""What has become of each step of a saga, from its history and its state."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from uuid_utils.compat import uuid7

from shared.domain import events as e
from shared.sagas.definition import END, Advance, DeadlinePassed, Progress, advance, begin
from shared.sagas.status import SagaStatus
from shared.sagas.steps import AtStep, SagaStep, at_steps, steps_of
from shared.sagas.store import HistoryEntry, ListedSaga, StepCount, StoredSaga
from tests.four_steps import FOUR_STEPS

START = datetime(2026, 4, 1, tzinfo=UTC)
ID = uuid7()


def after(*happened: Any) -> ListedSaga:
    """Return a saga that has met these events, one a second: types of events, or DeadlinePassed."""
    history: list[tuple[datetime, HistoryEntry]] = []

    def note(at: datetime, moved: Advance) -> Progress:
        history.extend((at, HistoryEntry("command", type(command).__name__, {})) for command in moved[1])
        return moved[0]

    progress = note(START, begin(FOUR_STEPS, ID, START))
    for second, kind in enumerate(happened, 1):
        at = START + timedelta(seconds=second)
        event = object.__new__(kind)
        if hasattr(kind, "reason") or "reason" in getattr(kind, "__dataclass_fields__", {}):
            object.__setattr__(event, "reason", "declined")
        history.append((at, HistoryEntry("timer" if kind is DeadlinePassed else "event", kind.__name__, {})))
        progress = note(at, advance(FOUR_STEPS, progress, event, at))
    return ListedSaga(StoredSaga("OrderSaga", progress, 1, "c"), START, START, history)


def steps(listed: ListedSaga) -> dict[str, SagaStep]:
    return {step.name: step for step in steps_of(FOUR_STEPS, listed)}


def statuses(listed: ListedSaga) -> list[str | None]:
    return [step.status for step in steps_of(FOUR_STEPS, listed)]


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


FORWARD = (e.InventoryReserved, e.PaymentProcessed, e.ShippingArranged, e.OrderConfirmed)


def test_a_saga_goes_forward_step_by_step() -> None:
    assert statuses(after()) == ["RUNNING", "PENDING", "PENDING", "PENDING"]
    listed = after(*FORWARD[:2])
    assert statuses(listed) == ["DONE", "DONE", "RUNNING", "PENDING"]
    reserve, charge, ship, confirm = steps_of(FOUR_STEPS, listed)
    assert (reserve.name, reserve.command, reserve.compensation) == (
        "reserve_inventory",
        "ReserveInventory",
        "ReleaseInventory",
    )
    assert (reserve.attempts, reserve.started_at, reserve.ended_at) == (1, at(0), at(1))
    assert (charge.started_at, charge.ended_at, charge.deadline_at) == (at(1), at(2), None)
    assert (ship.started_at, ship.ended_at, ship.deadline_at) == (at(2), None, at(2) + timedelta(seconds=30))
    assert (confirm.attempts, confirm.started_at, confirm.compensation) == (0, None, None)
    assert statuses(after(*FORWARD)) == ["DONE"] * 4


def test_an_unanswered_command_is_sent_again() -> None:
    reserve = steps(after(DeadlinePassed, DeadlinePassed))["reserve_inventory"]
    assert (reserve.status, reserve.attempts, reserve.started_at, reserve.last_error) == ("RUNNING", 3, at(0), None)


def test_a_refused_step_fails_and_those_before_it_are_undone() -> None:
    listed = after(e.InventoryReserved, e.PaymentFailed)
    assert statuses(listed) == ["UNDOING", "FAILED", "PENDING", "PENDING"]
    assert steps(listed)["process_payment"].last_error == "declined"
    assert steps(listed)["process_payment"].ended_at == at(2)
    listed = after(e.InventoryReserved, e.PaymentFailed, DeadlinePassed, e.InventoryReleased)
    reserve = steps(listed)["reserve_inventory"]
    assert (reserve.status, reserve.undone, reserve.undo_attempts, reserve.undone_at) == ("UNDONE", True, 2, at(4))
    assert reserve.last_error is None
    assert statuses(after(e.InventoryReservationFailed)) == ["FAILED", "PENDING", "PENDING", "PENDING"]


def test_a_step_that_was_not_answered_in_time_is_undone_with_its_error() -> None:
    listed = after(e.InventoryReserved, *[DeadlinePassed] * 4)
    charge = steps(listed)["process_payment"]
    assert (charge.status, charge.attempts) == ("UNDOING", 4)
    assert charge.last_error == "no PaymentProcessed in time"
    assert statuses(listed) == ["DONE", "UNDOING", "PENDING", "PENDING"]


def test_a_cancellation_is_no_error_of_a_step() -> None:
    listed = after(e.InventoryReserved, e.OrderCancellationRequested)
    assert statuses(listed) == ["DONE", "UNDOING", "PENDING", "PENDING"]
    assert [step.last_error for step in steps_of(FOUR_STEPS, listed)] == [None] * 4


def test_a_compensation_that_is_never_answered_makes_its_step_stuck() -> None:
    listed = after(e.InventoryReserved, e.PaymentFailed, *[DeadlinePassed] * 9)
    assert listed.saga.progress.status is SagaStatus.STUCK
    assert statuses(listed)[0] == "STUCK"
    assert steps(listed)["reserve_inventory"].deadline_at is None


def test_a_saga_whose_history_is_forgotten_shows_what_its_state_tells() -> None:
    completed = replace(after(*FORWARD), history=[])
    assert statuses(completed) == ["DONE"] * 4
    assert {(step.attempts, step.started_at, step.ended_at) for step in steps_of(FOUR_STEPS, completed)} == {
        (None, None, None)
    }
    failed = after(e.InventoryReserved, e.PaymentFailed, e.InventoryReleased, e.OrderFailed)
    assert statuses(failed) == ["UNDONE", "FAILED", "PENDING", "PENDING"]
    assert statuses(replace(failed, history=[])) == ["UNDONE", None, None, None]


def test_unfinished_sagas_are_counted_at_each_step_in_the_order_of_the_definition() -> None:
    now, before = FOUR_STEPS.step_names, ("WeighParcel", "ProcessPayment")
    former = replace(FOUR_STEPS, version=1, steps=FOUR_STEPS.steps[1:], former=())
    saga = replace(FOUR_STEPS, version=3, former=(former,))
    counts = [
        StepCount(3, now, 1, SagaStatus.STARTED, 20_000),
        StepCount(3, now, 1, SagaStatus.COMPENSATING, 3),
        StepCount(1, former.step_names, 0, SagaStatus.STUCK, 2),
        StepCount(2, before, 1, SagaStatus.STARTED, 1),  # of a version that is not kept
        StepCount(3, now, END, SagaStatus.COMPENSATING, 4),
    ]
    first, second, *others, last = at_steps(saga, counts)
    assert (first, second) == (AtStep("reserve_inventory"), AtStep("process_payment", 20_006, 3, 2))
    assert {one.active for one in others} == {0} and len(others) == len(now) - 2
    assert last == AtStep(None, 4, 4, 0)
    assert [one.step for one in at_steps(saga, [])] == [first.step, second.step, *(one.step for one in others)]
