"""A saga that is under way goes on in a release with other steps."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.domain import commands, events
from shared.sagas.definition import END, DeadlinePassed, GivenUp, Progress, Retries, Saga, Step, advance
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.outlook import awaited, outlook
from shared.sagas.releases import carried_over, in_version
from shared.sagas.status import SagaStatus
from tests.first_version import FIRST_VERSION

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID(int=1)


def check_again(order_id: UUID) -> commands.ReserveInventory:
    return commands.ReserveInventory(order_id)


ADDED = Step(check_again, events.InventoryReserved, timedelta(seconds=5), Retries(0), best_effort=True)
LONGER = replace(FIRST_VERSION, steps=(*FIRST_VERSION.steps[:2], ADDED, *FIRST_VERSION.steps[2:]))


def progress(of: Saga, step: int, status: SagaStatus = SagaStatus.STARTED, **more: object) -> Progress:
    started = Progress(ID, status, step=step, attempts=2, deadline_at=NOW, steps=of.step_names)
    return replace(started, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 1), (2, 3), (3, 4)])
@pytest.mark.parametrize("status", [SagaStatus.STARTED, SagaStatus.COMPENSATING])
def test_a_step_keeps_its_place_when_a_step_is_added_or_removed(before: int, after: int, status: SagaStatus) -> None:
    short, long = progress(FIRST_VERSION, before, status), progress(LONGER, after, status)
    assert carried_over(LONGER, short) == long
    assert carried_over(FIRST_VERSION, long) == short


def test_what_is_undone_and_given_up_is_carried_over_by_name() -> None:
    marked = progress(LONGER, 1, SagaStatus.COMPENSATING, undone=frozenset({3, 2, END}), given_up=(GivenUp(2, "late"),))
    carried = carried_over(FIRST_VERSION, marked)
    assert (carried.undone, carried.given_up) == (frozenset({2, END}), ())


def test_a_removed_step_in_flight_is_passed_over_at_the_next_deadline() -> None:
    carried = carried_over(FIRST_VERSION, progress(LONGER, 2))
    assert (carried.step, carried.attempts, carried.deadline_at) == (2, 0, NOW)
    assert advance(FIRST_VERSION, carried, DeadlinePassed(), NOW)[1] == [commands.ArrangeShipping(ID)]


def test_a_removed_step_that_is_being_undone_leaves_the_steps_before_it_to_undo() -> None:
    carried = carried_over(FIRST_VERSION, progress(LONGER, 2, SagaStatus.COMPENSATING))
    assert advance(FIRST_VERSION, carried, DeadlinePassed(), NOW)[1] == [commands.RefundPayment(ID)]


def test_progress_of_a_release_that_did_not_name_its_steps_stays_as_it_is() -> None:
    old = replace(progress(FIRST_VERSION, 2), steps=())
    assert carried_over(LONGER, old) == replace(old, steps=LONGER.step_names)


SECOND = replace(LONGER, version=2, former=(FIRST_VERSION,))
"""A release that adds a step and keeps the version before."""


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("status", list(SagaStatus))
def test_a_saga_keeps_the_version_that_it_began_with(step: int, status: SagaStatus) -> None:
    begun = progress(FIRST_VERSION, step, status)
    assert in_version(SECOND, begun) == (FIRST_VERSION, begun)


def test_a_saga_that_begins_has_the_newest_version() -> None:
    begun = replace(progress(SECOND, 2), version=2)
    assert in_version(SECOND, begun) == (SECOND, begun)


def test_a_version_that_keeps_its_steps_and_changes_an_event_is_another_version() -> None:
    steps = (replace(FIRST_VERSION.steps[0], until=events.StockReserved), *FIRST_VERSION.steps[1:])
    changed = replace(FIRST_VERSION, steps=steps, version=2, former=(FIRST_VERSION,))
    assert in_version(changed, progress(FIRST_VERSION, 0))[0] is FIRST_VERSION


def test_a_version_that_is_not_kept_is_carried_over_and_stays_in_the_new_one() -> None:
    saga, carried = in_version(FIRST_VERSION, replace(progress(SECOND, 3), version=2))
    assert (saga, carried.step, carried.version) == (FIRST_VERSION, 2, 1)
    assert in_version(SECOND, carried) == (FIRST_VERSION, carried)


def test_what_people_see_of_a_saga_follows_its_own_version() -> None:
    begun = progress(FIRST_VERSION, 2)
    assert awaited(SECOND, begun) == "ArrangeShipping"
    now = outlook(SECOND, begun)
    assert now and "ArrangeShipping: attempt 2 of 4" in str(now.sentence)


def test_former_versions_keep_their_commands_and_their_pace() -> None:
    shorter = replace(FIRST_VERSION, steps=FIRST_VERSION.steps[:1], version=2, former=(FIRST_VERSION,))
    assert set(FIRST_VERSION.commands) <= set(shorter.commands)
    assert shorter.at_pace(2).former == (FIRST_VERSION.at_pace(2),)


VERSIONS = {
    1: (
        (
            "ReserveInventory",
            "InventoryReserved",
            "InventoryReservationFailed",
            "ReleaseInventory",
            "InventoryReleased",
        ),
        ("ProcessPayment", "PaymentProcessed", "PaymentFailed", "RefundPayment", "PaymentRefunded"),
        ("ArrangeShipping", "ShippingArranged", "ShippingFailed", "CancelShipping", "ShippingCancelled"),
        ("ConfirmOrder", "OrderConfirmed", None, None, None),
        ("NotifyCustomer", "CustomerNotified", "NotificationFailed", None, None),
    ),
}
"""Commands and events of every version that sagas under way may have. Entries are added, never
changed."""


def test_a_change_of_the_saga_is_a_new_version() -> None:
    kept = {one.version: one for one in (ORDER_FULFILMENT, *ORDER_FULFILMENT.former)}
    assert {number: _shape(one) for number, one in kept.items()} == {number: VERSIONS[number] for number in kept}, (
        "the table differs from its version: give it a new one as shared/sagas/change-the-saga.md says"
    )


def _shape(saga: Saga) -> tuple[tuple[str | None, ...], ...]:
    parts = ("send", "until", "unless", "undo", "undone")
    return tuple(tuple(getattr(getattr(step, part), "__name__", None) for part in parts) for step in saga.steps)
