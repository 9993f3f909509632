"""The whole deployment in one process: every function in several instances, over shared engines
that fail."""

import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, partial
from importlib import import_module
from typing import Any, cast
from uuid import UUID

import flask
import httpx
import structlog

from shared.config.manifest import Subscription, manifest
from shared.config.settings import Settings
from shared.domain import commands, events
from shared.domain.errors import ConcurrencyError, TimedOut, Unavailable
from shared.domain.order import ORDER
from shared.erasure.sealed import SealedEventLog, SealedEventStore
from shared.event_store.aggregates import announcement
from shared.event_store.protocol import Append, Checkpoint, LogEntry
from shared.event_store.tail import Tail
from shared.gateways.sandbox import Sandbox
from shared.messaging.outbox import publish_after_commit
from shared.monitoring.memory import MemoryCounts, MemoryExecutions, MemoryGaugeHistory
from shared.read_models.by_generation import EveryGeneration, LiveGeneration
from shared.read_models.generations import (
    GENERATIONS,
    Generations,
    Pace,
    generations_of,
)
from shared.resilience import clock
from shared.runtime.current import using
from shared.runtime.engines import Engines
from shared.sagas.coordinate import Coordinator
from shared.sagas.definition import Retries, Saga, Step
from shared.sagas.memory import MemorySagaLog
from shared.sagas.order_fulfilment import ORDER_FULFILMENT
from shared.sagas.store import HistoryEntry, StoredSaga
from tests.shop_in_memory import app as framework_app
from tests.simulation.broker import Broker
from tests.simulation.graphql import ToFunctions
from tests.simulation.invariants import Watch
from tests.simulation.ports import MOMENTS, AsyncPort, Faults, Port, rate
from tests.simulation.provider import Provider
from tests.simulation.stores import Databases, Log, ReadModels
from tests.simulation.tape import Tape
from tests.simulation.world import Crashed, Process, Promise, SimulatedWorld, this_task

CLIENT_PATIENCE = 12.0
"""Seconds that a caller of a command function waits."""
OFFSETS = (0.0, 0.2, -0.2, 3.0, -3.0, 90.0, -90.0)
"""Seconds by which a process's clock is wrong."""


def _reserve_again(order_id: UUID) -> commands.ReserveInventory:
    """A step of another release; the shop finds it done and does not answer."""
    return commands.ReserveInventory(order_id)


_ADDED = Step(_reserve_again, events.InventoryReserved, timedelta(seconds=5), Retries(0), best_effort=True)
SAGAS: Sequence[Saga] = (
    ORDER_FULFILMENT,
    ORDER_FULFILMENT.at_pace(0.5),
    replace(ORDER_FULFILMENT.at_pace(2), undo_retries=Retries(2)),
    replace(
        ORDER_FULFILMENT,
        steps=(*ORDER_FULFILMENT.steps[:2], _ADDED, *ORDER_FULFILMENT.steps[2:]),
        version=2,
        former=(ORDER_FULFILMENT,),
    ),
)
"""The table of the order's saga in this release, and what another release could have in its
place."""


@dataclass(frozen=True)
class Answer:
    """`status`: 0 without a response."""

    status: int
    text: str = ""

    @property
    def fields(self) -> Any:
        return json.loads(self.text)


class EventStorePort(Port):
    def __init__(self, faults: Faults, shop: "Shop") -> None:
        super().__init__(faults, "event store", lambda: shop.databases.events)
        self._shop = shop

    def append(self, append: Append) -> None:
        self.call("append", append)
        self._shop.publish_events([announcement(event) for event in append.events])

    def read_all(self, after: Checkpoint, limit: int) -> list[LogEntry]:
        self._shop.faults.marks["log held back"] += self._shop.databases.events.held_back > 0
        entries: list[LogEntry] = self.call("read_all", after, limit)
        return entries

    def read_stream(self, stream: str, after: int, limit: int) -> list[LogEntry]:
        entries: list[LogEntry] = self.call("read_stream", stream, after, limit)
        self._shop.faults.marks["page boundary of a long history"] += len(entries) == limit > 1
        return entries


