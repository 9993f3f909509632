"""One order in a small world, in which every event may happen in every order.

A world is a value: the order, its saga, the commands under way, the state of two providers and the
stock. `moves` returns everything that may happen next. A command arrives at any time, any number of
times, alone or among others, and may crash between its parts; the saga reads late; its deadlines
pass at any moment; the customer cancels.

A small world is explored completely, as a model checker does (Lamport, "Specifying Systems", 2002);
a larger world, with retries and many deliveries at a time, by random walks.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, cached_property, partial

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from shared.domain.commands import (
    ArrangeShipping,
    CancelOrder,
    CancelShipping,
    ConfirmOrder,
    FailOrder,
    NotifyCustomer,
    ProcessPayment,
    RefundPayment,
    ReleaseInventory,
    ReserveInventory,
)
from shared.domain.events import Event, NotificationEvent, OrderEvent, ProductDeleted, ProductEvent
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
from shared.domain.order import ORDER, Order, OrderStatus, Outcome, cancel
from shared.domain.product import PRODUCT, Product
from shared.sagas.definition import Advance, DeadlinePassed, Progress, Retries, Saga, advance, begin
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.status import SagaStatus
from tests.specification import CREATED, ORDER_ID, POT_ID, cup_created, given, pot_created

NOW = datetime(2025, 4, 1, 9, 0, tzinfo=UTC)
ENDS = (OrderStatus.CONFIRMED, OrderStatus.CANCELLED, OrderStatus.FAILED)
OwnCommand = ReserveInventory | ReleaseInventory | ConfirmOrder | NotifyCustomer | FailOrder
"""Commands that take one append."""
OutsideCommand = ProcessPayment | RefundPayment | ArrangeShipping | CancelShipping
"""Commands in three parts: read the order, call the provider, append the provider's answer."""
Command = OwnCommand | OutsideCommand


@dataclass(frozen=True)
class Provider:
    """A gateway that keeps its protocol. `holds`: money was taken, or a parcel is on its way."""

    accepts: bool = True
    holds: bool = False
    forbidden: bool = False

    def make(self) -> "Provider":
        return replace(self, holds=self.accepts and not self.forbidden)

    def undo(self) -> "Provider":
        return replace(self, holds=False, forbidden=True)


@dataclass(frozen=True)
class Call:
    """A command that needs a provider. `accepted`: the answer; None before the call."""

    command: OutsideCommand
    accepted: bool | None = None


@dataclass(frozen=True)
class World:
    """`unread`: events that the saga has not read. `sent`: commands that may arrive, also again.
    `waiting`: commands that must still arrive. `shelf`: each product's history. `stream`: the
    order's history without its first event. `disturbed`: the saga was set back, or a command
    forged."""

    saga: Saga
    order: Order
    progress: Progress
    shelf: tuple[tuple[ProductEvent, ...], ...]
    payments: Provider
    shipping: Provider
    tells: bool = True
    unread: tuple[OrderEvent, ...] = ()
    sent: frozenset[Command] = frozenset()
    waiting: frozenset[Command] = frozenset()
    calls: tuple[Call, ...] = ()
    stream: tuple[OrderEvent, ...] = field(default=(), compare=False)
    disturbed: bool = False

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Cache the hash: a world is looked up a hundred times."""
        return hash((self.order, self.progress, self.unread, self.sent, self.waiting, self.calls))

    @cached_property
    def products(self) -> list[Product]:
        return [PRODUCT.fold(history) for history in self.shelf]

    def recording(self, events: Sequence[Event]) -> "World":
        of_order = tuple(event for event in events if isinstance(event, OrderEvent))
        at_rest = self.order.status in (ENDS[:1] if self.disturbed else ENDS)
        told = all(isinstance(event, NotificationEvent) for event in of_order)
        assert told or not at_rest, f"{of_order} after the end"
        moved = [event for event in events if isinstance(event, ProductEvent)]
        shelf = [(*history, *(e for e in moved if e.product_id == history[0].product_id)) for history in self.shelf]
        order, unread = ORDER.fold(of_order, self.order), self.unread + of_order
        return replace(self, order=order, unread=unread, shelf=tuple(shelf), stream=self.stream + of_order)

    def moving(self, move: Advance) -> "World":
        progress, commands = move
        return replace(self, progress=progress, sent=self.sent.union(commands), waiting=self.waiting.union(commands))

    def acknowledging(self, command: Command) -> "World":
        return replace(self, waiting=self.waiting - {command})

    def calling(self, command: OutsideCommand) -> "World":
        return replace(self, calls=(*self.calls, Call(command)))

    def without(self, call: Call) -> "World":
        at = self.calls.index(call)
        return replace(self, calls=self.calls[:at] + self.calls[at + 1 :])


def saga_with(retries: Retries) -> Saga:
    """Return the order's saga with these retries."""
    steps = tuple(replace(step, retries=retries) for step in ORDER_FULFILMENT.steps)
    return replace(ORDER_FULFILMENT, steps=steps, undo_retries=retries)


