"""Is it well? Every check runs in a thread of its own with a time limit of its own; together they make a report.

A check that hangs keeps neither the report nor the other checks waiting, and is not started again until it has ended: there
is at most one thread for each, however often somebody asks. What was found is kept for a second.
"""

import asyncio
import os
import socket
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from threading import Lock
from typing import Any, Protocol

import psutil
import structlog

from shared.config.manifest import ROOT, Database, Dependency, manifest
from shared.config.settings import Settings
from shared.dead_letters.protocol import DeadLetters
from shared.domain.errors import ShopError
from shared.event_store.protocol import EventLog
from shared.messaging.outbox import Outbox, Publisher
from shared.read_models.protocol import Queries, ReadModels
from shared.resilience import clock
from shared.resilience.breakers import Breakers
from shared.resilience.calls import deadline
from shared.sagas.store import SagaStore

SWEEPS_MISSED = timedelta(minutes=2)
"""After which a saga's deadline that nobody has fired is overdue: sweep_sagas runs every minute."""
_KEEP_SECONDS = 1.0
_CPU_SECONDS = 5.0
_VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

_log = structlog.get_logger()


class HealthStatus(Enum):
    HEALTHY = 0
    DEGRADED = 1
    UNHEALTHY = 2


@dataclass(frozen=True)
class Finding:
    """`message`: for everybody. `details`: numbers and reasons, for admins only."""

    status: HealthStatus
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """`look`: may hang and may raise; past `seconds` nobody waits for it."""

    name: str
    look: Callable[[], Finding]
    seconds: float


@dataclass(frozen=True)
class Result:
    name: str
    found: Finding
    duration_ms: int


class _Vitals:
    """How long this process has been running, the memory it has in RAM, and the share of one processor it has used since
    some seconds ago, or since it began."""

    def __init__(self) -> None:
        self._process, self._lock = psutil.Process(), Lock()
        self._began = clock.monotonic() - (time.time() - self._process.create_time())
        self._since, self._used, self._percent = self._began, 0.0, 0.0

    def read(self) -> Mapping[str, Any]:
        now = clock.monotonic()
        with self._lock:
            if self._used == 0 or now - self._since >= _CPU_SECONDS:
                times = self._process.cpu_times()
                used = times.user + times.system
                self._percent = 100 * (used - self._used) / max(0.1, now - self._since)
                self._since, self._used = now, used
            percent = self._percent
        memory = self._process.memory_info().rss / 1_000_000
        return {"uptimeSeconds": int(now - self._began), "memoryMb": round(memory), "cpuPercent": round(percent, 1)}


_VITALS = _Vitals()


@dataclass(frozen=True)
class Report:
    """`status`: that of the worst check. `node`: the revision in the cloud, elsewhere the machine. `process`: what the
    process that reports says of itself."""

    checks: Sequence[Result] = ()
    process: Mapping[str, Any] = field(default_factory=_VITALS.read)
    version: str = _VERSION
    node: str = field(default_factory=lambda: os.environ.get("K_REVISION") or socket.gethostname())
    timestamp: datetime = field(default_factory=clock.now)

    @property
    def status(self) -> HealthStatus:
        return max((result.found.status for result in self.checks), key=lambda s: s.value, default=HealthStatus.HEALTHY)

    def fields(self, everything: bool) -> dict[str, Any]:
        """As JSON. `everything`: the details too."""
        return {
            "status": self.status.name,
            "timestamp": self.timestamp.isoformat().replace("+00:00", "Z"),
            "checks": [_result_fields(result, everything) for result in self.checks],
            "version": self.version,
            "node": self.node,
            "process": dict(self.process),
        }


def _result_fields(result: Result, everything: bool) -> dict[str, Any]:
    found = result.found
    fields = {"name": result.name, "status": found.status.name, "message": found.message}
    return fields | {"details": dict(found.details) if everything else None, "durationMs": result.duration_ms}


