"""A saga that is under way goes on in a release with other steps."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.domain import commands, events
from shared.sagas.definition import (
    END,
    DeadlinePassed,
    GivenUp,
    Progress,
    Retries,
    Saga,
    SagaStatus,
    Step,
    advance,
)
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.releases import carried_over, step_names

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID(int=1)


def check_again(order_id: UUID) -> commands.ReserveInventory:
    return commands.ReserveInventory(order_id)


ADDED = Step(check_again, events.InventoryReserved, timedelta(seconds=5), Retries(0), best_effort=True)
LONGER = replace(ORDER_FULFILMENT, steps=(*ORDER_FULFILMENT.steps[:2], ADDED, *ORDER_FULFILMENT.steps[2:]))


def progress(of: Saga, step: int, status: SagaStatus = SagaStatus.STARTED, **more: object) -> Progress:
    started = Progress(ID, status, step=step, attempts=2, deadline_at=NOW, steps=step_names(of))
    return replace(started, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 1), (2, 3), (3, 4)])
@pytest.mark.parametrize("status", [SagaStatus.STARTED, SagaStatus.COMPENSATING])
def test_a_step_keeps_its_place_when_a_step_is_added_or_removed(before: int, after: int, status: SagaStatus) -> None:
    short, long = progress(ORDER_FULFILMENT, before, status), progress(LONGER, after, status)
    assert carried_over(LONGER, short) == long
    assert carried_over(ORDER_FULFILMENT, long) == short


def test_what_is_undone_and_given_up_is_carried_over_by_name() -> None:
    marked = progress(LONGER, 1, SagaStatus.COMPENSATING, undone=frozenset({3, 2, END}), given_up=(GivenUp(2, "late"),))
    carried = carried_over(ORDER_FULFILMENT, marked)
    assert (carried.undone, carried.given_up) == (frozenset({2, END}), ())


def test_a_removed_step_in_flight_is_passed_over_at_the_next_deadline() -> None:
    carried = carried_over(ORDER_FULFILMENT, progress(LONGER, 2))
    assert (carried.step, carried.attempts, carried.deadline_at) == (2, 0, NOW)
    assert advance(ORDER_FULFILMENT, carried, DeadlinePassed(), NOW)[1] == [commands.ArrangeShipping(ID)]


def test_a_removed_step_that_is_being_undone_leaves_the_steps_before_it_to_undo() -> None:
    carried = carried_over(ORDER_FULFILMENT, progress(LONGER, 2, SagaStatus.COMPENSATING))
    assert advance(ORDER_FULFILMENT, carried, DeadlinePassed(), NOW)[1] == [commands.RefundPayment(ID)]


def test_progress_of_a_release_that_did_not_name_its_steps_stays_as_it_is() -> None:
    old = replace(progress(ORDER_FULFILMENT, 2), steps=())
    assert carried_over(LONGER, old) == replace(old, steps=step_names(LONGER))
