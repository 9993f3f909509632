"""Best-effort steps, and steps after the point of no return: what ends them, and what never
does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from shared.domain.commands import NotifyCustomer
from shared.domain.events import (
    CustomerNotified,
    InventoryReserved,
    NotificationFailed,
    OrderConfirmed,
    PaymentProcessed,
    ShippingArranged,
)
from shared.domain.values import ZERO
from shared.sagas.definition import (
    Advance,
    DeadlinePassed,
    GivenUp,
    Progress,
    Retries,
    Saga,
    Step,
    advance,
    begin,
    resume,
)
from shared.sagas.outlook import awaited, outlook
from shared.sagas.status import SagaStatus
from tests.first_version import FIRST_VERSION

ID, NOW, WITHIN = UUID(int=1), datetime(2026, 4, 1, 9, 0, tzinfo=UTC), timedelta(seconds=10)
TICK = DeadlinePassed()


@dataclass(frozen=True)
class Message:
    """The base of this test's commands and events."""

    id: UUID = ID
    reason: str = ""


class Book(Message): ...


class Booked(Message): ...


class Unbook(Message): ...


class Unbooked(Message): ...


class Advise(Message): ...


class Advised(Message): ...


class NotAdvised(Message): ...


class Seal(Message): ...


class Sealed(Message): ...


class NotSealed(Message): ...


class File(Message): ...


class Filed(Message): ...


class NotFiled(Message): ...


class Thank(Message): ...


class Thanked(Message): ...


class NotThanked(Message): ...


class GiveUp(Message): ...


class Ended(Message): ...


class Stop(Message): ...  # fmt: skip


def step(send: type[Message], until: type[Message], unless: type[Message] | None = None, **more: object) -> Step:
    return Step(send=send, until=until, within=WITHIN, retries=Retries(2), unless=unless, **more)  # type: ignore[arg-type]


SAGA = Saga(
    name="Test",
    starts_on=Message,
    steps=(
        step(Book, Booked, undo=Unbook, undone=Unbooked),
        step(Advise, Advised, NotAdvised, best_effort=True),
        step(Seal, Sealed, NotSealed, no_return=True),
        step(File, Filed, NotFiled),
        step(Thank, Thanked, NotThanked, best_effort=True),
    ),
    turned_back_by=(Stop,),
    gives_up_with=GiveUp,
    ended_by=(Ended,),
    undo_within=WITHIN,
    undo_retries=Retries(2),
)
BOOK, ADVISE, SEAL, FILE, THANK = range(5)
SUCCESSES = [Booked(), Advised(), Sealed(), Filed(), Thanked()]
SILENCE = [TICK] * 3
"""The first attempt and both retries have no answer."""


def after(*events: object, saga: Saga = SAGA) -> Advance:
    """Return the progress after these events, and the commands of the last of them."""
    moved = begin(saga, ID, NOW)
    for event in events:
        moved = advance(saga, moved[0], event, NOW)
    return moved


@pytest.mark.parametrize("failing", [[NotAdvised(reason="no line")], SILENCE], ids=["refused", "silent"])
def test_a_saga_goes_on_without_a_best_effort(failing: Sequence[object]) -> None:
    progress, commands = after(Booked(), *failing)
    assert [type(command) for command in commands] == [Seal]
    why = "no line" if len(failing) == 1 else "no Advised in time"
    assert (progress.status, progress.step, progress.attempts) == (SagaStatus.STARTED, SEAL, 1)
    assert (progress.given_up, progress.reason) == ((GivenUp(ADVISE, why),), None)


@pytest.mark.parametrize("failing", [[NotThanked(reason="bounced")], SILENCE], ids=["refused", "silent"])
def test_a_saga_is_completed_when_its_last_step_was_a_best_effort_in_vain(failing: Sequence[object]) -> None:
    progress, commands = after(*SUCCESSES[:THANK], *failing)
    assert (progress.status, progress.deadline_at, commands) == (SagaStatus.COMPLETED, None, [])
    assert [one.step for one in progress.given_up] == [THANK]


def test_a_best_effort_has_all_its_attempts() -> None:
    progress, commands = after(*SUCCESSES[:THANK], TICK, TICK)
    assert (progress.status, progress.attempts, [type(one) for one in commands]) == (SagaStatus.STARTED, 3, [Thank])
    assert after(*SUCCESSES[:THANK], TICK, TICK, Thanked())[0].given_up == ()


def test_a_late_success_of_a_best_effort_changes_nothing() -> None:
    before = after(Booked(), *SILENCE)[0]
    assert advance(SAGA, before, Advised(), NOW) == (before, [])


def test_a_saga_that_gave_up_a_best_effort_still_turns_back() -> None:
    progress, commands = after(Booked(), *SILENCE, NotSealed(reason="torn"))
    assert [type(command) for command in commands] == [Unbook]
    assert (progress.status, progress.reason) == (SagaStatus.COMPENSATING, "torn")