class _Run:
    """One look, from the moment it starts."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._started = clock.monotonic()
        self._result: Future[Result] = Future()
        self._result.set_running_or_notify_cancel()  # from here on nobody who waits can cancel it
        clock.thread(self._look, f"check {check.name}")

    @property
    def current(self) -> bool:
        return not self._result.done() or self._age < _KEEP_SECONDS

    @property
    def _age(self) -> float:
        return clock.monotonic() - self._started

    @property
    def _late(self) -> Finding:
        return Finding(HealthStatus.UNHEALTHY, f"did not answer within {self._check.seconds:g} seconds")

    def wait(self) -> Result:
        try:
            return self._result.result(max(0.0, self._check.seconds - self._age))
        except TimeoutError:
            return Result(self._check.name, self._late, int(self._age * 1000))

    async def wait_async(self) -> Result:
        waiting = asyncio.wrap_future(self._result)
        try:
            await asyncio.wait([waiting], timeout=max(0.0, self._check.seconds - self._age))
        finally:
            waiting.cancel()
        return self._result.result() if self._result.done() else self.wait()

    def _look(self) -> None:
        try:
            with deadline(self._check.seconds):
                found = self._check.look()
        except ShopError as error:
            found = Finding(HealthStatus.UNHEALTHY, error.message, {"error": repr(error.__cause__ or error)})
        except Exception as error:  # whatever it is, it is a finding
            _log.exception("a health check failed", check=self._check.name)
            found = Finding(HealthStatus.UNHEALTHY, "failed; the log says why", {"error": repr(error)})
        took = self._age
        self._result.set_result(
            Result(self._check.name, found if took <= self._check.seconds else self._late, int(took * 1000))
        )


class Checkup:
    """The checks of one process, by name."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs: dict[str, _Run] = {}

    def run(self, checks: Sequence[Check]) -> list[Result]:
        return [run.wait() for run in self._started(checks)]

    async def run_async(self, checks: Sequence[Check]) -> list[Result]:
        return await asyncio.gather(*[run.wait_async() for run in self._started(checks)])

    def _started(self, checks: Sequence[Check]) -> list[_Run]:
        with self._lock:
            for check in checks:
                if check.name not in self._runs or not self._runs[check.name].current:
                    self._runs[check.name] = _Run(check)
            return [self._runs[check.name] for check in checks]


class Stores(Protocol):
    """The parts of a process's engines that are watched."""

    @property
    def settings(self) -> Settings: ...
    @property
    def breakers(self) -> Breakers: ...
    @property
    def checkup(self) -> Checkup: ...
    @property
    def event_log(self) -> EventLog: ...
    @property
    def sagas(self) -> SagaStore: ...
    @property
    def outboxes(self) -> Sequence[Outbox]: ...
    @property
    def dead_letters(self) -> DeadLetters: ...
    @property
    def publisher(self) -> Publisher: ...
    @property
    def read_models(self) -> ReadModels: ...
    @property
    def queries(self) -> Queries: ...

    def missing_migrations(self, database: Database) -> list[str]:
        """Return the names of the migrations that the database lacks. Raises Unavailable."""


def dependencies(engines: Stores, function: str) -> list[Check]:
    """Of one function, as its entry in the manifest says, and the breakers of its process: who calls the providers is the
    only one that knows of theirs."""
    limit = engines.settings.health_check_seconds
    checks = [Check(name, _looking(engines, name), limit) for name in manifest().functions[function].uses]
    return [*checks, Check("breakers", lambda: _breakers(engines), limit)]


def _looking(engines: Stores, name: Dependency) -> Callable[[], Finding]:
    match name:
        case "event_store" | "command_database":
            return lambda: _database(engines, name)
        case "firestore":
            return lambda: _firestore(engines)
        case "pubsub":
            return lambda: _pubsub(engines)


def _database(engines: Stores, name: Database) -> Finding:
    if missing := engines.missing_migrations(name):
        return Finding(
            HealthStatus.UNHEALTHY, "is not up to date; run scripts/migrate", {"missingMigrations": len(missing)}
        )
    return Finding(HealthStatus.HEALTHY, "answers and is up to date")


def _firestore(engines: Stores) -> Finding:
    engines.read_models.update("health", "probe", lambda _: None)  # changes nothing, so it is but a read
    return Finding(HealthStatus.HEALTHY, "answers")


def _pubsub(engines: Stores) -> Finding:
    """One topic stands for all: they are made together."""
    if engines.publisher.has_topic(manifest().topics[0]):
        return Finding(HealthStatus.HEALTHY, "answers")
    return Finding(HealthStatus.UNHEALTHY, "answers, but lacks the shop's topics")


def _breakers(engines: Stores) -> Finding:
    states = engines.breakers.states()
    open_ones = [f"{name} is {state}" for name, state in states.items() if state != "closed"]
    details = {"breakers": dict(states)}
    if open_ones:
        return Finding(HealthStatus.DEGRADED, f"{', '.join(open_ones)} (in this process)", details)
    return Finding(HealthStatus.HEALTHY, "none is open (in this process)", details)
