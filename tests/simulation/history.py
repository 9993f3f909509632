"""One history of the shop: people use it while it fails, then it is left in peace and must keep its
promises."""

import gc
import hashlib
import json
import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast
from uuid import UUID

from shared.domain.order import ORDER
from shared.domain.personal import ERASED, masked
from shared.erasure.seals import keys_of
from shared.event_store.protocol import EventRecord
from shared.monitoring.reports import read_samples
from shared.read_models.documents import COLLECTIONS, READ_MODELS
from shared.read_models.generations import stored_in
from tests.simulation.follower import DASHBOARD, FOLLOWED, LIVES, Follower
from tests.simulation.invariants import Books, Watch, broken
from tests.simulation.linearizable import ONE_ANSWER, Operation, linearizable, register
from tests.simulation.people import People
from tests.simulation.shop import Shop, simulated
from tests.simulation.stores import Databases
from tests.simulation.stranger import Stranger
from tests.simulation.tape import Choices, Tape
from tests.simulation.world import Endless, SimulatedWorld, this_task

LOOKS = 45.0
"""Seconds between two looks of the reader."""
UNDONE_BY = (
    ("reserve_inventory", "release_inventory"),
    ("process_payment", "refund_payment"),
    ("arrange_shipping", "cancel_shipping"),
)
"""Each step with its compensation, which share code that a release can break."""
BROKEN_SECONDS = 6 * 3600
"""Longer than a step and its compensation are retried: the sagas are stuck then."""
CALM = 5 * 24 * 3600.0
"""Seconds after which everything must be at rest."""


@dataclass(frozen=True)
class Outcome:
    """`broken`: the promises that were broken, as sentences. `hits`, `marks`: see Faults. `steps`:
    every call of a port."""

    broken: list[str]
    choices: Choices
    hits: Counter[tuple[str, str]]
    marks: Counter[str]
    story: list[tuple[float, str, str]]
    steps: list[tuple[float, str, str]]
    seconds: float

    @property
    def digest(self) -> str:
        """Return a hash of all that happened. To make it takes a thirtieth of a history."""
        events = "\n".join(f"{at:.3f} {who} {what}" for at, who, what in [*self.story, *self.steps])
        return hashlib.sha256(events.encode()).hexdigest()


def play(seed: int | None = None, choices: Choices | None = None) -> Outcome:
    """Play the history of a seed, or of the choices of an earlier history."""
    tape, world = Tape(seed, choices), SimulatedWorld()
    with simulated(world), garbage_kept():
        history = History(world, tape)
        with closing(history.shop):
            try:
                history.play()
                broken = history.broken()
            except Endless as error:
                broken = [str(error)]
        faults = history.shop.faults
        faults.marks["switch during delivery"] += history.shop.models.switches
        faults.hits.update({("functions", name): times for name, times in faults.functions.items()})
        return Outcome(broken, tape.chosen, faults.hits, faults.marks, world.story, world.steps, world.time)


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Collect no garbage inside the block: in one history it would be a third of the work."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