class SagaStorePort(Port):
    def __init__(self, faults: Faults, shop: "Shop") -> None:
        super().__init__(faults, "saga store", lambda: shop.databases.sagas)
        self._shop = shop

    def save(self, saga: StoredSaga, history: Sequence[HistoryEntry], messages: Sequence[Any]) -> None:
        try:
            self.call("save", saga, history, messages)
        except ConcurrencyError:
            self._shop.faults.marks["deadline against answer"] += this_task().process.name == "sweep_sagas"
            raise
        self._shop.publish_commands(messages)


class _Silence:
    """A logger that says nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def bind(self, **_: object) -> "_Silence":
        return self

    def info(self, event: str, **_: object) -> None: ...

    new, try_unbind, unbind = bind, bind, bind
    debug = warning = error = exception = critical = info


class _NoRecorder:
    """The history of executions is lossy by design, so the simulation has none."""

    def count(self, *_: object) -> bool:
        return False


class _EnginesOfTheTask(Engines):
    """Stands for the engines of whichever process runs now."""

    def __init__(self) -> None: ...

    def __getattribute__(self, name: str) -> Any:
        return getattr(this_task().process.engines, name)


class Shop:
    """`watch`: sees each append to the event store. `fleet`: the processes of each function.
    `slow`: how often a commit of Firestore takes its time."""

    def __init__(self, world: SimulatedWorld, tape: Tape) -> None:
        self.world, self.tape, self.faults, self.watch = world, tape, Faults.drawn(world, tape), Watch()
        attempts = (10, 5)[tape.choose("attempts of a delivery", 2)]
        subscriptions = [replace(one, max_attempts=attempts) for one in _subscriptions()]
        self.broker = Broker(world, tape, self.faults, subscriptions, self._push)
        self.sandbox = Sandbox() if tape.chance("the sandbox is the provider", 0.02) else None
        self.provider = Provider(world, tape, self.faults, sandbox=self.sandbox, ask=self._ask_sandbox)
        self._longer, self._again = rate(tape, "long transaction"), rate(tape, "change called twice")
        self.slow = rate(tape, "slow commit")
        self._missed, self._doubled = rate(tape, "missed schedule", 3), rate(tape, "doubled schedule", 3)
        self._jumps, self._wrong = rate(tape, "clock that jumps"), tape.choose("how wrong clocks are", len(OFFSETS)) + 1
        self._instances = 1 + tape.choose("instances of a function", 3)
        self._by_flask = tape.chance("through the functions framework", 0.01)
        self.faults.marks["functions framework"] += self._by_flask
        self.by_graphql = tape.chance("by GraphQL", 0.04)
        self.reports = tape.chance("metrics are reported", 0.02)
        self._new_saga = tape.choose("a new release changes the saga", 8)
        fail_max = (10, 1, 2)[tape.choose("failures that open a breaker", 3)]
        self.settings = Settings(
            profile="engines",
            sign_in_required=True,
            fault_lab=self.sandbox is not None,
            breaker_fail_max=fail_max,
            breaker_reset_seconds=30,
            command_url="http://command/{function}",
            query_url="http://query/{function}",
            payment_url="http://provider/payments",
            shipping_url="http://provider/shipments",
            notification_url="http://provider/notifications",
            rate_limit_signed_in=0,
            rate_limit_anonymous=0,
        )
        self.pace = Pace(page=(500, 2)[tape.choose("page of a rebuild", 2)])
        self.databases = Databases.new(self._transaction, self._committed)
        self.models = ReadModels(self._contention)
        self.fleet: dict[str, list[Process]] = defaultdict(list)
        self.started = Counter[str]()
        self._broken: Collection[str] = ()
        self._idle_since: tuple[int, Databases] | None = None
        self.broken_until = 0.0
        self._open_ports()
        self._schedule()

    def _open_ports(self) -> None:
        port = partial(Port, self.faults)
        self.publisher = port("publisher", lambda: self.broker)
        outboxes = [
            port("outbox", lambda: self.databases.outboxes[0]),
            port("outbox", lambda: self.databases.outboxes[1]),
        ]
        self.publish_events = publish_after_commit(cast(Any, outboxes[0]), lambda: cast(Any, self.publisher))
        self.publish_commands = publish_after_commit(cast(Any, outboxes[1]), lambda: cast(Any, self.publisher))
        executions, gauges = MemoryExecutions(), MemoryGaugeHistory()
        self._events, self._keys = EventStorePort(self.faults, self), port("person keys", lambda: self.databases.keys)
        log = port("event log", lambda: Log(self.databases.events))
        self._shared: dict[str, Any] = {
            "event_log": SealedEventLog(cast(Any, log), self._person_keys),
            "person_keys": self._keys,
            "sagas": SagaStorePort(self.faults, self),
            "saga_log": MemorySagaLog(self.databases.sagas),
            "outboxes": outboxes,
            "dead_letters": port("dead letters", lambda: self.databases.letters),
            "publisher": self.publisher,
            "executions": executions,
            "counts": MemoryCounts(self.databases.sagas, self.databases.letters, executions),
            "gauges": port("gauges", lambda: gauges),
            "http": httpx.Client(transport=self.provider),
            "recorder": _NoRecorder(),
            "command_http": httpx.AsyncClient(transport=ToFunctions(self.call)),
            "health_http": httpx.Client(transport=ToFunctions(self.call)),
            "pace": self.pace,
            "sandbox": self.sandbox,
            "missing_migrations": lambda _: [],  # of a real database, which a question about health would look for
        }
        self._models = port("read models", lambda: self.models)
        self._queries = AsyncPort(self.faults, "queries", lambda: self.models)

    def _person_keys(self) -> Any:
        return self._keys

    def call(self, function: str, body: bytes, headers: Mapping[str, str], *to: str) -> Promise[Answer]:
        """Send a request to one of the function's instances. `to`: see `send`."""
        promise: Promise[Answer] = Promise(self.world)

        def answered(answer: Answer) -> None:
            if not promise.cancelled():  # the caller has given up
                promise.set_result(answer)

        self.send(answered, function, body, headers, *to)
        return promise

    def send(
        self,
        answered: Callable[[Answer], object],
        function: str,
        body: bytes,
        headers: Mapping[str, str],
        method: str = "POST",
        path: str = "/",
    ) -> None:
        """Send a request to one of the function's instances, and tell the answer to `answered`."""
        process = self._instance(function)
        self.faults.functions[function] += 1
        handler = _by_framework(function) if self._by_flask else _directly(function)

        def run() -> None:
            try:
                answer = handler(method, path, body, headers)
            except Crashed:
                answer = Answer(0)
            answered(answer)

        self.world.start(process, run)

    def ask(self, function: str, body: object, headers: Mapping[str, str]) -> Answer:
        """Send a request and wait for the answer, as long as a caller would."""
        try:
            return self.call(function, json.dumps(body).encode(), headers).result(CLIENT_PATIENCE)
        except TimeoutError:
            return Answer(0)

    def close(self) -> None:
        if self.sandbox:
            self.sandbox.close()

    def _ask_sandbox(self, method: str, path: str, body: bytes) -> int:
        try:
            return self.call("sandbox_provider", body, {}, method, path).result(CLIENT_PATIENCE).status
        except TimeoutError:
            return 0

    def run_in(self, function: str, act: Callable[[], object]) -> None:
        """Run code in one of the function's instances, where it may crash or find its engines
        silent."""

        def run() -> None:
            with suppress(Crashed, Unavailable, TimedOut):
                act()

        self.world.start(self._instance(function), run)

    def restart(self) -> None:
        """Kill every process."""
        for processes in self.fleet.values():
            for process in processes:
                process.alive = False
        self.fleet.clear()

    def break_functions(self, functions: Collection[str], seconds: float) -> None:
        """Let every delivery to these functions fail from now on, for a time."""
        self._broken, self.broken_until = functions, self.world.time + seconds

    def kill(self, function: str) -> None:
        for process in self.fleet.pop(function, []):
            process.alive = False

    def generations(self, read_model: str) -> Generations:
        return generations_of(cast(Any, _Stored(self.models)), read_model)

    def at_rest(self) -> bool:
        """Return whether nothing is under way: no message, no outbox row, no deadline, no rebuild,
        no erasure."""
        letters, erasures = self.databases.letters.pending(), self.databases.keys.unfinished(1)
        waiting = self.broker.pending or letters or erasures or self._backlog()
        return not (waiting or self._deadlines() or self._rebuilds())

    def _instance(self, function: str) -> Process:
        alive = self.fleet[function] = [one for one in self.fleet[function] if one.alive]
        chosen = self.tape.choose(f"instance of {function}", self._instances) if self._instances > 1 else 0
        if chosen >= len(alive):
            alive.append(self._cold_start(function))
            chosen = len(alive) - 1
        process = alive[chosen]
        if self.faults.on and self.tape.chance(f"the clock of {function} jumps", self._jumps):
            process.offset = OFFSETS[self.tape.choose(f"the clock of {function}", len(OFFSETS))]
            self.faults.marks["clock that jumps"] += 1
        return process

    def _cold_start(self, function: str) -> Process:
        self.started[function] += 1
        engines, process = Engines(self.settings), Process(function)
        process.engines = engines
        process.offset = OFFSETS[self.tape.choose(f"the clock of {function}", self._wrong)]
        vars(engines).update(self._shared)
        engines.event_store = SealedEventStore(cast(Any, self._events), self._person_keys)
        vars(engines)["tail"] = Tail(engines.event_store, 100, poll_seconds=5, page=7)
        engines.read_models = EveryGeneration(cast(Any, self._models), self.pace.known_seconds)
        engines.queries = LiveGeneration(cast(Any, self._queries), self.pace.known_seconds)
        saga = SAGAS[self._new_saga] if 0 < self._new_saga < len(SAGAS) and self.started[function] > 1 else SAGAS[0]
        engines.order_saga = Coordinator(saga, ORDER, engines.event_store, engines.sagas)
        if saga is not SAGAS[0] and function == "order_saga":
            self.faults.marks["a saga under way meets a new definition"] += 1
        return process

    def _committed(self, append: Append) -> None:
        self.watch.see(self.databases.opened(append.events))
        for event in append.events:
            self.world.tell(f"{event.type} is version {event.version} of {event.stream[:-32]}…{event.stream[-4:]}")

    def _push(self, subscription: Subscription, subject: str, body: bytes, answered: Callable[[int], None]) -> None:
        if self.watch.is_undone(subscription.endpoint, subject):
            self.faults.marks["late step after compensation"] += 1
        if subscription.endpoint in self._broken and self.world.time < self.broken_until:
            answered(500)
            return
        self.send(lambda answer: answered(answer.status), subscription.endpoint, body, {})

    def _schedule(self) -> None:
        """Call the scheduled functions every minute. A call with nothing to do is left out: it
        would change nothing, and without a call of a port since then nothing has changed."""
        needed: Mapping[str, Callable[[], object]] = {
            "relay_outbox": self._backlog,
            "sweep_sagas": lambda: self._deadlines() or self.databases.letters.pending(),
            "continue_rebuilds": self._rebuilds,
            "continue_erasures": lambda: self.databases.keys.unfinished(1),
            "report_metrics": lambda: self.reports and self.faults.on,
        }
        if self._idle_since != (now := (len(self.world.steps), self.databases)):
            called = [function for function, is_needed in needed.items() if is_needed()]
            self._idle_since = None if called else now
            for function in called:
                times = 1
                if self.faults.on:
                    times = (1, 0, 2)[self.tape.pick(f"schedule of {function}", (self._missed, self._doubled))]
                for _ in range(times):
                    self._run_scheduled(function)
        if round(self.world.time) % 3600 == 1020:
            self._run_scheduled("expire_records")
        self.world.at(60, self._schedule)

    def _run_scheduled(self, function: str) -> None:
        self.send(partial(self._judge, function, self.faults.on), function, b"", {})

    def _judge(self, function: str, with_faults: bool, answer: Answer) -> None:
        """`with_faults`: whether there were some when the call began; it may end after them."""
        if function == "report_metrics" and answer.status not in (0, 200):
            self.watch.faults.append(f"report_metrics answers {answer}: a store that fails must only be missing")
        if function == "expire_records" and answer.status != 200 and not with_faults:
            self.watch.faults.append(f"expire_records answers {answer} although no store fails")

    def _backlog(self) -> int:
        return sum(outbox.backlog().waiting for outbox in self.databases.outboxes)

    def _deadlines(self) -> int:
        return len(self.databases.sagas.due(clock.now() + timedelta(days=1), 1000))

    def _rebuilds(self) -> bool:
        return any(one["state"] in ("BUILDING", "DROPPED") for one in self.models.documents[GENERATIONS].values())

    def _transaction(self) -> None:
        if self.faults.on and self.tape.chance("long transaction", self._longer):
            self.world.sleep(MOMENTS[self.tape.choose("transaction takes", len(MOMENTS))])

    def _contention(self) -> bool:
        slow = self.faults.on and self.tape.chance("slow commit", self.slow)
        self.world.sleep(MOMENTS[self.tape.choose("commit takes", len(MOMENTS))] if slow else 0.001)
        if self.faults.on and self.tape.chance("change called twice", self._again):
            self.faults.marks["change called twice"] += 1
            return True
        return False