def new_world(retries: int, *, pots: int = 9, pays: bool = True, ships: bool = True, tells: bool = True) -> World:
    saga, order, shelf = saga_with(Retries(retries)), given(CREATED).state, ((cup_created(),), (pot_created(pots),))
    world = World(saga, order, Progress(ORDER_ID), shelf, Provider(pays), Provider(ships), tells)
    return world.moving(begin(saga, ORDER_ID, NOW))


def arrive(world: World, command: Command) -> World:
    match command:
        case ReserveInventory():
            return world.recording(reserve_inventory(command, world.order, world.products)).acknowledging(command)
        case ReleaseInventory():
            return world.recording(release_inventory(command, world.order, world.products)).acknowledging(command)
        case ConfirmOrder():
            return world.recording(confirm(command, world.order, world.products)).acknowledging(command)
        case NotifyCustomer() if world.tells:
            return world.recording(record_notification("mail-1", command, world.order)).acknowledging(command)
        case NotifyCustomer():
            return world.recording(record_notification_failure("bounced", command, world.order)).acknowledging(command)
        case FailOrder():
            return world.recording(fail(command, world.order)).acknowledging(command)
        case ProcessPayment():
            return world.calling(command) if wants_payment(world.order) else world.acknowledging(command)
        case ArrangeShipping():
            return world.calling(command) if wants_shipping(world.order) else world.acknowledging(command)
        case RefundPayment() | CancelShipping():
            stopped = world.recording(stop(command, world.order))
            step = stopped.order.payment if isinstance(command, RefundPayment) else stopped.order.shipping
            return stopped.calling(command) if wants_undoing(stopped.order, step) else stopped.acknowledging(command)


def call_provider(world: World, call: Call) -> World:
    match call.command:
        case ProcessPayment():
            after = replace(world, payments=world.payments.make())
            answer = Call(call.command, after.payments.holds)
        case ArrangeShipping():
            after = replace(world, shipping=world.shipping.make())
            answer = Call(call.command, after.shipping.holds)
        case RefundPayment():
            after, answer = replace(world, payments=world.payments.undo()), Call(call.command, True)
        case CancelShipping():
            after, answer = replace(world, shipping=world.shipping.undo()), Call(call.command, True)
    return replace(after.without(call), calls=(*after.without(call).calls, answer))


def record_answer(world: World, call: Call) -> World:
    match call.command:
        case ProcessPayment() as command if call.accepted:
            events = record_payment("payment-1", command, world.order)
        case ProcessPayment() as command:
            events = record_payment_failure("declined", command, world.order)
        case ArrangeShipping() as command if call.accepted:
            events = record_shipping("parcel-1", command, world.order)
        case ArrangeShipping() as command:
            events = record_shipping_failure("too far", command, world.order)
        case RefundPayment() as command:
            events = record_refund(command, world.order)
        case CancelShipping() as command:
            events = record_shipping_cancellation(command, world.order)
    return world.without(call).recording(events).acknowledging(call.command)


def continue_call(world: World, call: Call) -> World:
    return call_provider(world, call) if call.accepted is None else record_answer(world, call)


def read(world: World) -> World:
    progress, commands = advance(world.saga, world.progress, world.unread[0], NOW)
    seen = replace(progress, seen=progress.seen + 1)
    return replace(world, unread=world.unread[1:]).moving((seen, commands))


def pass_deadline(world: World) -> World:
    return world.moving(advance(world.saga, world.progress, DeadlinePassed(), NOW))