@pytest.mark.parametrize(
    "turn", [Stop(), Ended(), Unbooked(), NotSealed(), NotAdvised()], ids=lambda one: type(one).__name__
)
@pytest.mark.parametrize("at", [FILE, THANK])
def test_nothing_turns_a_saga_back_after_the_point_of_no_return(at: int, turn: object) -> None:
    before = after(*SUCCESSES[:at])[0]
    assert advance(SAGA, before, turn, NOW) == (before, [])


def test_a_step_that_must_succeed_is_sent_again_without_end() -> None:
    progress, commands = after(*SUCCESSES[:FILE])
    waits = []
    for attempt in range(1, 60):
        assert [type(command) for command in commands] == [File]
        assert progress.attempts == attempt
        assert progress.status is (SagaStatus.STARTED if attempt <= 3 else SagaStatus.STUCK)
        assert progress.deadline_at is not None
        waits.append(progress.deadline_at - NOW)
        progress, commands = advance(SAGA, progress, TICK, NOW)
    assert waits == [WITHIN, WITHIN * 2, *[WITHIN * 4] * 57]
    progress, commands = advance(SAGA, progress, Filed(), NOW)
    assert [type(command) for command in commands] == [Thank]
    assert (progress.status, progress.attempts, progress.reason) == (SagaStatus.STARTED, 1, None)


def test_a_refusal_of_a_step_that_must_succeed_waits_for_the_next_attempt() -> None:
    before = after(*SUCCESSES[:FILE])[0]
    progress, commands = advance(SAGA, before, NotFiled(reason="full"), NOW)
    assert (commands, progress.reason, progress.deadline_at) == ([], "full", before.deadline_at)
    assert [type(command) for command in advance(SAGA, progress, TICK, NOW)[1]] == [File]


def test_a_stuck_step_is_sent_at_once_by_an_admin() -> None:
    progress, commands = resume(SAGA, after(*SUCCESSES[:FILE], *SILENCE)[0], NOW)
    assert [type(command) for command in commands] == [File]
    assert (progress.status, progress.attempts, progress.deadline_at) == (SagaStatus.STARTED, 1, NOW + WITHIN)


@pytest.mark.parametrize("before", [[*SILENCE], [*SILENCE, Unbooked()], [Stop()]], ids=["late", "undone", "stopped"])
def test_a_late_point_of_no_return_wins_and_the_saga_goes_on(before: Sequence[object]) -> None:
    progress, commands = after(Booked(), Advised(), *before, Sealed())
    assert [type(command) for command in commands] == [File]
    assert (progress.status, progress.step, progress.attempts) == (SagaStatus.STARTED, FILE, 1)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([], "Book: attempt 1 of 3, next at 09:00:10 UTC, then Unbook, GiveUp"),
        ([Booked()], "Advise: attempt 1 of 3, next at 09:00:10 UTC, then the saga goes on without it"),
        (SUCCESSES[:FILE], "File: attempt 1, next at 09:00:10 UTC, and so on until it succeeds"),
        ([*SUCCESSES[:FILE], *SILENCE], "File: attempt 4, next at 09:00:40 UTC, and so on until it succeeds"),
        ([*SUCCESSES[:THANK], TICK, TICK], "Thank: attempt 3 of 3, waits for its answer until 09:00:40 UTC, then the saga"),
    ],
)  # fmt: skip
def test_people_read_what_a_saga_does_next(events: Sequence[object], says: str) -> None:
    now = outlook(SAGA, after(*events)[0])
    assert now and str(now.sentence).startswith(says)


def test_the_command_that_a_stuck_step_awaits_is_its_own() -> None:
    assert awaited(SAGA, after(*SUCCESSES[:FILE], *SILENCE)[0]) == "File"


def test_a_saga_that_an_earlier_release_stored_goes_on_with_the_new_steps() -> None:
    stored = Progress(ID, step=SEAL, attempts=1, deadline_at=NOW)
    progress, commands = advance(SAGA, stored, Sealed(), NOW)
    assert ([type(command) for command in commands], progress.status) == ([File], SagaStatus.STARTED)
    ended = Progress(ID, SagaStatus.COMPLETED, step=SEAL)
    assert advance(SAGA, ended, TICK, NOW) == (ended, [])


@pytest.mark.parametrize(
    "told",
    [[CustomerNotified(ID, "mail-1")], [NotificationFailed(ID, "bounced")], [TICK] * 4],
    ids=["told", "bounced", "silent"],
)
def test_an_order_is_completed_whether_or_not_its_customer_can_be_told(told: Sequence[object]) -> None:
    successes = [InventoryReserved(ID), PaymentProcessed(ID, "p", ZERO), ShippingArranged(ID, "s"), OrderConfirmed(ID)]
    before, commands = after(*successes, saga=FIRST_VERSION)
    assert (commands, before.status) == ([NotifyCustomer(ID)], SagaStatus.STARTED)
    progress = before
    for event in told:
        progress, commands = advance(FIRST_VERSION, progress, event, NOW)
    assert (progress.status, commands) == (SagaStatus.COMPLETED, [])
    assert bool(progress.given_up) == (not isinstance(told[0], CustomerNotified))
