"""Check whether a process and what it depends on are healthy.

Each check runs in a thread of its own with a time limit of its own. A check that hangs delays
neither the report nor the other checks, and is not started again before it has ended: there is at
most one thread per check, however many callers ask. A result is reused for about a second.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cache, lru_cache
from threading import Lock
from typing import Any

import structlog

from shared.config.manifest import ROOT
from shared.domain.errors import ShopError
from shared.observability.sentences import Sentence, said
from shared.resilience import clock
from shared.resilience.calls import deadline

_VITALS_SECONDS = 5.0  # for which they are reused

_log = structlog.get_logger()


class HealthStatus(Enum):
    HEALTHY = 0
    DEGRADED = 1
    UNHEALTHY = 2


@dataclass(frozen=True)
class Finding:
    """`message`: for every client. `details`: numbers and reasons, for admins only."""

    status: HealthStatus
    message: Sentence
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """`look`: returns the finding; it may hang and may raise. `seconds`: its time limit. `key`:
    under which its result is reused, by default its name."""

    name: str
    look: Callable[[], Finding]
    seconds: float
    key: str = ""

    @property
    def kept_as(self) -> str:
        return self.key or self.name


@dataclass(frozen=True)
class Result:
    name: str
    found: Finding
    duration_ms: int


# By process id, so that a worker reports itself, not the gunicorn master that forked it.
@lru_cache(maxsize=1)
def _process(pid: int) -> Any:
    from psutil import Process  # here, because it reads /proc when it is imported

    return Process(pid)


@lru_cache(maxsize=1)
def _vitals(pid: int, _period: int) -> Mapping[str, Any]:
    """Return uptime, memory in RAM, and use of one processor since the previous period (0 in the
    first), at most that of all processors: coarse clock ticks can show more in a short period."""
    process = _process(pid)
    used = min(process.cpu_percent(), 100.0 * (os.cpu_count() or 1))
    uptime, memory = clock.now().timestamp() - process.create_time(), process.memory_info().rss / 1_000_000
    return {"uptimeSeconds": int(uptime), "memoryMb": round(memory), "cpuPercent": round(used, 1)}


@cache
def _version() -> str:
    import tomllib  # only reports need it

    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


@dataclass(frozen=True)
class Report:
    """`process`: vitals of the reporting process. `node`: the revision in the cloud, elsewhere the
    machine's name."""

    checks: Sequence[Result] = ()
    process: Mapping[str, Any] = field(
        default_factory=lambda: _vitals(os.getpid(), int(clock.monotonic() / _VITALS_SECONDS))
    )
    version: str = field(default_factory=_version)
    node: str = field(default_factory=lambda: os.environ.get("K_REVISION") or socket.gethostname())
    timestamp: datetime = field(default_factory=clock.now)

    @property
    def status(self) -> HealthStatus:
        """The status of the worst check."""
        return max((result.found.status for result in self.checks), key=lambda s: s.value, default=HealthStatus.HEALTHY)

    def fields(self, everything: bool) -> dict[str, Any]:
        """Return the report as JSON. `everything`: with the details of each check."""
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
    about = {"name": result.name, "status": found.status.name, "durationMs": result.duration_ms}
    message = {"message": str(found.message), "messagePhrases": found.message.shown}
    return about | message | {"details": dict(found.details) if everything else None}


class _Run:
    """One run of a check, in a thread that starts at once."""

    def __init__(self, check: Check) -> None:
        self._check, self._started = check, clock.monotonic()
        self._result: Future[Result] = clock.future()
        self._result.set_running_or_notify_cancel()  # a caller that stops waiting must not cancel it
        clock.thread(self._look, f"check {check.name}")

    def is_current(self, keep_seconds: float) -> bool:
        return not self._result.done() or self._age < keep_seconds

    @property
    def _age(self) -> float:
        return clock.monotonic() - self._started

    @property
    def _late(self) -> Finding:
        return Finding(HealthStatus.UNHEALTHY, said("NO_ANSWER_WITHIN", seconds=f"{self._check.seconds:g}"))

    def wait(self) -> Result:
        try:
            return self._result.result(max(0.0, self._check.seconds - self._age))
        except TimeoutError:
            return Result(self._check.name, self._late, int(self._age * 1000))

    async def wait_async(self) -> Result:
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(self._result), max(0.0, self._check.seconds - self._age))
        return self.wait()  # it has a result now, or no time left

    def _look(self) -> None:
        try:
            with deadline(self._check.seconds):
                found = self._check.look()
        except ShopError as error:
            details = {"error": repr(error.__cause__ or error)}
            found = Finding(HealthStatus.UNHEALTHY, said("ERROR", error=error.message), details)
        except Exception as error:  # whatever a check raises is a finding, not a failure of the report
            _log.exception("a health check failed", check=self._check.name)
            found = Finding(HealthStatus.UNHEALTHY, said("CHECK_FAILED"), {"error": repr(error)})
        took = self._age
        finding = found if took <= self._check.seconds else self._late
        self._result.set_result(Result(self._check.name, finding, int(took * 1000)))


class Checkup:
    """The checks of one process, by name. `keep_seconds`: for which a result is reused. `began_at`:
    since when the process watches, UTC."""

    def __init__(self, keep_seconds: float = 1.0) -> None:
        self._keep_seconds, self.began_at = keep_seconds, clock.now()
        self._lock = Lock()
        self._runs: dict[str, _Run] = {}

    def run(self, checks: Sequence[Check]) -> list[Result]:
        return [run.wait() for run in self._started(checks)]

    async def run_async(self, checks: Sequence[Check]) -> list[Result]:
        return await asyncio.gather(*[run.wait_async() for run in self._started(checks)])

    def _started(self, checks: Sequence[Check]) -> list[_Run]:
        with self._lock:
            for check in checks:
                if check.kept_as not in self._runs or not self._runs[check.kept_as].is_current(self._keep_seconds):
                    self._runs[check.kept_as] = _Run(check)
            return [self._runs[check.kept_as] for check in checks]