def cancel_order(world: World) -> World:
    return world.recording(cancel(CancelOrder(ORDER_ID), world.order))


def take_off_sale(world: World) -> World:
    return world.recording([ProductDeleted(POT_ID)])


def lose(world: World, command: Command) -> World:
    """Let the message become a dead letter."""
    return world.acknowledging(command)


Move = tuple[str, Callable[[], World]]


def calm_moves(world: World, at_once: int = 1) -> Iterator[Move]:
    """Return what happens without faults. `at_once`: how many calls of one command may be under
    way."""
    for call in dict.fromkeys(world.calls):
        yield f"continue {call}", partial(continue_call, world, call)
    if world.unread:
        yield "the saga reads", partial(read, world)
    for command in sorted(world.waiting, key=repr):
        if under_way(world, command) < at_once:
            yield f"{command} arrives", partial(arrive, world, command)


def moves(world: World, at_once: int = 1) -> Iterator[Move]:
    """Return everything that may happen, faults included."""
    yield from calm_moves(world, at_once)
    for command in sorted(world.sent - world.waiting, key=repr):
        if under_way(world, command) < at_once:
            yield f"{command} arrives again", partial(arrive, world, command)
    for call in dict.fromkeys(world.calls):
        yield f"{call} crashes", partial(world.without, call)
    if world.progress.deadline_at:
        yield "a deadline passes", partial(pass_deadline, world)
    if not world.order.closing and world.order.status not in (OrderStatus.SHIPPED, OrderStatus.CONFIRMED):
        yield "the customer cancels", partial(cancel_order, world)


def mishaps(world: World) -> Iterator[Move]:
    """Return rare faults, which only the random walks try."""
    for command in sorted(world.waiting, key=repr):
        yield f"{command} is lost", partial(lose, world, command)
    if not isinstance(world.shelf[1][-1], ProductDeleted):
        yield "the pots are taken off sale", partial(take_off_sale, world)


def under_way(world: World, command: Command) -> int:
    return sum(call.command == command for call in world.calls)


@cache
def settled(world: World) -> World:
    """Carry out everything that was sent, without passing a deadline."""
    calm = next(calm_moves(world), None)
    return settled(calm[1]()) if calm else world


def rescued(world: World) -> World:
    """Settle although messages were lost: deadlines send them again, then an admin replays dead
    letters."""
    world = settled(world)
    for _ in range(100):
        if not world.progress.ended:
            world = settled(pass_deadline(world) if world.progress.deadline_at else replace(world, waiting=world.sent))
    return world


def set_back(world: World, version: Progress | None) -> World:
    """Restore an earlier version of the saga's row, or none, and let the coordinator read the
    stream."""
    progress, commands = (version, []) if version else begin(world.saga, ORDER_ID, NOW)
    for event in world.stream[progress.seen :]:
        progress, sent = advance(world.saga, progress, event, NOW)
        commands = sent if sent or progress.deadline_at is None else commands
    progress = replace(progress, seen=len(world.stream))
    return replace(world, unread=(), disturbed=True).moving((progress, commands))


def forge(world: World, command: Command) -> World:
    return arrive(replace(world, disturbed=True, sent=world.sent | {command}), command)


def check(world: World) -> None:
    """Assert what holds at any time."""
    order, progress = world.order, world.progress
    reserved = order.inventory is Outcome.DONE and order.status is not OrderStatus.CONFIRMED
    for product in world.products:
        assert (ORDER_ID in product.reserved) == reserved
        assert 0 <= sum(product.reserved.values()) <= product.on_hand
    if order.status is OrderStatus.CONFIRMED:
        assert world.payments.holds and world.shipping.holds
        assert not order.cancelled_by_customer
    if progress.ended:
        assert order.status in ENDS
        assert (progress.status is SagaStatus.COMPLETED) == (order.status is OrderStatus.CONFIRMED)
    assert (progress.deadline_at is None) == (progress.ended or progress.status is SagaStatus.STUCK)


