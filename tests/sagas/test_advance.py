"""How the order's saga moves, event by event. test_every_order.py tries every order of events."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from shared.domain.commands import (
    ArrangeShipping,
    CancelShipping,
    ConfirmOrder,
    FailOrder,
    ProcessPayment,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
)
from shared.domain.events import (
    FulfilmentStopped,
    InventoryReservationFailed,
    OrderCancelled,
    OrderConfirmed,
    OrderEvent,
    OrderFailed,
    PaymentRefunded,
    ShippingCancelled,
    ShippingFailed,
)
from shared.sagas.definition import DeadlinePassed, Progress, Retries, Saga, Step, advance, begin, resume
from shared.sagas.status import SagaStatus
from tests.four_steps import FOUR_STEPS
from tests.specification import CANCELLATION, CREATED, DECLINED, ORDER_ID, PAID, RELEASED, RESERVED, SHIPPED

NOW = datetime(2025, 4, 1, 9, 0, tzinfo=UTC)
TICK = DeadlinePassed()
SOLD_OUT = InventoryReservationFailed(ORDER_ID, "sold out")
TOO_FAR = ShippingFailed(ORDER_ID, "too far")
REFUNDED, RECALLED = PaymentRefunded(ORDER_ID), ShippingCancelled(ORDER_ID)
CONFIRMED, FAILED = OrderConfirmed(ORDER_ID), OrderFailed(ORDER_ID, "why")
CANCELLED = OrderCancelled(ORDER_ID, "why")

RESERVE, CHARGE = ReserveInventory(ORDER_ID), ProcessPayment(ORDER_ID)
SEND, CONFIRM = ArrangeShipping(ORDER_ID), ConfirmOrder(ORDER_ID)
RELEASE, REFUND, RECALL = ReleaseInventory(ORDER_ID), RefundPayment(ORDER_ID), CancelShipping(ORDER_ID)

SUCCESSES = [RESERVED, PAID, SHIPPED, CONFIRMED]
STEPS = [RESERVE, CHARGE, SEND, CONFIRM]
UNDO_ALL = [RECALL, REFUND, RELEASE]
ANSWERS: dict[object, OrderEvent] = {RECALL: RECALLED, REFUND: REFUNDED, RELEASE: RELEASED}

at_every_step = pytest.mark.parametrize("step", range(4), ids=[type(command).__name__ for command in STEPS])


@dataclass(frozen=True)
class Run:
    """`sent`: all commands so far; `last`: the commands of the last move."""

    progress: Progress
    sent: tuple[Any, ...]
    last: tuple[Any, ...]

    def then(self, *events: object) -> "Run":
        run = self
        for event in events:
            progress, commands = advance(FOUR_STEPS, run.progress, event, NOW)
            run = Run(progress, (*run.sent, *commands), tuple(commands))
        return run

    def undone(self) -> "Run":
        """Answer every compensation in turn."""
        run = self
        while run.sent[-1] in ANSWERS and not run.progress.ended:
            run = run.then(ANSWERS[run.sent[-1]])
        return run

    @property
    def wait(self) -> timedelta:
        assert self.progress.deadline_at is not None
        return self.progress.deadline_at - NOW


def after(*events: object) -> Run:
    """Return a saga that has begun and has read these events."""
    progress, commands = begin(FOUR_STEPS, ORDER_ID, NOW)
    return Run(progress, tuple(commands), tuple(commands)).then(*events)


def timed_out_at(step: int) -> Run:
    """Return a saga whose step was never answered, after its last deadline has passed."""
    return after(*SUCCESSES[:step], *[TICK] * (FOUR_STEPS.steps[step].retries.times + 1))


def fail_order(reason: str) -> FailOrder:
    return FailOrder(ORDER_ID, reason)


def test_a_saga_begins_with_its_first_step() -> None:
    run = after()
    assert run.last == (RESERVE,)
    assert run.progress == Progress(ORDER_ID, SagaStatus.STARTED, 0, 1, NOW + FOUR_STEPS.steps[0].within)


@at_every_step
def test_each_success_sends_the_next_command(step: int) -> None:
    run = after(*SUCCESSES[:step])
    assert run.last == (STEPS[step],)
    assert (run.progress.status, run.progress.step, run.progress.attempts) == (SagaStatus.STARTED, step, 1)
    assert run.wait == FOUR_STEPS.steps[step].within


def test_the_last_success_completes_the_saga() -> None:
    run = after(*SUCCESSES)
    assert run.sent == tuple(STEPS)
    assert (run.progress.status, run.progress.deadline_at) == (SagaStatus.COMPLETED, None)


@pytest.mark.parametrize(
    ("events", "compensations", "reason"),
    [
        ([SOLD_OUT], [], "sold out"),
        ([RESERVED, DECLINED], [RELEASE], "declined"),
        ([RESERVED, PAID, TOO_FAR], [REFUND, RELEASE], "too far"),
    ],
    ids=["reservation", "payment", "shipping"],
)
def test_a_failure_undoes_the_steps_before_it_in_reverse(
    events: list[OrderEvent], compensations: list[object], reason: str
) -> None:
    run = after(*events).undone()
    assert run.sent == (*STEPS[: len(events)], *compensations, fail_order(reason))
    assert run.then(FAILED).progress.status is SagaStatus.FAILED


@pytest.mark.parametrize("step", range(3))
def test_a_cancellation_undoes_the_step_in_flight_too(step: int) -> None:
    run = after(*SUCCESSES[:step], CANCELLATION).undone()
    assert run.sent == (*STEPS[: step + 1], *UNDO_ALL[2 - step :], fail_order("changed my mind"))
    assert run.then(CANCELLED).progress.status is SagaStatus.FAILED


@pytest.mark.parametrize("step", range(3))
def test_a_success_that_arrives_after_the_cancellation_is_undone(step: int) -> None:
    run = after(*SUCCESSES[:step], CANCELLATION, SUCCESSES[step]).undone()
    assert not set(STEPS[step + 1 :]) & set(run.sent)
    assert run.sent[-2:] == (RELEASE, fail_order("changed my mind"))


@pytest.mark.parametrize("seen", range(4))
def test_a_cancellation_while_compensating_changes_nothing(seen: int) -> None:
    before = after(RESERVED, PAID, TOO_FAR, *[REFUNDED, RELEASED, FAILED][:seen])
    run = before.then(CANCELLATION)
    assert (run.progress, run.last) == (before.progress, ())


@at_every_step
def test_an_unanswered_command_is_sent_again_after_growing_waits(step: int) -> None:
    definition = FOUR_STEPS.steps[step]
    run = after(*SUCCESSES[:step])
    waited = [run.wait]
    for _ in range(definition.retries.times):
        run = run.then(TICK)
        assert run.last == (STEPS[step],)
        waited.append(run.wait)
    assert waited == [definition.within * 2**n for n in range(definition.retries.times + 1)]


@pytest.mark.parametrize("step", range(3))
def test_a_success_after_a_retry_resets_the_waits(step: int) -> None:
    late, punctual = after(*SUCCESSES[:step], TICK, SUCCESSES[step]), after(*SUCCESSES[: step + 1])
    assert late.progress == punctual.progress
    assert late.last == punctual.last


@at_every_step
def test_a_step_that_is_never_answered_is_undone_too(step: int) -> None:
    run = timed_out_at(step).undone()
    retries = FOUR_STEPS.steps[step].retries.times
    reason = f"no {type(SUCCESSES[step]).__name__} in time"
    undo = UNDO_ALL[max(0, 2 - step) :]  # the confirmation has no compensation
    assert run.sent == (*STEPS[: step + 1], *[STEPS[step]] * retries, *undo, fail_order(reason))


@pytest.mark.parametrize("answered", range(4))
def test_the_last_success_wins_while_compensating(answered: int) -> None:
    run = timed_out_at(3).then(*[RECALLED, REFUNDED, RELEASED][:answered], CONFIRMED)
    assert (run.progress.status, run.progress.deadline_at, run.last) == (SagaStatus.COMPLETED, None, ())


@pytest.mark.parametrize("step", range(3))
def test_a_late_success_of_another_step_does_not_stop_the_compensations(step: int) -> None:
    before = timed_out_at(step)
    run = before.then(SUCCESSES[step])
    assert (run.progress, run.last) == (before.progress, ())


@pytest.mark.parametrize("answered", range(4))
def test_an_unanswered_compensation_is_sent_again_after_growing_waits(answered: int) -> None:
    run = timed_out_at(3).then(*[RECALLED, REFUNDED, RELEASED][:answered])
    command, waited = run.last, [run.wait]
    for _ in range(FOUR_STEPS.undo_retries.times):
        run = run.then(TICK)
        assert (run.last, run.progress.status) == (command, SagaStatus.COMPENSATING)
        waited.append(run.wait)
    assert waited == [FOUR_STEPS.undo_within * 2**n for n in range(FOUR_STEPS.undo_retries.times + 1)]


def stuck(answered: int) -> Run:
    undone = timed_out_at(3).then(*[RECALLED, REFUNDED, RELEASED][:answered])
    return undone.then(*[TICK] * (FOUR_STEPS.undo_retries.times + 1))


@pytest.mark.parametrize("answered", range(4))
def test_a_saga_whose_compensation_is_never_answered_is_stuck(answered: int) -> None:
    run = stuck(answered)
    assert (run.progress.status, run.progress.deadline_at, run.last) == (SagaStatus.STUCK, None, ())
    assert not run.progress.ended


@pytest.mark.parametrize("answered", range(3))
def test_a_late_answer_resumes_a_stuck_saga(answered: int) -> None:
    answers = [RECALLED, REFUNDED, RELEASED]
    run = stuck(answered).then(answers[answered])
    punctual = timed_out_at(3).then(*answers[: answered + 1])
    assert (run.progress, run.last) == (punctual.progress, punctual.last)


@pytest.mark.parametrize("answered", range(4))
def test_a_stuck_saga_does_not_move_by_itself(answered: int) -> None:
    run = stuck(answered)
    assert run.then(TICK, CANCELLATION, RESERVED).progress == run.progress


@pytest.mark.parametrize("answered", range(4))
def test_a_resumed_saga_sends_its_compensation_with_all_its_retries(answered: int) -> None:
    progress, commands = resume(FOUR_STEPS, stuck(answered).progress, NOW)
    first = timed_out_at(3).then(*[RECALLED, REFUNDED, RELEASED][:answered])
    assert commands == list(first.last)
    assert progress == replace(first.progress, deadline_at=NOW + FOUR_STEPS.undo_within)


def test_a_late_end_of_the_order_ends_a_stuck_saga() -> None:
    assert stuck(3).then(FAILED).progress.status is SagaStatus.FAILED


def test_a_late_confirmation_completes_a_stuck_saga() -> None:
    assert stuck(0).then(CONFIRMED).progress.status is SagaStatus.COMPLETED


@pytest.mark.parametrize("end", [CANCELLED, FAILED], ids=["cancelled", "failed"])
@pytest.mark.parametrize("answered", range(4))
def test_a_saga_whose_order_has_ended_undoes_the_rest_and_ends(answered: int, end: OrderEvent) -> None:
    run = timed_out_at(3).then(*[RECALLED, REFUNDED, RELEASED][:answered], end)
    assert run.last == ()
    run = run.undone()
    assert run.sent[-3:] == tuple(UNDO_ALL) if answered < 3 else run.sent[-1] == fail_order("no OrderConfirmed in time")
    assert (run.progress.status, run.progress.deadline_at) == (SagaStatus.FAILED, None)


@pytest.mark.parametrize("end", [CANCELLED, FAILED], ids=["cancelled", "failed"])
@at_every_step
def test_an_end_of_the_order_that_the_saga_did_not_ask_for_turns_it_back(step: int, end: OrderEvent) -> None:
    run = after(*SUCCESSES[:step], end).undone()
    assert run.sent == (*STEPS[: step + 1], *UNDO_ALL[max(0, 2 - step) :])
    assert (run.progress.status, run.progress.reason, run.progress.compensated) == (SagaStatus.FAILED, "why", True)


@pytest.mark.parametrize("answered", range(3))
def test_a_stuck_saga_whose_order_has_ended_still_undoes_the_rest(answered: int) -> None:
    run = stuck(answered).then(FAILED)
    assert (run.progress.status, run.last) == (SagaStatus.STUCK, ())
    assert run.then(*[RECALLED, REFUNDED, RELEASED][answered:]).progress.status is SagaStatus.FAILED


@pytest.mark.parametrize("first", [FulfilmentStopped(ORDER_ID), RECALLED, REFUNDED, RELEASED], ids=repr)
@at_every_step
def test_a_saga_that_reads_of_a_compensation_turns_back_and_does_not_repeat_it(step: int, first: OrderEvent) -> None:
    run = after(*SUCCESSES[:step], first).undone()
    expected = [command for command in UNDO_ALL[max(0, 2 - step) :] if ANSWERS[command] != first]
    assert run.sent == (*STEPS[: step + 1], *expected, fail_order(type(first).__name__))


@pytest.mark.parametrize("order", list(permutations([RECALLED, REFUNDED, RELEASED])), ids=str)
def test_compensations_that_happened_in_any_order_are_not_repeated(order: Sequence[OrderEvent]) -> None:
    run = timed_out_at(3).then(*order)
    assert run.last == (fail_order("no OrderConfirmed in time"),)
    assert run.then(FAILED).progress.status is SagaStatus.FAILED


EVERY_EVENT = [*SUCCESSES, SOLD_OUT, DECLINED, TOO_FAR, CANCELLATION, RECALLED, REFUNDED, RELEASED, CANCELLED, FAILED]


@pytest.mark.parametrize(
    "ended", [after(*SUCCESSES), after(SOLD_OUT, FAILED), after(CANCELLATION, RELEASED, CANCELLED)], ids=range(3)
)
@pytest.mark.parametrize("event", [*EVERY_EVENT, CREATED, TICK], ids=lambda event: type(event).__name__)
def test_a_saga_that_has_ended_ignores_everything(ended: Run, event: object) -> None:
    run = ended.then(event)
    assert (run.progress, run.last) == (ended.progress, ())


@at_every_step
def test_an_event_that_is_not_awaited_changes_nothing(step: int) -> None:
    before = after(*SUCCESSES[:step])
    own_failure = [SOLD_OUT, DECLINED, TOO_FAR, None][step]
    for event in (*SUCCESSES[:3], SOLD_OUT, DECLINED, TOO_FAR, CREATED):
        if event not in (SUCCESSES[step], own_failure):
            run = before.then(event)
            assert (run.progress, run.last) == (before.progress, ()), event


@pytest.mark.parametrize("answered", range(4))
def test_only_the_compensation_in_flight_is_answered(answered: int) -> None:
    answers = [RECALLED, REFUNDED, RELEASED, FAILED]
    before = timed_out_at(3).then(*answers[:answered])
    for event in (*SUCCESSES[:3], SOLD_OUT, DECLINED, TOO_FAR, *answers, CREATED, FulfilmentStopped(ORDER_ID)):
        if event is not answers[answered]:
            run = before.then(event)
            assert (replace(run.progress, undone=before.progress.undone), run.last) == (before.progress, ()), event


def test_advancing_leaves_the_version_that_was_read_to_the_coordinator() -> None:
    progress = replace(after().progress, seen=7)
    assert advance(FOUR_STEPS, progress, RESERVED, NOW)[0].seen == 7


def test_a_step_without_a_compensation_is_skipped_when_undoing() -> None:
    first, middle, last = FOUR_STEPS.steps[:3]
    saga = replace(FOUR_STEPS, steps=(first, replace(middle, undo=None, undone=None), last))
    progress = Progress(ORDER_ID, step=2, attempts=1)
    undoing, commands = advance(saga, progress, TOO_FAR, NOW)
    assert commands == [RELEASE]
    assert advance(saga, undoing, RELEASED, NOW)[1] == [fail_order("too far")]


def test_a_saga_without_compensations_ends_at_once() -> None:
    steps = tuple(replace(step, undo=None, undone=None) for step in FOUR_STEPS.steps)
    progress = Progress(ORDER_ID, step=2, attempts=1)
    assert advance(replace(FOUR_STEPS, steps=steps), progress, TOO_FAR, NOW)[1] == [fail_order("too far")]


def test_a_saga_that_is_ending_sends_no_more_compensations() -> None:
    saga = replace(FOUR_STEPS, steps=FOUR_STEPS.steps[:3])
    giving_up = Progress(ORDER_ID, SagaStatus.COMPENSATING, step=-1, attempts=1)
    assert advance(saga, giving_up, RECALLED, NOW) == (replace(giving_up, undone=frozenset({2})), [])


def test_the_reason_of_a_failure_without_one_is_the_name_of_its_event() -> None:
    class Broke:
        pass

    step = Step(ReserveInventory, type(RESERVED), timedelta(seconds=1), Retries(0), unless=Broke)
    saga: Saga = replace(FOUR_STEPS, steps=(step,))
    assert advance(saga, Progress(ORDER_ID), Broke(), NOW)[1] == [fail_order("Broke")]


def test_the_pace_multiplies_every_deadline() -> None:
    slow = FOUR_STEPS.at_pace(10)
    assert [step.within for step in slow.steps] == [step.within * 10 for step in FOUR_STEPS.steps]
    assert slow.undo_within == FOUR_STEPS.undo_within * 10
    assert slow.at_pace(0.1) == FOUR_STEPS