class History:
    """`backup`: the last one that the operator has made."""

    def __init__(self, world: SimulatedWorld, tape: Tape) -> None:
        self.world, self.tape = world, tape
        self.shop = Shop(world, tape)
        self.people = People(self.shop)
        followed = FOLLOWED[tape.choose("what is followed", len(FOLLOWED))]
        self.follower = Follower(self.shop, followed) if tape.chance("a follower", 0.06) else None
        if not self.follower and tape.chance("the dashboard is followed", 0.001):
            self.follower = Follower(self.shop, DASHBOARD)
        self.stranger = Stranger(self.people)
        self.backup: Databases | None = None

    def play(self) -> None:
        shop, people, choose = self.shop, self.people, self.tape.choose
        shop.faults.on, people.calm = False, True
        long = self.tape.chance("a long history", 0.01)
        people.start("admin", lambda: people.stock_up(1 + choose("products", 2), (20, 1, 3)[choose("stock", 3)], long))
        self.world.run(20)
        shop.faults.on, people.calm = True, False
        for number in range(1 + choose("orders", 5)):
            name = f"customer {number}"
            people.start(name, partial(people.order, name))
        people.start("admin", lambda: people.keep_the_catalogue(choose("deeds of the admin", 4)))
        people.start("operator", lambda: people.operate(choose("deeds of the operator", 5)))
        if self.tape.chance("customers are erased", 0.3):
            people.start("operator", lambda: people.erase(1 + choose("erasures", 4)))
        self._look()
        if self.tape.chance("switches under load", 0.03):
            people.start("operator", people.switch_under_load)
            self.world.run(900)
        for _ in range(1 + choose("restarts", 3)):
            self.world.run((150.0, 20.0, 400.0, 1500.0)[choose("time goes by", 4)])
            if self.tape.chance("a stranger repeats the commands of others", 0.1):
                people.start("stranger", self.stranger.repeat_others)
            self._let_a_stranger_ask(4)
            self._disturb()
        self._come_to_rest()

    def _look(self) -> None:
        if self.shop.faults.on:
            self.shop.run_in("graphql", self.people.look)
            if self.follower:
                self.follower.keep_following()
            if self.shop.by_graphql and self.tape.chance("a reader asks by GraphQL", 0.2):
                self.shop.run_in("graphql", self.people.look_at_orders)
            self.world.at(LOOKS, self._look)

    def _let_a_stranger_ask(self, times: int) -> None:
        if self.shop.by_graphql:
            self.shop.run_in("graphql", lambda: self.stranger.ask_something(times))

    def _disturb(self) -> None:
        """Do to the whole deployment what happens to it once a year."""
        match self.tape.pick("a disturbance", (0.15, 0.15, 0.1, 0.25, 0.1, 0.05)):
            case 1:
                self.world.tell("every process is killed", "the platform")
                self.shop.restart()
            case 2:
                self.world.tell("a backup is made", "the operator")
                self.backup = self.shop.databases.backup()
            case 3:
                self.world.tell("all instances of order_saga are replaced", "the platform")
                self.shop.kill("order_saga")
            case 4 if self.backup:
                self._restore(self.backup)
            case 5:
                hours = (0.3, 1.5, 6.0)[self.tape.pick("hours of an outage", (0.4, 0.1))]
                self.world.tell(f"the providers are silent for {hours} hours", "the platform")
                self.shop.provider.silent_until = self.world.time + hours * 3600
            case 6:
                broken = UNDONE_BY[self.tape.choose("the step that a bad release breaks", len(UNDONE_BY))]
                self.world.tell(f"a bad release breaks {' and '.join(broken)}", "the platform")
                self.shop.break_functions(broken, BROKEN_SECONDS)
            case _:
                pass

    def _restore(self, backup: Databases) -> None:
        """Follow the procedure of scripts/restore."""
        self.world.tell("the backup is restored", "the operator")
        shop, people = self.shop, self.people
        shop.faults.marks["restore of a backup"] += 1
        shop.restart()
        shop.databases = backup.restored(shop.databases.keys.destroyed)
        shop.broker.discard()
        shop.watch = Watch(shop.watch.faults)
        shop.watch.see(self._events())
        people.forget()
        people.lost |= self._unsettled()
        people.discarded |= set(READ_MODELS)
        people.start("operator", people.rebuild_everything)

    def _unsettled(self) -> set[str]:
        """Return the orders that the procedure tells the operator to settle: a provider knows more
        of them than we do."""
        ended = {str(one.saga.progress.saga_id) for one in self._sagas() if one.saga.progress.ended}
        return {key for ledger in self.shop.provider.ledgers.values() for key in ledger if key not in ended}

    def _come_to_rest(self) -> None:
        shop, people = self.shop, self.people
        shop.faults.on, people.calm = False, True
        self.world.tell("all faults end", "the platform")
        until = self.world.time + CALM
        while self.world.time < until:
            self.world.run(600)
            if shop.at_rest() and self._all_ended() and not people.discarded and not people.busy:
                break
            if not people.busy and self.world.time > max(shop.provider.silent_until, shop.broken_until):
                people.start("operator", people.heal)
        if self.follower:
            self.world.run(LIVES[-1])  # its last connection ends
            self.follower.keep_following(60)
            self.world.run(100)
        shop.run_in("graphql", people.look)
        if shop.by_graphql:
            for _ in range(2):
                shop.run_in("graphql", people.look_at_orders)
                self.world.run(60)
            self._let_a_stranger_ask(10)
        if shop.reports and shop.at_rest():
            shop.run_in("report_metrics", self._compare_metrics)
        self.world.run(10)
        if shop.databases.keys.destroyed:
            self._let_every_process_look_for_the_erased()
        while people.place < shop.databases.events.end():
            place = people.place
            shop.run_in("graphql", people.look)
            self.world.run(10)
            if people.place == place:
                break

    def _compare_metrics(self) -> None:
        """At rest, the metrics say that nothing waits, and how many events and sagas there are."""
        engines = this_task().process.engines
        shown = {(name, labels): value for name, labels, value in read_samples(cast(Any, engines))}
        wanted: Counter[tuple[str, tuple[str, ...]]] = Counter()
        for entry in self.shop.databases.events.entries:
            wanted["shop_events_total", (entry.event.type,)] += 1
        for saga in self._sagas():
            wanted["shop_sagas", (saga.saga.progress.status.value,)] += 1
        if wrong := {series for series in shown.keys() | wanted if shown.get(series, 0) != wanted[series]}:
            values = [(series, shown.get(series), wanted[series]) for series in sorted(wrong)]
            self.people.broken.append(f"at rest the metrics are wrong (series, shown, wanted): {values}")

    def _all_ended(self) -> bool:
        sagas = self._sagas()
        return all(one.saga.progress.ended for one in sagas) and len(sagas) == len(self.people.orders())

    def _sagas(self) -> list[Any]:
        return self.shop.databases.sagas.newest(10**6)

    def broken(self) -> list[str]:
        return [*self.shop.watch.faults, *self.people.broken, *self.people.requests.surprises, *self._at_rest()]

    def _at_rest(self) -> Iterator[str]:
        shop = self.shop
        if not shop.at_rest():
            waiting = [f"{one.subscription.name} (attempt {one.attempt})" for one in shop.broker.pending]
            generations = [
                f"{name} {shop.generations(name)}" for name in sorted({one.read_model for one in COLLECTIONS})
            ]
            yield f"the shop does not come to rest: {waiting}, {shop.databases.letters.pending()} letters, {generations}"
        yield from broken(self._books())
        yield from self._answers()
        yield from self._named()
        yield from (f"a message names a customer: {one}" for one in shop.broker.naming)
        yield from self._reader()
        if shop.by_graphql and (unmet := self.people.tokens.keys() - self.people.consistent.keys()):
            yield f"at rest the tokens of {sorted(unmet)} are not met"
        if self.follower:
            events = self._events()
            restored = shop.faults.marks["restore of a backup"]
            yield from self.follower.wrong(events, shop.databases.sagas.entries, restored)
        letters = {
            (letter.source, letter.attributes.get("ce-id", "")) for letter in shop.databases.letters.latest(10**6)
        }
        for dead in [] if self.people.lost or shop.faults.marks["restore of a backup"] else shop.broker.dead:
            if dead not in letters:
                yield f"the message {dead} became a dead letter without an entry"

    def _answers(self) -> Iterator[str]:
        """Equal keys have equal bytes and one effect, and what was answered is in the log."""
        requests, streams = self.people.requests, self.streams()
        for key, operations in requests.by_key.items():
            if not linearizable(ONE_ANSWER, _comparable(operations)):
                yield f"the key {key} has different answers: {[one.what.read for one in operations]}"
        restored = self.shop.faults.marks["restore of a backup"]  # then prices begin anew at an unknown one
        for product_id, noted in requests.prices.items() if not restored else ():
            operations = [*noted.values()]
            if len(operations) < 13 and not linearizable(register("500"), operations):
                yield f"the price of {product_id} is not linearizable: {operations}"
        for stream, version in requests.accepted.values():
            if len(streams.get(stream, ())) < version:
                yield f"{stream} was answered at version {version}, and is at {len(streams.get(stream, ()))}"
        effects = Counter(
            (event.metadata.causation_id, event.type, event.stream) for events in streams.values() for event in events
        )
        for (key, kind, stream), times in effects.items():
            if times > 1 and key in requests.by_key:
                yield f"the key {key} has {times} {kind} of {stream}"

    def _erased(self) -> list[str]:
        """Return the orders whose person's key is destroyed."""
        databases = self.shop.databases
        begun = [one.event for one in databases.events.entries if one.event.type == "OrderCreated"]
        return [str(ORDER.id_of(one.stream)) for one in begun if keys_of([one]) & databases.keys.destroyed.keys()]

    def _forgotten(self) -> list[str]:
        """Return the words that must be nowhere: names of the erased, and the references of their
        orders. A person who has ordered again has a name."""
        erased, ledgers = self._erased(), self.shop.provider.ledgers.values()
        references = [ledger[order].reference for ledger in ledgers for order in erased if order in ledger]
        return [*sorted(self.shop.databases.keys.forgotten), *filter(None, references)]

    def _let_every_process_look_for_the_erased(self) -> None:
        """Let it read the events of erased orders, as far as it still can."""
        words, orders = self._forgotten(), [ORDER.stream(UUID(one)) for one in self._erased()]
        for process in [process for processes in self.shop.fleet.values() for process in processes if process.alive]:
            self.world.start(process, partial(self.people.look_for, words, orders))
        self.world.run(10)

    def _named(self) -> Iterator[str]:
        """Nothing that is stored names a person who was erased."""
        if not (forgotten := self._forgotten()):
            return
        for where, found in (
            ("the databases", self.shop.databases.at_rest()),
            ("the read models", pickle.dumps(self.shop.models.documents)),
        ):
            if named := [word for word in forgotten if word.encode() in found]:
                yield f"{where} still name {named}, which an erasure has taken"

    def _reader(self) -> Iterator[str]:
        """The reader of the log has seen every event once, and each stream's in order."""
        entries, read = self.shop.databases.events.entries, self.people.read
        if twice := [str(one) for one, times in Counter(event.id for event in read).items() if times > 1]:
            yield f"the log's reader has seen {twice} more than once"
        if missed := {str(one.event.id) for one in entries} - {str(event.id) for event in read}:
            yield f"the log's reader has never seen {sorted(missed)}"
        versions: dict[str, int] = defaultdict(int)
        for event in read if not self.shop.faults.marks["restore of a backup"] else ():
            if event.version != versions[event.stream] + 1:
                yield f"the log's reader saw version {event.version} of {event.stream} after {versions[event.stream]}"
            versions[event.stream] = event.version

    def _places(self, read_model: str, collection: str) -> list[str]:
        """Return where the live generation of a collection is, and a kept one."""
        now = self.shop.generations(read_model)
        numbers = [now.live, now.other] if now.state == "KEPT" and now.other else [now.live]
        return [stored_in(collection, number) for number in numbers]

    def _documents(self, place: str) -> Mapping[str, Any]:
        """Return the documents that have applied an event; others only hold counters until it
        comes."""
        return {key: fields for key, fields in self.shop.models.documents[place].items() if "version" in fields}

    def _events(self) -> list[EventRecord]:
        """Return all events, in the log's order."""
        databases = self.shop.databases
        return databases.opened([entry.event for entry in databases.events.entries])

    def streams(self) -> Mapping[str, list[EventRecord]]:
        streams: dict[str, list[EventRecord]] = defaultdict(list)
        for event in self._events():
            streams[event.stream].append(event)
        return streams

    def _books(self) -> Books:
        shop, lost = self.shop, frozenset(self.people.lost)
        shop.provider.read_sandbox()
        places = [place for one in COLLECTIONS for place in self._places(one.read_model, one.name)]
        return Books(
            self.streams(),
            shop.provider.ledgers["payments"],
            shop.provider.ledgers["shipments"],
            {str(one.saga.progress.saga_id): one.saga.progress.status.value for one in self._sagas()},
            [(place, self._documents(place)) for place in places],
            [(place, self.shop.models.documents[place]) for place in self._places("sales", "sales")],
            lost,
            frozenset(self._erased()),
        )


def _comparable(operations: Sequence[Operation]) -> Sequence[Operation]:
    """Return operations whose answers must be equal: an erasure takes the personal values out."""
    if not any(f'"{ERASED}"' in one.what.read for one in operations if one.answered):
        return operations
    return [_without_the_person(one) if one.answered else one for one in operations]


def _without_the_person(operation: Operation) -> Operation:
    answer = json.dumps(masked(json.loads(operation.what.read)))
    return replace(operation, what=replace(operation.what, read=answer))