@dataclass
class _Stored:
    """Reads documents without being a call that could fail."""

    models: ReadModels

    def update(self, collection: str, key: str, change: Callable[[Any], Any], version: int | None = None) -> None:
        change(self.models.documents[collection].get(key))


@cache
def _subscriptions() -> list[Subscription]:
    return manifest().all_subscriptions


@cache
def _directly(function: str) -> Callable[[str, str, bytes, Mapping[str, str]], Answer]:
    """Return the function's own handler, called with the request that the framework would make."""
    source = manifest().functions[function]
    handle = getattr(import_module(f"functions.{source.group}.{function}.main"), function)

    def call(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        answered = handle(_Request(method, path, body, headers))
        response = flask.Response(*answered) if isinstance(answered, tuple) else answered
        return Answer(response.status_code, response.get_data(as_text=True))

    return call


class _Headers(dict[str, str]):
    """Headers of a request, by name in any case."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class _Request:
    """What the shop's code reads of a request. To make flask's own takes a tenth of a history."""

    mimetype, content_type = "application/json", "application/json"
    max_content_length: int | None = None

    def __init__(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.method, self.path, self._body = method, path, body
        self.headers = _Headers((name.lower(), value) for name, value in headers.items())

    def get_data(self) -> bytes:
        return self._body


@cache
def _by_framework(function: str) -> Callable[[str, str, bytes, Mapping[str, str]], Answer]:
    """Return a client of the function as the functions framework serves it."""
    served = cast(flask.Flask, framework_app(function))

    def call(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        sent = served.test_client().open(
            path, method=method, data=body, headers=dict(headers), content_type="application/json"
        )
        return Answer(sent.status_code, sent.get_data(as_text=True))

    return call


@contextmanager
def _emulated_sign_in() -> Iterator[None]:
    """Let the shop accept the unsigned tokens of Firebase's emulator."""
    name = "FIREBASE_AUTH_EMULATOR_HOST"
    before = os.environ.get(name)
    os.environ[name] = "127.0.0.1:9099"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def simulated(world: SimulatedWorld) -> Iterator[None]:
    """Let the shop's code run in the world, without its log lines."""
    before = structlog.get_config()
    logging.disable()
    structlog.configure(wrapper_class=cast(Any, _Silence), logger_factory=_Silence)
    try:
        with clock.use(world), using(_EnginesOfTheTask()), _emulated_sign_in():
            yield
    finally:
        structlog.configure(**before)
        logging.disable(logging.NOTSET)