def check_end(world: World) -> None:
    """Assert that the order is confirmed with every step done, or ended with every step undone."""
    check(world)
    order = world.order
    assert world.progress.ended, f"left at {world.progress}"
    steps = (order.inventory, order.payment, order.shipping)
    if order.status is OrderStatus.CONFIRMED:
        assert steps == (Outcome.DONE,) * 3
    else:
        assert Outcome.DONE not in steps
        assert not world.payments.holds and not world.shipping.holds
        assert order.cancelled_by_customer == (order.status is OrderStatus.CANCELLED)


class Story:
    """The moves so far, which are added to the error when a check fails."""

    def __init__(self, *moves: str) -> None:
        self.moves = moves

    def then(self, name: str) -> "Story":
        return Story(*self.moves, name)

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error:
            error.add_note("\n".join(("it happened that", *self.moves)))


in_every_world = pytest.mark.parametrize(
    "world",
    [
        new_world(0),
        new_world(0, pots=0),
        new_world(0, pays=False),
        new_world(0, ships=False),
        new_world(0, tells=False),
    ],
    ids=["all goes well", "sold out", "declined", "too far", "bounced"],
)


@in_every_world
def test_in_every_order_of_events_an_order_is_fulfilled_or_undone(world: World) -> None:
    stories, frontier = {world: Story()}, deque([world])
    while frontier:
        world = frontier.popleft()
        for name, happen in moves(world):
            story = stories[world].then(name)
            with story:
                after = happen()
                if after not in stories:
                    check(after)
                    stories[after] = story
                    frontier.append(after)
    for world, story in stories.items():
        with story:
            check_end(settled(world))


def points(world: World, faults: int) -> Iterator[tuple[World, tuple[Progress, ...], Story]]:
    """Return every point of every path with at most so many faults, and the saga's versions up to
    it."""
    start: tuple[Progress, ...] = (world.progress,)
    frontier = [(world, start, faults, Story())]
    reached = {frontier[0][:3]}
    while frontier:
        world, versions, left, story = frontier.pop()
        yield world, versions, story
        calm = next(calm_moves(world), None)
        faulty = [*moves(world), *mishaps(world)] if left else []
        for name, happen in ([calm] if calm else []) + [move for move in faulty if not calm or move[0] != calm[0]]:
            after = happen()
            more = (after.progress,) if after.progress != versions[-1] else ()
            point = (after, versions + more, left if calm and name == calm[0] else left - 1)
            if point not in reached:
                reached.add(point)
                frontier.append((*point, story.then(name)))


@in_every_world
def test_a_saga_that_is_lost_or_set_back_at_any_point_comes_to_rest(world: World) -> None:
    checked: set[World] = set()
    for point, versions, story in points(world, faults=2):
        for version in (None, *versions):
            with story.then(f"the saga is set back to {version}"):
                after = set_back(point, version)
                if after not in checked:
                    checked.add(after)
                    check_end(rescued(after))


@in_every_world
@pytest.mark.parametrize(
    "command", [FailOrder(ORDER_ID, "forged"), RefundPayment(ORDER_ID), ReleaseInventory(ORDER_ID)]
)
def test_a_forged_command_at_any_point_leaves_no_saga_stuck(world: World, command: Command) -> None:
    checked: set[World] = set()
    for point, _, story in points(world, faults=1):
        with story.then(f"{command} is forged"):
            after = forge(point, command)
            if after not in checked:
                checked.add(after)
                check_end(rescued(after))


@for_all(
    pots=st.sampled_from([9, 9, 9, 0]),
    pays=st.sampled_from([True, True, False]),
    ships=st.sampled_from([True, True, False]),
    retries=st.integers(0, 2),
    calm=st.integers(0, 20),
    choices=st.lists(st.integers(0, 999), min_size=30, max_size=60),
)
@settings(max_examples=100, deadline=None)
def test_with_any_retries_and_losses_an_order_is_fulfilled_or_undone(
    pots: int, pays: bool, ships: bool, retries: int, calm: int, choices: list[int]
) -> None:
    """`calm`: the moves without faults at the beginning, so that late steps are tried as often as
    early ones."""
    world, story = new_world(retries, pots=pots, pays=pays, ships=ships), Story()
    for choice in [0] * calm + choices:
        options = [*moves(world, at_once=2), *mishaps(world)]
        name, happen = options[choice % len(options)]
        story = story.then(name)
        with story:
            world = happen()
            check(world)
    with story:
        check_end(rescued(world))
